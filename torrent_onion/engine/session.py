"""All torrents of one process."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from torrent_onion.engine.bandwidth import RateLimit
from torrent_onion.engine.disk import DISK, Disk
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.parallel import first_error
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.torrent_tasks import TorrentTasks
from torrent_onion.engine.transport import Dial, PeerListener
from torrent_onion.policy.dial_budget import DialBudget


class Session:
    """Torrents that share the disk threads and the bounds on rates and dials.

    Each has peers, circuits and an onion of its own.
    """

    def __init__(self, nursery: trio.Nursery, dial: Dial, settings: Settings, disk: Disk) -> None:
        self._nursery = nursery
        self._dial = dial
        self._budget = DialBudget(settings.max_dials_of_all)
        self._settings = settings
        self._disk = disk
        self._threads = DiskThreads()
        self._rng = random.SystemRandom()
        self.upload_limit = RateLimit(settings.max_upload)
        self.download_limit = RateLimit(settings.max_download)
        self.torrents: list[Torrent] = []

    def add(self, spec: TorrentSpec, *, listener: PeerListener | None = None) -> Torrent:
        """Start a torrent.

        Args:
            spec: What it is, and where its data is or goes.
            listener: Where its peers come in; without one it only dials. Closing it is the
                caller's business.

        Returns:
            The torrent, at work already.
        """
        torrent = Torrent(
            spec,
            self._settings,
            self._rng,
            upload_limit=self.upload_limit,
            download_limit=self.download_limit,
        )
        tasks = TorrentTasks(
            torrent,
            dial=self._dial,
            budget=self._budget,
            listener=listener,
            threads=self._threads,
            disk=self._disk,
        )
        self.torrents.append(torrent)
        self._nursery.start_soon(tasks.run)
        return torrent


@asynccontextmanager
async def open_session(
    *, dial: Dial, settings: Settings | None = None, disk: Disk = DISK
) -> AsyncIterator[Session]:
    """A session that lives as long as the block; leaving it stops every torrent.

    Args:
        dial: How peers are reached.
        settings: Limits; the defaults suit Tor.
        disk: What data is read from and written to: the operating system's files.

    Cancelling closes all connections and waits only for pieces that are being written.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield Session(nursery, dial, settings or Settings(), disk)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None
