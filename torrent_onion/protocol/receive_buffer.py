"""Where a connection's reads go: one buffer used again and again, as large as the reads need.

Rules:

- What has been parsed is never moved; before a read only the incomplete message at the end is
  moved to the front.
- The buffer is replaced, never resized: slices of the old one may still be in somebody's hands,
  and live on until they are let go.
- It doubles while reads fill it, and shrinks after a row of reads that needed little of it.
"""

from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.protocol.message_codec import PIECE_HEADER_SIZE

MIN_ROOM = BLOCK_SIZE + PIECE_HEADER_SIZE
"""Bytes that are always free for a read: the rest of any block arrives in one read."""

MIN_SIZE = 2 * MIN_ROOM  # bytes; about 32 KiB: an incomplete block, and room for the next
MAX_SIZE = 16 * MIN_SIZE  # bytes; about 512 KiB: larger reads were not faster

SHRINK_AFTER = (
    8  # reads in a row that used less than a quarter: about a quarter hour of keep-alives
)
_LITTLE = 4

SLACK = PIECE_HEADER_SIZE
"""Bytes past the end, so that a header can be unpacked before it is known to be whole."""


class ReceiveBuffer:
    """Bytes received and not yet parsed.

    Attributes:
        data: the bytes; ``SLACK`` more of them than reads can fill.
        view: the same, for slices without a copy.
        start: where the unparsed bytes begin; the parser moves it.
        end: where they end.
    """

    __slots__ = ("_largest", "_size", "_small_reads", "_wanted", "data", "end", "start", "view")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._wanted = MIN_SIZE
        self._small_reads = 0
        self._largest = 0  # of the small reads
        self._allocate(MIN_SIZE)

    def room(self) -> memoryview:
        """Give the place for the next read, at least ``MIN_ROOM`` bytes.

        Slices of what was parsed before may change from now on.
        """
        kept = self.end - self.start
        size = self._wanted
        while size - kept < MIN_ROOM:
            size *= 2
        if size != self._size:
            unparsed = self.view[self.start : self.end]
            self._allocate(size)
            self.view[:kept] = unparsed
        elif self.start:
            self.view[:kept] = self.view[self.start : self.end]
        self.start, self.end = 0, kept
        return self.view[kept:size]

    def add(self, count: int) -> None:
        """Say how many bytes were read into ``room()``.

        Raises:
            ValueError: more than fitted.
        """
        room = self._size - self.end
        if not 0 <= count <= room:
            raise ValueError(f"{count} bytes cannot have been read into {room}")
        self.end += count
        if count == room:
            self._wanted = min(2 * self._size, MAX_SIZE)
            self._small_reads = 0
        elif count * _LITTLE < self._size:
            self._small_read(count)
        else:
            self._small_reads = 0

    def _small_read(self, count: int) -> None:
        self._largest = max(self._largest, count) if self._small_reads else count
        self._small_reads += 1
        if self._small_reads >= SHRINK_AFTER:
            self._small_reads = 0
            while self._wanted > max(MIN_SIZE, _LITTLE * self._largest):
                self._wanted //= 2

    def _allocate(self, size: int) -> None:
        self._size = size
        self.data = bytearray(size + SLACK)
        self.view = memoryview(self.data)
