"""The tasks of one torrent: check, dial, accept, commit pieces, keep time.

Each does what a synchronous method of ``Torrent`` decided, and tells it the outcome.
"""

import logging
import secrets
from contextlib import suppress
from itertools import count

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.core.metainfo import Info
from torrent_onion.engine.checking import check_pieces
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_session import converse, shake_hands
from torrent_onion.engine.placement import Placement, place_download, place_shared
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.transport import Dial, PeerListener, PeerStream
from torrent_onion.engine.verification import PieceVerifier
from torrent_onion.errors import LocalError, RemoteError, StorageError
from torrent_onion.policy.piece_download import PieceDownload
from torrent_onion.protocol.messages import KeepAlive
from torrent_onion.protocol.peer_wire import Event, PeerWire

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
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
                    await self._prepare_data()
                    if not needs_metadata:
                        self._start_network(nursery)
                    await self._complete_data()
        finally:
            torrent.stopped()

    def _start_network(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._keep_time)
        nursery.start_soon(self._dial_candidates, nursery)
        if self._listener is not None:
            nursery.start_soon(self._accept, self._listener, nursery)
        nursery.start_soon(self._commit_pieces, nursery)

    # Data.

    async def _prepare_data(self) -> None:
        torrent = self._torrent
        try:
            have = await self._open_storage(torrent.metadata.known_info)
            torrent.data_checked(have, trio.current_time())
        except LocalError as error:
            torrent.fail(error)

    async def _complete_data(self) -> None:
        await self._torrent.all_verified.wait()
        try:
            await self._give_final_name(self._torrent.metadata.known_info)
        except LocalError as error:
            self._torrent.fail(error)
        else:
            self._torrent.finished()

    async def _open_storage(self, info: Info) -> Bitfield:
        torrent = self._torrent
        if torrent.spec.shared_path is not None:
            torrent.storage = self._storage(info, place_shared(info, torrent.spec.shared_path))
            return Bitfield.full(info.layout.num_pieces)
        final = place_download(info, torrent.spec.folder)
        if final.path.exists():
            return await self._open_finished(info, final)
        torrent.storage = self._storage(info, final.partial(), writable=True)
        await torrent.storage.make_root()
        return await self._check(info, torrent.storage)

    async def _open_finished(self, info: Info, final: Placement) -> Bitfield:
        """Something has the final name already: it is the torrent's data, or nobody's to touch."""
        self._torrent.storage = self._storage(info, final)
        have = await self._check(info, self._torrent.storage)
        if not have.is_full:
            raise StorageError(
                f"{final.path} exists already and is not what this torrent holds. "
                "Move it away, or choose another folder with --dir."
            )
        return have

    def _storage(self, info: Info, placement: Placement, *, writable: bool = False) -> Storage:
        return Storage(
            info,
            placement,
            verify=PieceVerifier(info, self._torrent.metadata.layers),
            threads=self._threads,
            writable=writable,
        )

    async def _check(self, info: Info, storage: Storage) -> Bitfield:
        def progress(done: int, _: int) -> None:
            self._torrent.checked = min(done, info.total_length)

        return await check_pieces(storage, info.layout, self._threads, progress)

    async def _give_final_name(self, info: Info) -> None:
        storage = self._torrent.open_storage
        if self._torrent.spec.shared_path is not None:
            return
        final = place_download(info, self._torrent.spec.folder)
        if storage.placement != final:
            await storage.create_empty_files()
            await storage.finish(final)

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
