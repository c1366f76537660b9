"""Read-ahead for upload: a few windows of recently read data.

Blocks are asked for in runs, so the disk is read in windows of many blocks: one hop to a thread for
64 requests. The memory is bounded by ``MAX_WINDOWS`` windows for a torrent.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from torrent_onion.core.piece_layout import PieceLayout

WINDOW = 1 << 20
"""Bytes read at once: 64 blocks, far more than a disk seek costs."""

MAX_WINDOWS = 8
"""Windows kept, so that several peers may read different pieces in turn."""


class Window(NamedTuple):
    """A part of a piece in memory.

    Attributes:
        piece: Whose it is.
        start: Where in the piece it begins.
        data: Its bytes; they never change.
    """

    piece: int
    start: int
    data: memoryview

    def part(self, begin: int, length: int) -> memoryview:
        """Bytes of the piece; they must lie in here."""
        return self.data[begin - self.start :][:length]


class ReadCache:
    """The latest windows of a torrent's pieces. A window never reaches over a piece's end.

    ``get`` is called by the event loop and ``fill`` by threads: each is one or two operations on a
    dictionary, which the interpreter keeps whole.
    """

    def __init__(self, layout: PieceLayout, read: Callable[[int, int, int], bytearray]) -> None:
        self._layout = layout
        self._read = read
        self._windows: OrderedDict[tuple[int, int], Window] = OrderedDict()

    def get(self, index: int, begin: int, length: int) -> Window | None:
        """The window that holds all of the bytes, if it is here."""
        start = begin - begin % WINDOW
        window = self._windows.get((index, start))
        if window is None or begin + length > start + len(window.data):
            return None
        return window

    def fill(self, index: int, begin: int, length: int) -> Window:
        """Read the window around the bytes and return it. Blocks; errors are the reader's."""
        start = begin - begin % WINDOW
        if begin + length > start + WINDOW:  # an odd request over two windows: not worth keeping
            return Window(index, begin, memoryview(self._read(index, begin, length)))
        size = min(WINDOW, self._layout.piece_size(index) - start)
        data = memoryview(self._read(index, start, size)).toreadonly()
        window = Window(index, start, data)
        self._windows[index, start] = window
        while len(self._windows) > MAX_WINDOWS:
            self._windows.popitem(last=False)
        return window

    def clear(self) -> None:
        """Forget everything."""
        self._windows.clear()
