"""The tasks of one torrent: check its data, connect, commit pieces, keep time.

Each does what a synchronous method of ``Torrent`` decided, and tells it the outcome.
"""

import logging

import trio

from torrent_onion.engine.connections import Connections
from torrent_onion.engine.disk import Disk
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.identical_files import fit
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.sources import Sources
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_data import CHECKPOINT_SECONDS, CHECKPOINT_SHARE, TorrentData
from torrent_onion.engine.transport import Dial, PeerListener
from torrent_onion.errors import LocalError, StorageError, TorrentOnionError
from torrent_onion.policy.dial_budget import DialBudget
from torrent_onion.policy.piece_download import PieceDownload
from torrent_onion.protocol.messages import KeepAlive

log = logging.getLogger(__name__)

BUG = (
    "An error in this program ended the torrent; what has arrived is kept. "
    "Run the same again, and please report what --verbose prints."
)

TICK_SECONDS = 1.0
LAST_RECORD_SECONDS = 3.0  # for the record on leaving: we are to be gone within 5 s
RECHOKE_SECONDS = 10.0  # BEP 3: often enough to react, rarely enough for rates to mean something
KEEP_ALIVE_SECONDS = 100.0  # BEP 3 says that two minutes of silence may end a connection
USELESS_SECONDS = 10.0  # that two seeds are left to tell each other of other peers
IDLE_SECONDS = 240.0  # two keep-alives lost, as Tor stalls for a minute at times


class TorrentTasks:
    """Runs one torrent until it is stopped or fails."""

    def __init__(
        self,
        torrent: Torrent,
        *,
        dial: Dial,
        budget: DialBudget,
        listener: PeerListener | None,
        threads: DiskThreads,
        disk: Disk,
    ) -> None:
        self._torrent = torrent
        self._threads = threads
        self._disk = disk
        self._commits = 0
        self._commit_ended = trio.Event()
        self._connections = Connections(torrent, dial, budget, listener)
        self._sources = torrent.sources = Sources(
            torrent,
            torrent.spec.source,
            dial=dial,
            rng=torrent.rng,
            own_address=torrent.spec.own_address,
            sign=torrent.spec.sign,
        )

    async def run(self) -> None:
        """Everything, in its order. Never raises for what befalls a torrent: that is its state."""
        torrent = self._torrent
        try:
            with torrent.cancel_scope:
                async with trio.open_nursery() as nursery:
                    # A magnet link needs peers first; else nobody is let in before the data is
                    # known, for a peer that is told late what we have may never hear of it.
                    needs_metadata = torrent.info is None
                    if needs_metadata:
                        self._start_network(nursery)
                    await torrent.has_metadata.wait()
                    await self._own_data(nursery, start_network=not needs_metadata)
        except Exception:  # a bug of ours; the other torrents must not feel it
            log.exception("a bug ended a torrent")
            torrent.fail(TorrentOnionError(BUG))
        finally:
            torrent.stopped()

    def _start_network(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._keep_time)
        self._connections.start(nursery)
        nursery.start_soon(self._sources.announcer.run)
        nursery.start_soon(self._commit_pieces, nursery)

    # Data.

    async def _own_data(self, nursery: trio.Nursery, *, start_network: bool) -> None:
        """Check the data, keep a record of it while it comes, give it its final name."""
        torrent = self._torrent
        data: TorrentData | None = None
        try:
            data = TorrentData(torrent, self._threads, self._disk)
            torrent.data_checked(await data.prepare(), trio.current_time())
            if start_network:
                self._start_network(nursery)
            nursery.start_soon(self._sources.web_seeds.run)
            await self._record_until_verified(data)
            await data.complete(torrent.known_have)
            torrent.finished()
        except LocalError as error:
            torrent.fail(error)
        finally:
            if data is not None:
                data.close()

    async def _record_until_verified(self, data: TorrentData) -> None:
        torrent, pause = self._torrent, CHECKPOINT_SECONDS
        try:
            while not torrent.all_verified.is_set():
                with trio.move_on_after(pause):
                    await torrent.all_verified.wait()
                began = trio.current_time()
                await data.checkpoint(torrent.known_have)
                took = trio.current_time() - began
                pause = max(CHECKPOINT_SECONDS, took / CHECKPOINT_SHARE)
        finally:
            # The last chance to record what is here, also when we are told to stop. Pieces that
            # are in a thread's hands are written all the same: they are waited for.
            with trio.move_on_after(LAST_RECORD_SECONDS, shield=True):
                while self._commits:
                    await self._commit_ended.wait()
                await data.checkpoint(torrent.known_have)

    async def _commit_pieces(self, nursery: trio.Nursery) -> None:
        """Hand complete pieces to threads as they come."""
        while True:
            for download in await self._torrent.downloads.complete_pieces.take():
                nursery.start_soon(self._commit, download)

    async def _commit(self, download: PieceDownload) -> None:
        torrent, buffer = self._torrent, download.buffer
        self._commits += 1
        try:
            if await torrent.open_storage.commit_piece(download.index, buffer):
                await self._copy_to_others(download)
                torrent.downloads.piece_verified(download.index, trio.current_time())
                torrent.downloads.reuse(buffer)
            else:
                torrent.culprits.piece_failed(download, trio.current_time())
        except StorageError as error:
            torrent.fail(error)
        finally:
            self._commits -= 1
            self._commit_ended.set()
            self._commit_ended = trio.Event()
            torrent.downloads.complete_pieces.ended()

    async def _copy_to_others(self, download: PieceDownload) -> None:
        """Write a piece wherever else the torrent has it (BEP 52 "pieces root")."""
        torrent = self._torrent
        priorities = torrent.downloads.priorities
        for index in priorities.to_copy(download.index):
            data = fit(torrent.metadata.known_info, index, memoryview(download.buffer))
            is_right = await torrent.open_storage.commit_piece(index, data)
            if is_right and priorities.is_waiting(index):  # else it is fetched, or no longer wanted
                torrent.downloads.piece_verified(index, trio.current_time())

    # Time.

    async def _keep_time(self) -> None:
        """What happens every second and every ten, while anything can.

        Every torrent has a beat of its own: who meets two of ours must not see that they are.
        """
        torrent = self._torrent
        next_rechoke = trio.current_time() + RECHOKE_SECONDS
        while True:
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()
            torrent.metadata.drop_stalled(now)
            torrent.downloads.tick(now)
            torrent.culprits.tick(now)
            torrent.exchange.tell(now)
            torrent.clearnet_exchange.tell(now)
            if torrent.uploads.has_reached_goal(now):
                torrent.end()
            for peer in list(torrent.peers.values()):
                self._look_after(peer, now)
            if now >= next_rechoke:
                torrent.uploads.rechoke(now)
                next_rechoke = now + RECHOKE_SECONDS
            if torrent.is_idle:
                with trio.move_on_at(torrent.uploads.goals.end_time):
                    await torrent.peer_came.wait()

    def _look_after(self, peer: Peer, now: float) -> None:
        is_useless = self._torrent.is_useless(peer) and now - peer.connected_since > USELESS_SECONDS
        if is_useless or now - peer.last_received > IDLE_SECONDS:
            peer.close()
        elif now - peer.last_sent > KEEP_ALIVE_SECONDS:
            peer.send(KeepAlive())
        if overdue := peer.requests.overdue(now):
            self._torrent.downloads.give_up(peer, overdue)
        else:
            self._torrent.downloads.ask(peer, now)
