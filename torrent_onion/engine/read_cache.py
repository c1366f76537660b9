"""Read-ahead for upload: a few windows of recently read data.

Blocks are asked for in runs, so the disk is read in windows of many blocks: one hop to a thread for
64 requests. The memory is bounded by ``MAX_WINDOWS`` windows for a torrent.
"""

from collections import OrderedDict
from collections.abc import Callable

from torrent_onion.core.piece_layout import PieceLayout

WINDOW = 1 << 20
"""Bytes read at once: 64 blocks, far more than a disk seek costs."""

MAX_WINDOWS = 8
"""Windows kept, so that several peers may read different pieces in turn."""


class ReadCache:
    """The latest windows of a torrent's pieces. A window never reaches over a piece's end.

    ``get`` is called by the event loop and ``fill`` by threads: each is one or two operations on a
    dictionary, which the interpreter keeps whole.
    """

    def __init__(self, layout: PieceLayout, read: Callable[[int, int, int], bytearray]) -> None:
        self._layout = layout
        self._read = read
        self._windows: OrderedDict[tuple[int, int], memoryview] = OrderedDict()

    def get(self, index: int, begin: int, length: int) -> memoryview | None:
        """The bytes if one window holds all of them."""
        start = begin - begin % WINDOW
        window = self._windows.get((index, start))
        if window is None or begin + length > start + len(window):
            return None
        return window[begin - start : begin - start + length]

    def fill(self, index: int, begin: int, length: int) -> memoryview:
        """Read the window around the bytes and return them. Blocks; errors are the reader's."""
        start = begin - begin % WINDOW
        if begin + length > start + WINDOW:  # an odd request over two windows: not worth keeping
            return memoryview(self._read(index, begin, length))
        size = min(WINDOW, self._layout.piece_size(index) - start)
        window = memoryview(self._read(index, start, size)).toreadonly()
        self._windows[index, start] = window
        while len(self._windows) > MAX_WINDOWS:
            self._windows.popitem(last=False)
        return window[begin - start : begin - start + length]

    def clear(self) -> None:
        """Forget everything."""
        self._windows.clear()
