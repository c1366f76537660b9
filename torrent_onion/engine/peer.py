"""One remote peer as our torrent sees it: who chokes whom, what it has, what is asked of whom.

Synchronous: messages go in by ``handle``, what is to be sent collects in the wire, and the bell
``wake`` says that there is something to send. Decisions that need the whole torrent are its own.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.answers import MAX_UPLOAD_QUEUE, Answers
from torrent_onion.engine.bandwidth import take_from_all
from torrent_onion.engine.early_pieces import EarlyPieces, read_pieces
from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.errors import ProtocolError
from torrent_onion.policy.mind_changes import MindChanges
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.rate import RateMeter
from torrent_onion.policy.request_queue import RequestQueue
from torrent_onion.protocol import extensions, messages
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest
from torrent_onion.protocol.onion_pex import ONION_PEX
from torrent_onion.protocol.peer_wire import Event, PeerWire, Requests

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

MAX_QUEUED = 4 << 20
"""Bytes that wait to be sent to a peer before we read no more from it: answers to its requests."""

MAX_ALLOWED_FAST = 64
"""Pieces that we keep in mind as allowed while choked (BEP 6); clients allow about 10."""

MAX_UNASKED_BLOCKS = 4096
"""Blocks of one peer that crossed a cancel or came after we gave up on them."""


class Peer:
    """State of one connection after its handshake."""

    def __init__(
        self, torrent: "Torrent", key: PeerKey, wire: PeerWire, address: PeerAddress | None
    ) -> None:
        self.key = key
        self.wire = wire
        self.address = address
        self.wake = Wakeup()
        self.am_choking = True
        self.am_interested = False
        self.peer_choking = True
        self.peer_interested = False
        self.pieces: Bitfield | None = None
        self.requests = RequestQueue()
        self.answers = Answers(torrent, key, wire, self._blocks_queued)
        self._drained = trio.Event()
        self.allowed_fast: set[int] = set()
        self.granted_fast: frozenset[int] = frozenset()
        self.fast_bytes_left = 0
        self.download_meter = RateMeter()
        self.upload_meter = RateMeter()
        self.connected_since = 0.0
        self.last_received = 0.0
        self.last_sent = 0.0
        self._torrent = torrent
        self.in_picker = False
        self.is_sending = False
        self.payload_received = 0
        self.data_sent = 0  # payload bytes, padding not counted
        self._unasked = 0
        self._changes = MindChanges()
        self._received = 0  # payload bytes that the torrent has not let us read more for
        self._early = EarlyPieces()
        self._has_told = False  # a bitfield that comes now adds to what is known
        self._close: Callable[[], None] | None = None

    @property
    def is_seed(self) -> bool:
        """The peer has every piece."""
        return self.pieces is not None and self.pieces.is_full

    @property
    def person(self) -> bytes | None:
        """The token that joins the connections of one downloader; None if it shows none."""
        said = self.wire.peer_extensions
        return said.stripe if said else None

    @property
    def wants_nothing(self) -> bool:
        """The peer has every piece, or says that it wants no more of them (BEP 21)."""
        said = self.wire.peer_extensions
        return self.is_seed or (said is not None and said.upload_only is True)

    @property
    def knows_trees(self) -> bool:
        """Whether the peer speaks BEP 52, so that it can be asked for hashes."""
        said = self.wire.peer_handshake
        hashes = self._torrent.info_hashes
        return said is not None and (said.v2 or (hashes.v2 or b"").startswith(said.info_hash))

    def on_close(self, close: Callable[[], None]) -> None:
        """How the tasks of this connection are ended."""
        self._close = close

    def close(self) -> None:
        """End the connection, without waiting for it."""
        if self._close is not None:
            self._close()

    def send(self, message: messages.Message) -> None:
        """Queue a message and wake the writer."""
        self.wire.send(message)
        self.wake.ring()

    def handle(self, event: Event, now: float) -> None:
        """Take one event from the wire.

        Raises:
            ProtocolError: The peer broke a rule; the connection must be closed.
        """
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, now)

    async def ready_for_more(self) -> None:
        """Wait while the torrent has too much in hand already, or has had enough a second."""
        while self.wire.bytes_queued > MAX_QUEUED:
            await self._drained.wait()
        await self._torrent.downloads.complete_pieces.wait_room()
        received, self._received = self._received, 0
        await take_from_all(self._torrent.download_limits, received)

    async def wait_told(self) -> None:
        """Wait until all that is queued for the peer is sent, or the connection has ended."""
        while (self.wire.bytes_queued or self.is_sending) and self.key in self._torrent.peers:
            await self._drained.wait()

    def batch_done(self, now: float) -> None:
        """All that one read brought is handled: count it, and ask for as much again."""
        if self._received:
            self.download_meter.add(now, self._received)
            self._torrent.traffic.came_in(self._received, now)
        self._torrent.downloads.ask(self, now)
        if self.wire.bytes_queued:
            self.wake.ring()

    def send_opening(self, have: Bitfield | None) -> None:
        """The first message after the handshake: what we have (BEP 3, BEP 6)."""
        if self.wire.supports_fast:
            if have is None or have.is_empty:
                self.send(messages.HaveNone())
            elif have.is_full:
                self.send(messages.HaveAll())
            else:
                self.send(messages.BitfieldMessage(have.to_bytes()))
        elif have is not None and not have.is_empty:
            self.send(messages.BitfieldMessage(have.to_bytes()))

    def request(self, blocks: Sequence[Block], now: float) -> None:
        """Ask for blocks."""
        if blocks:
            self.requests.requests_sent(blocks, now)
            self.wire.send_requests(blocks)
            self.wake.ring()

    def unasked_block(self) -> None:
        """A block came that nobody asked for. Some cross a cancel; a flood of them is an attack.

        Raises:
            ProtocolError: There were too many.
        """
        self._unasked += 1
        if self._unasked > MAX_UNASKED_BLOCKS:
            raise ProtocolError("the peer sends blocks that nobody asked for")

    def sent(self, now: float) -> None:
        """What was queued is on its way, says the writer."""
        self.last_sent = now
        self.is_sending = False
        self._drained.set()
        self._drained = trio.Event()

    def _blocks_queued(self, blocks: Sequence[Block], size: int, now: float) -> None:
        self._torrent.uploads.blocks_sent(self, blocks, size)
        self.upload_meter.add(now, size)
        self._torrent.traffic.went_out(size, now)

    def set_interested(self, interested: bool) -> None:  # noqa: FBT001 - the message has this bit
        """Tell the peer whether we want anything of it, if that is news."""
        if interested != self.am_interested:
            self.am_interested = interested
            self.send(messages.Interested() if interested else messages.NotInterested())

    def choke(self) -> None:
        """Stop serving the peer and drop what it still waits for."""
        if self.am_choking:
            return
        self.am_choking = True
        self.send(messages.Choke())
        waiting = tuple(self.answers.blocks)
        self.answers.blocks.clear()
        for block in waiting:
            if self._take_fast(block):
                self.answers.blocks[block] = None
            else:
                self._reject(block)

    def grant_fast(self, pieces: Collection[int], size: int) -> None:
        """Let the peer ask for some pieces while it is choked (BEP 6), ``size`` bytes at most."""
        self.granted_fast = frozenset(pieces)
        self.fast_bytes_left = size
        for index in pieces:
            self.send(messages.AllowedFast(index))

    def _take_fast(self, block: Block) -> bool:
        """Whether a block is served although the peer is choked; it is paid for then."""
        if block.piece not in self.granted_fast or block.length > self.fast_bytes_left:
            return False
        self.fast_bytes_left -= block.length
        return True

    def unchoke(self) -> None:
        """Let the peer ask for blocks."""
        if self.am_choking:
            self.am_choking = False
            self.send(messages.Unchoke())

    def metadata_known(self, num_pieces: int) -> None:
        """The number of pieces is known now: what came before can be read.

        Raises:
            ProtocolError: What the peer said before does not fit the torrent.
        """
        self.wire.set_num_pieces(num_pieces)
        self.pieces = self._early.take(num_pieces)
        self.allowed_fast = {index for index in self.allowed_fast if index < num_pieces}

    def _on_choke(self, _: Any, now: float) -> None:
        self._changes.count(now)
        self.peer_choking = True
        self._torrent.downloads.peer_choked_us(self)

    def _on_unchoke(self, _: Any, now: float) -> None:
        self._changes.count(now)
        self.peer_choking = False
        self._torrent.downloads.ask(self, now)

    def _on_interest(self, said: messages.Interested | messages.NotInterested, now: float) -> None:
        self._changes.count(now)
        self.peer_interested = isinstance(said, messages.Interested)
        self._torrent.uploads.interest_changed(self, now)

    def _on_pieces(self, event: messages.BitfieldMessage | messages.HaveAll, now: float) -> None:
        self._changes.count(now)
        num_pieces = self._torrent.num_pieces
        if num_pieces is None:
            self._early.told(event)
            return
        if self._has_told and self.is_seed:
            return
        pieces = read_pieces(event, num_pieces)
        if self._has_told and self.pieces is not None:
            self._torrent.downloads.peer_has_also(self, self.pieces.update(pieces), now)
            return
        self._has_told = True
        self.pieces = pieces
        self._torrent.downloads.peer_pieces_known(self, now)

    def _on_have_none(self, *_: Any) -> None:
        self._has_told = True

    def _on_have(self, have: messages.Have, now: float) -> None:
        self._has_told = True
        if self.pieces is None:
            self._early.has(have.piece)
            return
        if have.piece >= len(self.pieces):
            raise ProtocolError("the peer has a piece that is beyond the end of the torrent")
        if not self.pieces[have.piece]:
            self.pieces.set(have.piece)
            self._torrent.downloads.peer_has(self, have.piece, now)

    def _on_dont_have(self, lost: extensions.DontHave, now: float) -> None:
        self._changes.count(now)
        if self.pieces is not None and self.pieces[lost.piece]:
            self.pieces.clear(lost.piece)
            self._torrent.downloads.peer_lost(self, lost.piece)

    def _on_requests(self, asked: Requests, _: float) -> None:
        waiting, info = self.answers.blocks, self._torrent.info
        served: dict[int, bool] = {}  # by piece; mostly it is the same one for the whole run
        for block in asked.blocks:
            if block in waiting:
                continue
            piece, begin, length = block
            if piece not in served:
                served[piece] = self._torrent.uploads.can_serve(self, piece)
            is_welcome = (
                len(waiting) < MAX_UPLOAD_QUEUE
                and info is not None
                and info.layout.is_valid_request(piece, begin, length)
                and served[piece]
                and (not self.am_choking or self._take_fast(block))
            )
            if is_welcome:
                waiting[block] = None
            else:
                self._reject(block)
        self.wake.ring()

    def _on_cancel(self, cancel: messages.Cancel, _: float) -> None:
        block = Block(cancel.piece, cancel.begin, cancel.length)
        if block in self.answers.blocks:
            del self.answers.blocks[block]
            self._reject(block)

    def _on_block(self, piece: messages.Piece, now: float) -> None:
        self._received += len(piece.block)
        self.payload_received += len(piece.block)
        self._torrent.downloads.block_received(self, piece, now)

    def _on_reject(self, reject: messages.Reject, _: float) -> None:
        self._torrent.downloads.request_rejected(
            self, Block(reject.piece, reject.begin, reject.length)
        )

    def _on_allowed_fast(self, allowed: messages.AllowedFast, now: float) -> None:
        if len(self.allowed_fast) < MAX_ALLOWED_FAST:
            self.allowed_fast.add(allowed.piece)
            self._torrent.downloads.ask(self, now)

    def _on_extension_handshake(self, said: extensions.ExtensionHandshake, now: float) -> None:
        self._changes.count(now)
        if said.metadata_size is not None:
            self._torrent.metadata.peer_offers(self, said.metadata_size, now)
        if said.reqq is not None:
            self.requests.set_limit(said.reqq)
        self._torrent.exchange.handshake_received(self, now)

    def _on_pex(self, unread: extensions.UnreadPex, now: float) -> None:
        self._changes.count(now)
        if unread.name == ONION_PEX:
            self._torrent.exchange.received(self, unread.payload, now)
        else:
            self._torrent.clearnet_exchange.received(self, unread.payload, now)

    def _on_metadata_request(self, request: extensions.MetadataRequest, _: float) -> None:
        self.answers.add_metadata_request(request.piece)
        self.wake.ring()

    def _on_metadata_data(self, data: extensions.MetadataData, now: float) -> None:
        if not self._torrent.metadata.received(self, data, now):
            self._changes.count(now)

    def _on_metadata_reject(self, _: Any, now: float) -> None:
        self._changes.count(now)
        self._torrent.metadata.rejected(self, now)

    def _on_hash_request(self, request: HashRequest, _: float) -> None:
        self.answers.add_hash_request(request)
        self.wake.ring()

    def _on_hashes(self, hashes: Hashes, now: float) -> None:
        if not self._torrent.metadata.hashes_received(self, hashes, now):
            self._changes.count(now)

    def _on_hash_reject(self, reject: HashReject, now: float) -> None:
        self._changes.count(now)
        self._torrent.metadata.hashes_rejected(self, reject, now)

    def _reject(self, block: Block) -> None:
        """Say that a request will not be answered, to peers that can hear it (BEP 6)."""
        if self.wire.supports_fast:
            self.send(messages.Reject(block.piece, block.begin, block.length))


_HANDLERS: dict[type, Callable[[Peer, Any, float], None]] = {
    messages.Choke: Peer._on_choke,  # noqa: SLF001 - this table is a part of the class
    messages.Unchoke: Peer._on_unchoke,  # noqa: SLF001
    messages.Interested: Peer._on_interest,  # noqa: SLF001
    messages.NotInterested: Peer._on_interest,  # noqa: SLF001
    messages.BitfieldMessage: Peer._on_pieces,  # noqa: SLF001
    messages.HaveAll: Peer._on_pieces,  # noqa: SLF001
    messages.HaveNone: Peer._on_have_none,  # noqa: SLF001
    messages.Have: Peer._on_have,  # noqa: SLF001
    Requests: Peer._on_requests,  # noqa: SLF001
    messages.Cancel: Peer._on_cancel,  # noqa: SLF001
    messages.Piece: Peer._on_block,  # noqa: SLF001
    messages.Reject: Peer._on_reject,  # noqa: SLF001
    messages.AllowedFast: Peer._on_allowed_fast,  # noqa: SLF001
    extensions.DontHave: Peer._on_dont_have,  # noqa: SLF001
    HashRequest: Peer._on_hash_request,  # noqa: SLF001
    Hashes: Peer._on_hashes,  # noqa: SLF001
    HashReject: Peer._on_hash_reject,  # noqa: SLF001
    extensions.ExtensionHandshake: Peer._on_extension_handshake,  # noqa: SLF001
    extensions.UnreadPex: Peer._on_pex,  # noqa: SLF001
    extensions.MetadataRequest: Peer._on_metadata_request,  # noqa: SLF001
    extensions.MetadataData: Peer._on_metadata_data,  # noqa: SLF001
    extensions.MetadataReject: Peer._on_metadata_reject,  # noqa: SLF001
}
"""Whatever is not here needs no answer: keep-alives, DHT ports, what others add. Nor do suggestions
(BEP 6): what one peer has in memory is no reason to fetch it before what is rare."""
