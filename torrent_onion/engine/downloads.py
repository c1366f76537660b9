"""What a torrent takes: which blocks are asked of whom, and what becomes of those that come.

The decisions are the picker's and the request queues'; here they meet the peers. All of it is
synchronous but for sources that are no peers, which are made to wait.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.bandwidth import take_from_all
from torrent_onion.engine.complete_pieces import CompletePieces
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.piece_priorities import PiecePriorities
from torrent_onion.errors import ProtocolError
from torrent_onion.policy.picker_peer import BlockKey
from torrent_onion.policy.picker_results import Received, UnaskedBlock
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.piece_picker import PiecePicker
from torrent_onion.protocol import messages

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

SPARE_SECONDS = 5.0
"""No block for so long: memory for pieces is not kept, for there may be hundreds of torrents."""


class Downloads:
    """The taking side of one torrent.

    Args:
        torrent: Whose it is.

    Attributes:
        complete_pieces: Pieces whose blocks are all here, waiting for a thread.
        done: Bytes of files that are verified and on disk.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self.complete_pieces = CompletePieces()
        self.done = 0
        self._torrent = torrent
        self._picker: PiecePicker | None = None
        self._priorities: PiecePriorities | None = None

    @property
    def unwanted(self) -> int:
        """Bytes of files that are missing and not to be fetched; 0 while that is not known."""
        return self._priorities.unwanted if self._priorities else 0

    @property
    def is_done(self) -> bool:
        """Whether every wanted piece is here."""
        return self.priorities.is_done

    @property
    def priorities(self) -> PiecePriorities:
        """How much pieces are wanted, for whoever comes after the check."""
        if self._priorities is None:
            raise RuntimeError("the data is not checked yet")
        return self._priorities

    @property
    def picker(self) -> PiecePicker:
        """What is missing, for whoever comes after the check."""
        if self._picker is None:
            raise RuntimeError("the data is not checked yet")
        return self._picker

    @property
    def left(self) -> int:
        """Bytes that are wanted and not here; 0 while that is not known."""
        info = self._torrent.info
        return info.total_length - self.done - self.unwanted if info else 0

    def begin(self, info: Info, have: Bitfield) -> None:
        """What is on disk is known."""
        torrent = self._torrent
        sequential = torrent.spec.sequential
        self._picker = PiecePicker(info.layout, have.copy(), rng=torrent.rng, sequential=sequential)
        self._priorities = PiecePriorities(info, torrent.file_priorities, self._picker, have)
        self.done = sum(info.data_length(index) for index in have.indices())

    def file_priority_changed(self, file: int) -> None:
        """A file is wanted more or less than before, or no more, or again."""
        if self._priorities is None:  # whoever begins knows it
            return
        for key, block in self._priorities.file_changed(file):
            self._cancel_request(key, block)
        if self.is_done:
            self._torrent.all_verified.set()
        self.ask_everybody()

    # What peers tell.

    def peer_pieces_known(self, peer: Peer, now: float) -> None:
        """The peer's bitfield is known, perhaps anew."""
        if self._picker is None or peer.pieces is None:
            return
        if peer.in_picker:
            self._picker.remove_peer(peer.key)
        self._picker.add_peer(peer.key, peer.pieces)
        peer.in_picker = True
        self._torrent.uploads.peer_pieces_known(peer, peer.pieces)
        self.ask(peer, now)

    def remove_peer(self, peer: Peer) -> None:
        """A connection has ended; what was asked there is asked elsewhere."""
        if self._picker is not None and peer.in_picker:
            self._picker.remove_peer(peer.key)
        self.ask_everybody()

    def peer_has(self, peer: Peer, index: int, now: float) -> None:
        """The peer has one piece more."""
        if self._picker is not None and peer.in_picker:
            self._picker.peer_has(peer.key, index)
            self._torrent.uploads.peer_has(peer, index)
            self.ask(peer, now)

    def peer_has_also(self, peer: Peer, new: Bitfield, now: float) -> None:
        """The peer has more pieces, however many: they are looked at together."""
        if self._picker is not None and peer.in_picker and not new.is_empty:
            self._picker.peer_has_also(peer.key, new)
            self._torrent.uploads.peer_has_also(peer, new)
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
        """A block came in.

        Raises:
            ProtocolError: Nobody asked for it.
        """
        if self._picker is None or not peer.in_picker:
            raise ProtocolError("the peer sent a block before it was asked for any")
        index, begin, data = piece
        try:
            received = self._picker.block_received(peer.key, index, begin, data)
        except UnaskedBlock:
            peer.unasked_block()
            return
        block = (index, begin, len(data))
        peer.requests.block_arrived(block, now)
        self._take_block(block, received, now)

    def source_block_received(
        self, key: PeerKey, block: Block, data: memoryview, now: float
    ) -> None:
        """Payload came from a source that is no peer."""
        self._torrent.traffic.came_in(len(data), now)
        with suppress(UnaskedBlock):  # others may have sent it first
            received = self.picker.block_received(key, block.piece, block.begin, data)
            self._take_block(block, received, now)

    async def admit(self, size: int) -> None:
        """Pause a source that is no peer while no more bytes may come in."""
        await self.complete_pieces.wait_room()
        await take_from_all(self._torrent.download_limits, size)

    def _take_block(self, block: BlockKey, received: Received, now: float) -> None:
        """Do what a block brought about."""
        if not received.duplicate:
            self._torrent.traffic.last_block = now
        for key in received.cancel:
            self._cancel_request(key, Block(*block))
        if received.complete is not None:
            self.complete_pieces.add(received.complete)

    def piece_verified(self, index: int, now: float) -> None:
        """A piece is right and on disk: tell everybody who lacks it."""
        picker, torrent = self.picker, self._torrent
        if torrent.known_have[index]:
            return
        for key in picker.piece_verified(index):
            torrent.culprits.ban(key)
        torrent.known_have.set(index)
        self.done += torrent.metadata.known_info.data_length(index)
        if self.priorities.piece_arrived(index):
            self.ask_everybody()
        for peer in self._torrent.peers.values():  # who has it as well learns how far we are
            peer.send(messages.Have(index))
        if self.is_done:
            self._torrent.all_verified.set()
        for peer in list(self._torrent.peers.values()):
            if not picker.is_interesting(peer.key):
                self.ask(peer, now)

    def reuse(self, buffer: bytearray) -> None:
        """Give a piece's memory to another: it is written, and no thread has it any more."""
        if self.is_done:
            self.picker.buffers.clear()
        else:
            self.picker.buffers.give_back(buffer)

    def tick(self, now: float) -> None:
        """Let go of memory that no piece has needed for a while."""
        last = self._torrent.traffic.last_block
        if self._picker is not None and (last is None or now - last > SPARE_SECONDS):
            self._picker.buffers.clear()

    def ask_everybody(self) -> None:
        """Something may be asked for again: see who can give it."""
        now = trio.current_time()
        for peer in self._torrent.peers.values():
            self.ask(peer, now)
            self._torrent.metadata.ask(peer, now)

    def _cancel_request(self, key: PeerKey, block: Block) -> None:
        peer = self._torrent.peers.get(key)
        if peer is not None:
            peer.send(messages.Cancel(block.piece, block.begin, block.length))
            peer.requests.request_gone(block)
