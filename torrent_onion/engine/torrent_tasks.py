"""The tasks of one torrent: check, dial, accept, commit pieces, keep time.

Each does what a synchronous method of ``Torrent`` decided, and tells it the outcome.
"""

import logging
import secrets
from contextlib import suppress
from itertools import count

import trio

from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_session import converse, shake_hands
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_data import CHECKPOINT_SECONDS, TorrentData
from torrent_onion.engine.transport import Dial, PeerListener, PeerStream
from torrent_onion.errors import LocalError, RemoteError, StorageError
from torrent_onion.policy.piece_download import PieceDownload
from torrent_onion.protocol.messages import KeepAlive
from torrent_onion.protocol.peer_wire import Event, PeerWire

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
LAST_RECORD_SECONDS = 3.0  # for the record on leaving: we are to be gone within 5 s
RECHOKE_SECONDS = 10.0  # BEP 3: often enough to react, rarely enough for rates to mean something
KEEP_ALIVE_SECONDS = 100.0  # BEP 3 says that two minutes of silence may end a connection
IDLE_SECONDS = 240.0  # two keep-alives lost, as Tor stalls for a minute at times
PEER_ID_SIZE = 20  # bytes, BEP 3


class TorrentTasks:
    """Runs one torrent until it is stopped or fails."""

    def __init__(
        self, torrent: Torrent, *, dial: Dial, listener: PeerListener | None, threads: DiskThreads
    ) -> None:
        self._torrent = torrent
        self._dial = dial
        self._listener = listener
        self._threads = threads
        self._isolation = secrets.token_hex(16)
        self._keys = count(1)
        self._dialling = 0
        self._connections = 0

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
        finally:
            torrent.stopped()

    def _start_network(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._keep_time)
        nursery.start_soon(self._dial_candidates, nursery)
        if self._listener is not None:
            nursery.start_soon(self._accept, self._listener, nursery)
        nursery.start_soon(self._commit_pieces, nursery)

    # Data.

    async def _own_data(self, nursery: trio.Nursery, *, start_network: bool) -> None:
        """Check the data, keep a record of it while it comes, give it its final name."""
        torrent = self._torrent
        data = TorrentData(torrent, self._threads)
        try:
            torrent.data_checked(await data.prepare(), trio.current_time())
            if start_network:
                self._start_network(nursery)
            await self._record_until_verified(data)
            await data.complete()
            torrent.finished()
        except LocalError as error:
            torrent.fail(error)

    async def _record_until_verified(self, data: TorrentData) -> None:
        torrent = self._torrent
        try:
            while not torrent.all_verified.is_set():
                with trio.move_on_after(CHECKPOINT_SECONDS):
                    await torrent.all_verified.wait()
                await data.checkpoint(torrent.known_have)
        finally:
            # The last chance to record what is here, also when we are told to stop.
            with trio.move_on_after(LAST_RECORD_SECONDS, shield=True):
                await data.checkpoint(torrent.known_have)

    async def _commit_pieces(self, nursery: trio.Nursery) -> None:
        """Hand complete pieces to threads as they come."""
        while True:
            await self._torrent.more_to_commit.wait()
            for download in self._torrent.take_complete():
                nursery.start_soon(self._commit, download)

    async def _commit(self, download: PieceDownload) -> None:
        torrent = self._torrent
        try:
            good = await torrent.open_storage.commit_piece(download.index, download.buffer)
        except StorageError as error:
            torrent.fail(error)
            return
        finally:
            torrent.commit_ended()
        if good:
            torrent.piece_verified(download, trio.current_time())
        else:
            torrent.piece_failed(download)

    # Connections.

    async def _dial_candidates(self, nursery: trio.Nursery) -> None:
        """Keep dialling while there is somebody to dial and room for more."""
        torrent, settings = self._torrent, self._torrent.settings
        while True:
            while (
                torrent.wants_peers
                and self._dialling < settings.max_dials
                and self._connections + self._dialling < settings.max_connections
                and (address := torrent.pool.next_to_dial(trio.current_time())) is not None
            ):
                self._dialling += 1
                nursery.start_soon(self._dial_one, address)
            with trio.move_on_after(TICK_SECONDS):
                await torrent.more_candidates.wait()

    async def _dial_one(self, address: PeerAddress) -> None:
        pool = self._torrent.pool
        try:
            stream = await self._dial(address.host, address.port, self._isolation)
        except OSError as error:
            log.debug("cannot reach %s: %s", address, error)
            pool.failed(address, trio.current_time())
            return
        finally:
            self._dialling -= 1
            self._torrent.more_candidates.ring()
        pool.connected(address, trio.current_time())
        lived = await self._serve(stream, address)
        if lived:
            pool.closed(address, trio.current_time())
        else:
            pool.failed(address, trio.current_time())

    async def _accept(self, listener: PeerListener, nursery: trio.Nursery) -> None:
        while True:
            stream = await listener.accept()
            if self._connections >= self._torrent.settings.max_connections:
                await stream.aclose()
            else:
                nursery.start_soon(self._serve, stream, None)

    async def _serve(self, stream: PeerStream, address: PeerAddress | None) -> bool:
        """Talk with a peer until the connection ends.

        Returns:
            Whether the handshake was done, so that the peer is what it was said to be.
        """
        torrent = self._torrent
        self._connections += 1
        peer = Peer(torrent, next(self._keys), PeerWire(max_pieces=torrent.num_pieces), address)
        met = False
        try:
            early = await self._shake_hands(stream, peer)
            met = True
            torrent.peer_connected(peer, trio.current_time())
            await converse(peer, stream, early)
        except StorageError as error:
            torrent.fail(error)
        except (RemoteError, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            log.debug("a peer left: %s", error)
        except Exception:  # whatever one peer provokes, the others must not feel it
            log.exception("a bug ended a connection")
        finally:
            self._connections -= 1
            torrent.peer_gone(peer)
            torrent.more_candidates.ring()
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
                await stream.aclose()
        return met

    async def _shake_hands(self, stream: PeerStream, peer: Peer) -> list[Event]:
        return await shake_hands(
            stream,
            peer.wire,
            self._torrent.info_hashes,
            PeerId(secrets.token_bytes(PEER_ID_SIZE)),
            we_begin=peer.address is not None,
        )

    # Time.

    async def _keep_time(self) -> None:
        """What happens every second and every ten."""
        torrent = self._torrent
        next_rechoke = trio.current_time() + RECHOKE_SECONDS
        while True:
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()
            torrent.drop_stalled(now)
            if torrent.has_reached_goal(now):
                torrent.end()
            for peer in list(torrent.peers.values()):
                self._look_after(peer, now)
            if now >= next_rechoke:
                torrent.rechoke(now)
                next_rechoke = now + RECHOKE_SECONDS

    def _look_after(self, peer: Peer, now: float) -> None:
        if now - peer.last_received > IDLE_SECONDS:
            peer.close()
        elif now - peer.last_sent > KEEP_ALIVE_SECONDS:
            peer.send(KeepAlive())
        if overdue := peer.requests.overdue(now):
            self._torrent.give_up(peer, overdue)
        else:
            self._torrent.ask(peer, now)
