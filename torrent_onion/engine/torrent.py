"""The one owner of a torrent's state.

Everything that changes is changed in a synchronous method here, so each is a critical section:
trio runs one task at a time. Methods decide and queue; the tasks in torrent_tasks.py and
peer_session.py do what takes time.
"""

import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Info, Metainfo
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.bandwidth import RateLimit, take_from_all
from torrent_onion.engine.complete_pieces import CompletePieces
from torrent_onion.engine.culprits import Culprits
from torrent_onion.engine.onion_exchange import OnionExchange
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.selection import set_priorities, wanted_pieces
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.sources import Sources
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.torrent_metadata import TorrentMetadata
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.traffic import Traffic
from torrent_onion.engine.uploads import Uploads
from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.errors import LocalError, MetainfoError, ProtocolError, TorrentOnionError
from torrent_onion.policy.peer_pool import PeerPool, Source
from torrent_onion.policy.piece_download import PeerKey, PieceDownload
from torrent_onion.policy.piece_picker import PiecePicker, Received, UnaskedBlock
from torrent_onion.protocol import messages
from torrent_onion.protocol.extensions import STRIPE_SIZE, ExtensionHandshake, MetadataData
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest


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
        self.metadata = TorrentMetadata(self.info_hashes)
        self.exchange = OnionExchange(self)
        self.checked = 0
        self.error: TorrentOnionError | None = None
        # What the tasks wait for.
        self.more_candidates = Wakeup()
        self.has_metadata = trio.Event()
        self.all_verified = trio.Event()
        self.ended = trio.Event()
        self._complete = trio.Event()
        self.complete_pieces = CompletePieces()
        # Set by its tasks, who can reach them.
        self.sources: Sources | None = None
        # How to end what gives us blocks and is no peer: web seeds.
        self.bans: dict[PeerKey, Callable[[], None]] = {}
        self.culprits = Culprits(self)
        self._cancel_scope = trio.CancelScope()
        self._have: Bitfield | None = None
        self._picker: PiecePicker | None = None
        self.uploads = Uploads(self)
        self._stripe_secret = secrets.token_bytes(STRIPE_SIZE)
        self._done = 0
        self._unwanted = 0
        self.wanted: frozenset[int] | None = None
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

    async def stop(self) -> None:
        """Close all connections and files; returns when that is done."""
        self._cancel_scope.cancel()
        await self.ended.wait()

    def statistics(self) -> TorrentStatistics:
        """One moment of this torrent."""
        now = trio.current_time()
        return TorrentStatistics(
            state=self.state,
            done=self._done,
            total=self.info.total_length if self.info else 0,
            unwanted=self._unwanted,
            checked=self.checked,
            downloaded=self.traffic.downloaded,
            uploaded=self.traffic.uploaded,
            download_rate=self.traffic.download_rate(now),
            upload_rate=self.traffic.upload_rate(now),
            peers=len(self.peers),
            seeds=sum(peer.is_seed for peer in self.peers.values()),
            last_block=self.traffic.last_block,
            error=str(self.error) if self.error else None,
            path=self.storage.placement.path if self.storage else None,
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
    def open_storage(self) -> Storage:
        """The storage, for whoever comes after the check."""
        if self.storage is None:
            raise RuntimeError("the storage is not open yet")
        return self.storage

    @property
    def open_picker(self) -> PiecePicker:
        """What is missing, for whoever comes after the check."""
        if self._picker is None:
            raise RuntimeError("the data is not checked yet")
        return self._picker

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
        self._check_when_verifiable()

    def _check_when_verifiable(self) -> None:
        """Next comes the check of what is on disk."""
        if self.metadata.is_verifiable and not self.has_metadata.is_set():
            self.state = TorrentState.CHECKING
            self.has_metadata.set()

    def data_checked(self, have: Bitfield, now: float) -> None:
        """What is on disk is known: download the rest, serve what is here."""
        info = self.metadata.known_info
        self._have = have
        self._picker = PiecePicker(
            info.layout, have.copy(), rng=self.rng, sequential=self.spec.sequential
        )
        set_priorities(self._picker, info, self.wanted, sequential=self.spec.sequential)
        self.uploads.begin(info, have)
        self.culprits.data_known(self.metadata.layers)
        self._done = sum(_data_length(info, index) for index in have.indices())
        wanted = wanted_pieces(info, self.wanted)
        self._unwanted = sum(
            _data_length(info, index) for index in have.missing() if not wanted[index]
        )
        self.state = TorrentState.DOWNLOADING
        for peer in self.peers.values():
            for index in have.indices():
                peer.send(messages.Have(index))
            self.peer_pieces_known(peer, now)
        if self._picker.is_done:
            self.all_verified.set()

    def finished(self) -> None:
        """Everything is on disk under its final name."""
        self.state = TorrentState.SEEDING
        self.uploads.seeding_since = trio.current_time()
        for peer in list(self.peers.values()):
            peer.set_interested(False)
        self._complete.set()

    # Peers come and go.

    def peer_connected(self, peer: Peer, now: float) -> None:
        """A handshake is done: say what we have and what we can do."""
        peer.connected_since = peer.last_received = peer.last_sent = now
        self.peers[peer.key] = peer
        if self.num_pieces is not None:
            peer.metadata_known(self.num_pieces)
        peer.send_opening(self.uploads.shown_at_first(self._have))
        self.metadata.add_peer(peer, now)
        self._tell_extensions(peer)
        peer.wake.ring()
        if self._picker is not None:
            self.peer_pieces_known(peer, now)

    def _tell_extensions(self, peer: Peer) -> None:
        """Say what we can do (BEP 10); it may be said again when there is more to say."""
        if not peer.wire.supports_extensions:
            return
        peer.wire.send_extension_handshake(
            ExtensionHandshake(
                metadata_size=self.metadata.size,
                upload_only=True if self.state is TorrentState.SEEDING else None,
                onion=self.exchange.own_onion(peer),
                stripe=self._stripe_for(peer),
            )
        )

    def _stripe_for(self, peer: Peer) -> bytes | None:
        """What joins our connections to one onion, and to no other: onions cannot compare it."""
        if peer.address is None or not peer.address.is_onion:
            return None
        name = str(peer.address).encode()
        return blake2b(name, key=self._stripe_secret, digest_size=STRIPE_SIZE).digest()

    def peer_gone(self, peer: Peer) -> None:
        """A connection has ended; what was asked there is asked elsewhere."""
        if self.peers.pop(peer.key, None) is None:
            return
        self.culprits.peer_gone(peer)
        self.metadata.remove_peer(peer.key)
        self.exchange.remove_peer(peer, trio.current_time())
        if self._picker is not None and peer.in_picker:
            self._picker.remove_peer(peer.key)
        self.uploads.remove_peer(peer)
        self.ask_everybody()

    def add_candidates(self, addresses: Iterable[PeerAddress], source: str) -> None:
        """Addresses that somebody named: none is dialled before it is judged by the pool."""
        self.pool.add(addresses, source)
        self.more_candidates.ring()

    # What peers tell.

    def peer_pieces_known(self, peer: Peer, now: float) -> None:
        """The peer's bitfield is known, perhaps anew."""
        if self._picker is None or peer.pieces is None:
            return
        if peer.in_picker:
            self._picker.remove_peer(peer.key)
        self._picker.add_peer(peer.key, peer.pieces)
        peer.in_picker = True
        self.uploads.peer_pieces_known(peer, peer.pieces)
        self.ask(peer, now)

    def peer_has(self, peer: Peer, index: int, now: float) -> None:
        """The peer has one piece more."""
        if self._picker is not None and peer.in_picker:
            self._picker.peer_has(peer.key, index)
            self.uploads.peer_has(peer, index)
            self.ask(peer, now)

    def peer_lost(self, peer: Peer, index: int) -> None:
        """The peer no longer has a piece (BEP 54)."""
        if self._picker is not None and peer.in_picker:
            self._picker.peer_lost(peer.key, index)
            peer.set_interested(self._picker.is_interesting(peer.key))

    def peer_choked_us(self, peer: Peer) -> None:
        """Without the fast extension a choke drops every request; with it each is rejected."""
        if not peer.wire.supports_fast:
            self.drop_requests(peer)

    def drop_requests(self, peer: Peer) -> None:
        """The peer will not answer what it was asked; others may."""
        if self._picker is not None and peer.in_picker:
            for block in self._picker.drop_requests(peer.key):
                peer.requests.request_gone(block)
            self.ask_everybody()

    def give_up(self, peer: Peer, blocks: list[Block]) -> None:
        """Some requests took too long: let others be asked."""
        if self._picker is None or not peer.in_picker:
            return
        for block in blocks:
            self._picker.request_dropped(peer.key, block)
            peer.requests.request_gone(block)
            peer.send(messages.Cancel(block.piece, block.begin, block.length))
        self.ask_everybody()

    def request_rejected(self, peer: Peer, block: Block) -> None:
        """The peer will not answer one request (BEP 6)."""
        if self._picker is None or not self._picker.is_requested(peer.key, block):
            return
        self._picker.request_dropped(peer.key, block)
        peer.requests.request_gone(block)
        self.ask_everybody()

    def extension_handshake_received(self, peer: Peer, now: float) -> None:
        """The peer told what it can do (BEP 10)."""
        theirs = peer.wire.peer_extensions
        if theirs is not None and theirs.metadata_size is not None:
            self.metadata.peer_offers(peer, theirs.metadata_size, now)
        if theirs is not None and theirs.reqq is not None:
            peer.requests.set_limit(theirs.reqq)
        self.exchange.handshake_received(peer, now)

    def metadata_received(self, peer: Peer, data: MetadataData, now: float) -> None:
        """A piece of the metadata came (BEP 9)."""
        try:
            info, liars = self.metadata.received(peer, data, now)
        except MetainfoError as error:  # its hash is right, so no other peer has a better one
            self.fail(error)
            return
        for key in liars:
            self.culprits.ban(key)
        if info is not None:
            self.metadata_known(info, {})
        else:
            self._ask_for_metadata(now)

    def metadata_rejected(self, peer: Peer) -> None:
        """A peer will not send the metadata."""
        self.metadata.rejected(peer)
        self._ask_for_metadata(trio.current_time())

    def hashes_received(self, peer: Peer, hashes: Hashes, now: float) -> None:
        """A part of a hash tree came (BEP 52)."""
        if not self.metadata.hashes_received(peer, hashes, now):
            self.culprits.ban(peer.key)
        self.culprits.hashes_received(hashes)
        self._check_when_verifiable()
        self._ask_for_metadata(now)

    def hashes_rejected(self, peer: Peer, reject: HashReject, now: float) -> None:
        """A peer will not send a part of a hash tree."""
        self.metadata.hashes_rejected(peer, reject)
        self.culprits.hashes_rejected(peer, reject)
        self._ask_for_metadata(now)

    async def answer_hash_request(self, request: HashRequest) -> Hashes | HashReject:
        """What a peer's request is answered with.

        Raises:
            StorageError: The data that it asks about cannot be read.
        """
        return await self.metadata.answer(request, self.storage, self._have)

    def _ask_for_metadata(self, now: float) -> None:
        for peer in self.peers.values():
            self.metadata.ask(peer, now)

    # Blocks.

    def ask(self, peer: Peer, now: float) -> None:
        """Keep the peer as busy as its connection can carry."""
        picker = self._picker
        if picker is None or not peer.in_picker:
            return
        peer.set_interested(picker.is_interesting(peer.key))
        if peer.peer_choking and not peer.allowed_fast:
            return
        room = peer.requests.room(now)
        if room <= 0 or not peer.am_interested:
            return
        allowed = peer.allowed_fast if peer.peer_choking else None
        peer.request(picker.pick(peer.key, room, allowed=allowed), now)

    def block_received(self, peer: Peer, piece: messages.Piece, now: float) -> None:
        """Payload came in.

        Raises:
            ProtocolError: Nobody asked for it.
        """
        self.traffic.came_in(len(piece.block), now)
        if self._picker is None or not peer.in_picker:
            raise ProtocolError("the peer sent a block before it was asked for any")
        block = Block(piece.piece, piece.begin, len(piece.block))
        try:
            received = self._picker.block_received(peer.key, piece.piece, piece.begin, piece.block)
        except UnaskedBlock:
            peer.unasked_block()
            return
        peer.requests.block_arrived(block, now)
        self._take_block(block, received, now)

    def source_block_received(
        self, key: PeerKey, block: Block, data: memoryview, now: float
    ) -> None:
        """Payload came from a source that is no peer."""
        self.traffic.came_in(len(data), now)
        with suppress(UnaskedBlock):  # others may have sent it first
            received = self.open_picker.block_received(key, block.piece, block.begin, data)
            self._take_block(block, received, now)

    async def admit(self, size: int) -> None:
        """Pause a source that is no peer while no more bytes may come in."""
        await self.complete_pieces.wait_room()
        await take_from_all(self.download_limits, size)

    def _take_block(self, block: Block, received: Received, now: float) -> None:
        """Do what a block brought about."""
        if not received.duplicate:
            self.traffic.last_block = now
        for key in received.cancel:
            self._cancel_request(key, block)
        if received.complete is not None:
            self.complete_pieces.add(received.complete)

    def piece_verified(self, download: PieceDownload, now: float) -> None:
        """A piece is right and on disk: tell everybody who lacks it."""
        picker, have = self._picker, self._have
        if picker is None or have is None:
            raise RuntimeError("a piece came before the data was checked")
        index = download.index
        for key in picker.piece_verified(index):
            self.culprits.ban(key)
        have.set(index)
        self._done += _data_length(self.metadata.known_info, index)
        for peer in self.peers.values():  # who has it as well learns how far we are
            peer.send(messages.Have(index))
        if picker.is_done:
            self.all_verified.set()
        for peer in list(self.peers.values()):
            if not picker.is_interesting(peer.key):
                self.ask(peer, now)

    def piece_failed(self, download: PieceDownload, now: float) -> None:
        """A piece has the wrong hash: find out who lied."""
        self.culprits.piece_failed(download, now)

    # Now and then.

    def end(self) -> None:
        """Stop by ourselves: everything that was to be done is done."""
        self._cancel_scope.cancel()

    def is_useless(self, peer: Peer) -> bool:
        """Whether neither has anything to give to the other: both are seeds."""
        return self._have is not None and self._have.is_full and peer.is_seed

    def drop_stalled(self, now: float) -> None:
        """Ask others for the metadata and hashes that some peers do not send."""
        if self.metadata.drop_stalled(now):
            self.ask_everybody()

    def ask_everybody(self) -> None:
        """Something may be asked for again: see who can give it."""
        now = trio.current_time()
        for peer in self.peers.values():
            self.ask(peer, now)
            self.metadata.ask(peer, now)

    def _cancel_request(self, key: PeerKey, block: Block) -> None:
        peer = self.peers.get(key)
        if peer is not None:
            peer.send(messages.Cancel(block.piece, block.begin, block.length))
            peer.requests.request_gone(block)

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


def _data_length(info: Info, index: int) -> int:
    """Bytes of files in a piece, padding not counted."""
    spans = info.layout.spans(index, 0, info.layout.piece_size(index))
    return sum(span.length for span in spans if not info.files[span.file].is_pad)
