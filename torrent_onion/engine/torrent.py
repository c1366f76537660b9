"""The one owner of a torrent's state.

Everything that changes is changed in a synchronous method here, so each is a critical section:
trio runs one task at a time. Methods decide and queue; the tasks in torrent_tasks.py and
peer_session.py do what takes time.
"""

import random
import secrets
from collections.abc import Callable, Iterable, Mapping

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Info, Metainfo
from torrent_onion.engine.bandwidth import RateLimit
from torrent_onion.engine.clearnet_exchange import ClearnetExchange
from torrent_onion.engine.culprits import Culprits
from torrent_onion.engine.downloads import Downloads
from torrent_onion.engine.file_priorities import FilePriorities
from torrent_onion.engine.onion_exchange import OnionExchange
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.sources import Sources
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.torrent_metadata import TorrentMetadata
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.traffic import Traffic
from torrent_onion.engine.uploads import Uploads
from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.errors import LocalError, ProtocolError, TorrentOnionError
from torrent_onion.policy.peer_pool import PeerPool, Source
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol import messages
from torrent_onion.protocol.extensions import STRIPE_SIZE, ExtensionHandshake

FAREWELL_SECONDS = 1.0
"""For what is queued when a torrent is stopped: a circuit that stalls is not waited for."""


class Torrent:
    """One torrent of a session. Made by ``Session.add``."""

    def __init__(
        self,
        spec: TorrentSpec,
        settings: Settings,
        rng: random.Random,
        *,
        upload_limit: RateLimit | None = None,
        download_limit: RateLimit | None = None,
    ) -> None:
        """Make a torrent at rest.

        Args:
            spec: What it is.
            settings: Of the session.
            rng: For what must not be guessed.
            upload_limit: The session's, shared by all torrents.
            download_limit: The same, coming in.
        """
        self.spec = spec
        self.upload_limits = (RateLimit(spec.max_upload), upload_limit or RateLimit())
        self.download_limits = (RateLimit(spec.max_download), download_limit or RateLimit())
        self.settings = settings
        self.rng = rng
        self.info_hashes: InfoHashes = (
            spec.source.info.info_hashes
            if isinstance(spec.source, Metainfo)
            else spec.source.info_hashes
        )
        self.state = TorrentState.FETCHING_METADATA
        self.storage: Storage | None = None
        self.peers: dict[PeerKey, Peer] = {}
        self.pool = PeerPool(rng, spec.own_address, max_dials=settings.max_dials)
        self.pool.add(spec.peers, Source.USER)
        self.traffic = Traffic()
        self.metadata = TorrentMetadata(self)
        self.exchange = OnionExchange(self)
        self.clearnet_exchange = ClearnetExchange(self)
        self.checked = 0
        self.error: TorrentOnionError | None = None
        # What the tasks wait for.
        self.more_candidates = Wakeup()
        self.peer_came = Wakeup()
        self.has_metadata = trio.Event()
        self.all_verified = trio.Event()
        self.ended = trio.Event()
        self._complete = trio.Event()
        # Set by its tasks, who can reach them.
        self.sources: Sources | None = None
        # How to end what gives us blocks and is no peer: web seeds.
        self.bans: dict[PeerKey, Callable[[], None]] = {}
        self.culprits = Culprits(self)
        self._cancel_scope = trio.CancelScope()
        self._have: Bitfield | None = None
        self.uploads = Uploads(self)
        self.downloads = Downloads(self)
        self._stripes: dict[PeerAddress | None, bytes] = {}
        self.wanted: frozenset[int] | None = None
        self._file_priorities: FilePriorities | None = None
        if isinstance(spec.source, Metainfo):
            self.metadata_known(spec.source.info, spec.source.piece_layers)

    # For whoever uses the session.

    @property
    def info(self) -> Info | None:
        """The info dictionary; None until it is known."""
        return self.metadata.info

    @property
    def name(self) -> str:
        """What the torrent calls itself, or its hash until that is known."""
        if self.info is not None:
            return self.info.name
        named = self.spec.source.name if isinstance(self.spec.source, Magnet) else None
        return named or self.info_hashes.display

    async def wait_metadata(self) -> Info:
        """Wait until the metadata is known.

        Raises:
            TorrentOnionError: The torrent failed first.
        """
        await self._wait(self.has_metadata)
        if self.info is None:
            raise TorrentOnionError("The torrent was stopped before its metadata had come.")
        return self.info

    async def wait_complete(self) -> None:
        """Wait until every byte is verified, synced to disk and under its final name.

        Raises:
            TorrentOnionError: The torrent failed first.
        """
        await self._wait(self._complete)

    def set_file_priority(self, file: int, priority: int) -> None:
        """Change how much a file is wanted, at any time before all that is wanted is here.

        What of a file is here already stays; only pieces on their way are thrown away when nobody
        wants them any more. When the last missing file is skipped, the torrent is complete.

        Args:
            file: Its number in ``info.files``.
            priority: 0 skips it, 4 is normal, 7 goes before all others.

        Raises:
            RuntimeError: The metadata is not known yet, or the torrent is complete.
            ValueError: There is no such file or priority, or no file would be wanted any more.
        """
        if self.all_verified.is_set():
            raise RuntimeError("the torrent is complete; add it again to fetch more of it")
        self.file_priorities.change(file, priority)
        self.wanted = self.file_priorities.wanted
        self.downloads.file_priority_changed(file)

    async def stop(self) -> None:
        """Close all connections and files; returns when that is done.

        What is queued for peers is sent first, as long as that takes no time to speak of: who gave
        us the last piece shall hear that we have it.
        """
        with trio.move_on_after(FAREWELL_SECONDS):
            for peer in list(self.peers.values()):
                await peer.wait_told()
        self._cancel_scope.cancel()
        await self.ended.wait()

    def statistics(self) -> TorrentStatistics:
        """One moment of this torrent."""
        now = trio.current_time()
        return TorrentStatistics(
            state=self.state,
            done=self.downloads.done,
            total=self.info.total_length if self.info else 0,
            unwanted=self.downloads.unwanted,
            checked=self.checked,
            downloaded=self.traffic.downloaded,
            uploaded=self.traffic.uploaded,
            download_rate=self.traffic.download_rate(now),
            upload_rate=self.traffic.upload_rate(now),
            peers=len(self.peers),
            seeds=sum(peer.is_seed for peer in self.peers.values()),
            last_block=self.traffic.last_block,
            error=str(self.error) if self.error else None,
            path=self.storage.path if self.storage else None,
            trackers=self.sources.announcer.statistics() if self.sources else (),
            web_seeds=self.sources.web_seeds.statistics() if self.sources else (),
            notices=self.sources.notices if self.sources else (),
        )

    # The torrent's life, called by its tasks.

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """The scope that all tasks of the torrent run in."""
        return self._cancel_scope

    @property
    def wants_peers(self) -> bool:
        """Whether dialling can bring us anything: a complete torrent waits to be dialled."""
        return not self.all_verified.is_set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing happens until somebody comes, but that it was served long enough."""
        return self.state is TorrentState.SEEDING and not self.peers

    @property
    def have(self) -> Bitfield | None:
        """The pieces that are on disk; None until the check has ended."""
        return self._have

    @property
    def known_have(self) -> Bitfield:
        """The pieces that are on disk, for whoever comes after the check."""
        if self._have is None:
            raise RuntimeError("the data is not checked yet")
        return self._have

    @property
    def wanted_files(self) -> list[int]:
        """Numbers of the files that are to be fetched, and kept on disk."""
        return [
            file
            for file, entry in enumerate(self.metadata.known_info.files)
            if not entry.is_pad
            and entry.symlink is None
            and (self.wanted is None or file in self.wanted)
        ]

    @property
    def file_priorities(self) -> FilePriorities:
        """How much each file is wanted, for whoever waited for the metadata."""
        if self._file_priorities is None:
            raise RuntimeError("the metadata is not known yet")
        return self._file_priorities

    @property
    def open_storage(self) -> Storage:
        """The storage, for whoever comes after the check."""
        if self.storage is None:
            raise RuntimeError("the storage is not open yet")
        return self.storage

    @property
    def num_pieces(self) -> int | None:
        """None until the metadata is known."""
        return self.info.layout.num_pieces if self.info else None

    def fail(self, error: TorrentOnionError) -> None:
        """End this torrent, and only this one, for a reason that its user must hear."""
        if self.error is None:
            self.error = error
            self.state = TorrentState.FAILED
            self._cancel_scope.cancel()

    def stopped(self) -> None:
        """All tasks have ended."""
        if self.state is not TorrentState.FAILED:
            self.state = TorrentState.STOPPED
        if self.storage is not None:
            self.storage.close()
        self.ended.set()

    def metadata_known(self, info: Info, piece_layers: Mapping[bytes, bytes]) -> None:
        """The info dictionary is here and right, with the layers of its file if it came in one."""
        self.info_hashes = info.info_hashes
        try:
            self.wanted = self.spec.select(info) if self.spec.select else None
        except LocalError as error:
            self.fail(error)
            return
        self._file_priorities = FilePriorities(info, self.wanted, sequential=self.spec.sequential)
        for peer in list(self.peers.values()):
            try:
                peer.metadata_known(info.layout.num_pieces)
            except ProtocolError:
                peer.close()
        now = trio.current_time()
        self.metadata.known(info, piece_layers, self.peers.values(), now)
        for peer in self.peers.values():  # who was met before can have the metadata, and our onion
            self._tell_extensions(peer)
            peer.wake.ring()
        self.exchange.metadata_known(now)
        self.check_when_verifiable()

    def check_when_verifiable(self) -> None:
        """Next comes the check of what is on disk, if all is known that it needs."""
        if self.metadata.is_verifiable and not self.has_metadata.is_set():
            self.state = TorrentState.CHECKING
            self.has_metadata.set()

    def data_checked(self, have: Bitfield, now: float) -> None:
        """What is on disk is known: download the rest, serve what is here."""
        info = self.metadata.known_info
        self._have = have
        self.downloads.begin(info, have)
        self.uploads.begin(info, have)
        self.culprits.data_known(self.metadata.layers)
        self.state = TorrentState.DOWNLOADING
        for peer in self.peers.values():
            for index in have.indices():
                peer.send(messages.Have(index))
            self.downloads.peer_pieces_known(peer, now)
        if self.downloads.is_done:
            self.all_verified.set()

    def finished(self) -> None:
        """Everything is on disk under its final name."""
        self.state = TorrentState.SEEDING
        self.uploads.goals.seeding_since = trio.current_time()
        for peer in list(self.peers.values()):
            peer.set_interested(False)
            self._tell_extensions(peer)  # that we want nothing more (BEP 21)
            peer.wake.ring()
        self._complete.set()

    # Peers come and go.

    def peer_connected(self, peer: Peer, now: float) -> None:
        """A handshake is done: say what we have and what we can do."""
        peer.connected_since = peer.last_received = peer.last_sent = now
        self.peers[peer.key] = peer
        self.peer_came.ring()
        if self.num_pieces is not None:
            peer.metadata_known(self.num_pieces)
        peer.send_opening(self.uploads.shown_at_first(self._have))
        self.metadata.add_peer(peer, now)
        self._tell_extensions(peer)
        peer.wake.ring()
        self.downloads.peer_pieces_known(peer, now)

    def _tell_extensions(self, peer: Peer) -> None:
        """Say what we can do (BEP 10); it may be said again when there is more to say."""
        if not peer.wire.supports_extensions:
            return
        peer.wire.send_extension_handshake(
            ExtensionHandshake(
                ids=self.clearnet_exchange.offered_ids(peer),
                metadata_size=self.metadata.size,
                upload_only=True if self.state is TorrentState.SEEDING else None,
                onion=self.exchange.own_onion(peer),
                stripe=self._stripe_for(peer),
            )
        )

    def _stripe_for(self, peer: Peer) -> bytes | None:
        """What joins our connections to one onion while there are any; two onions see two."""
        if peer.address is None or not peer.address.is_onion:
            return None
        return self._stripes.setdefault(peer.address, secrets.token_bytes(STRIPE_SIZE))

    def peer_gone(self, peer: Peer) -> None:
        """A connection has ended; what was asked there is asked elsewhere."""
        if self.peers.pop(peer.key, None) is None:
            return
        if not any(other.address == peer.address for other in self.peers.values()):
            self._stripes.pop(peer.address, None)  # who comes again is a stranger
        self.culprits.peer_gone(peer)
        self.metadata.remove_peer(peer.key)
        self.exchange.remove_peer(peer, trio.current_time())
        self.clearnet_exchange.remove_peer(peer)
        self.uploads.remove_peer(peer)
        self.downloads.remove_peer(peer)

    def add_candidates(self, addresses: Iterable[PeerAddress], source: str) -> None:
        """Addresses that somebody named: none is dialled before it is judged by the pool."""
        self.pool.add(addresses, source)
        self.more_candidates.ring()

    # Now and then.

    def end(self) -> None:
        """Stop by ourselves: everything that was to be done is done."""
        self._cancel_scope.cancel()

    def is_useless(self, peer: Peer) -> bool:
        """Whether neither wants anything of the other: seeds, or upload-only otherwise (BEP 21)."""
        return self.state is TorrentState.SEEDING and peer.wants_nothing

    async def _wait(self, event: trio.Event) -> None:
        """Wait for an event of this torrent, or for its end."""
        async with trio.open_nursery() as nursery:

            async def until(other: trio.Event) -> None:
                await other.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until, event)
            nursery.start_soon(until, self.ended)
        if self.error is not None and not event.is_set():
            raise self.error
