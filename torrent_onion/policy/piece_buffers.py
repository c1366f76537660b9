"""Memory for pieces on their way, used again for the next ones.

New memory is dear: the kernel gives every page of it zeroed, one fault at a time, and Python fills
it with zeros once more. So what a finished piece leaves goes to the next that begins.

A buffer has what was in it before. A piece is read only when each of its blocks has come.
"""

from __future__ import annotations

from typing import Final

MAX_SPARE: Final = 8 * 1024 * 1024
"""Bytes kept while no piece needs them, or one piece where that is more: as many as are finished
by the disk at about the same moment."""


class PieceBuffers:
    """The buffers of one torrent that no piece uses now.

    Args:
        size: The length of a piece. Shorter ones, at the end of a torrent or file, are not kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._most = max(1, MAX_SPARE // size)
        self._spare: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """Give a buffer, with whatever is in it."""
        if self._spare and size == self._size:
            return self._spare.pop()
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Keep a buffer that nobody will read again, nor a thread."""
        if len(buffer) == self._size and len(self._spare) < self._most:
            self._spare.append(buffer)

    def clear(self) -> None:
        """Let go of all memory."""
        self._spare.clear()
