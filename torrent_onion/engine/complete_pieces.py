"""Pieces whose blocks are all here, on their way to a thread that verifies and writes them."""

import trio

from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.policy.piece_download import PieceDownload

MAX_PENDING = 8
"""Pieces waiting for a thread before readers pause: enough to keep every core hashing."""


class CompletePieces:
    """The queue between those who read from the network and those who write to the disk."""

    def __init__(self) -> None:
        self._more = Wakeup()
        self._waiting: list[PieceDownload] = []
        self._pending = 0
        self._ended = trio.Event()

    def add(self, download: PieceDownload) -> None:
        """A piece is complete."""
        self._pending += 1
        self._waiting.append(download)
        self._more.ring()

    async def take(self) -> list[PieceDownload]:
        """Wait for pieces and take them; each must be followed by ``ended``. Only one task may."""
        await self._more.wait()
        taken, self._waiting = self._waiting, []
        return taken

    def ended(self) -> None:
        """A piece that was taken is dealt with; readers that paused may go on."""
        self._pending -= 1
        self._ended.set()
        self._ended = trio.Event()

    async def wait_room(self) -> None:
        """Pause a reader while too many pieces wait for the disk: the back-pressure."""
        while self._pending > MAX_PENDING:
            await self._ended.wait()
