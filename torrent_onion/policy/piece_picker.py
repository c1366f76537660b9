"""Which block to ask of whom: the one place that knows what is wanted, asked for and here.

The state of a piece is in :mod:`torrent_onion.policy.piece_board`, that of a block in
:mod:`torrent_onion.policy.piece_download`.

Order: a peer goes on with the piece that it is at. Then it takes up an abandoned piece, then joins
one that another peer is at, then begins one: the rarest that it has, at random among equals (any,
while we have almost nothing to offer; the first, in sequential mode). A peer whose requests fill a
good part of a piece begins one rather than join, so that pieces come whole from fast peers. A
higher priority goes before all of this. When nothing is left to ask for, or a peer would be idle
because no more pieces may be begun, it helps with what others were asked for: endgame.

Cost: O(1) for every block. For every piece begun, every HAVE and every bitfield a dozen operations
on sets of pieces (:mod:`torrent_onion.policy.piece_sets`): 10 microseconds to begin a piece with
25,000 of them, 30 with 100,000; a HAVE 1 and 3. A change of priorities looks at all peers.

Memory: for 100,000 pieces 13 KB for every peer that is no seed and 200 KB for the torrent. Buffers
are bounded by the board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.policy import piece_sets
from torrent_onion.policy.bad_data import BadData
from torrent_onion.policy.endgame import Endgame
from torrent_onion.policy.interest import Interest
from torrent_onion.policy.picker_peer import BlockKey, PickerPeer
from torrent_onion.policy.picker_results import PickerStatistics, Received, UnaskedBlock
from torrent_onion.policy.piece_board import MAX_PRIORITY, PieceBoard, PieceState
from torrent_onion.policy.piece_download import PeerKey, PieceDownload

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from torrent_onion.core.bitfield import Bitfield
    from torrent_onion.core.piece_layout import PieceLayout
    from torrent_onion.policy.piece_sets import PieceSet

_FAST_SHARE: Final = 4
"""A peer is fast when its requests fill this part (1/n) of a piece: it sends a whole piece in the
time of a few round trips."""
_IDLE_BLOCKS: Final = 4
"""Blocks asked for twice at a time where memory does not allow more: it keeps the circuit warm and
helps with what is stuck, and wastes little if nothing is."""


_PROGRESS: Final = Received()
_WASTED: Final = Received(duplicate=True)


class PiecePicker:
    """The pieces of one torrent.

    Args:
        layout: Sizes of pieces and blocks.
        have: The pieces that are here; copied.
        rng: Where ties are broken.
        sequential: Begin pieces in order; can be changed at any time.

    Attributes:
        buffers: Where the memory of verified pieces may be given back.
    """

    def __init__(
        self, layout: PieceLayout, have: Bitfield, *, rng: Random, sequential: bool = False
    ) -> None:
        self._board = PieceBoard(layout, have, rng=rng, sequential=sequential)
        self.buffers: Final = self._board.buffers
        self._peers: dict[PeerKey, PickerPeer] = {}
        self._interest = Interest(rng)
        self._bad_data = BadData()
        self._endgame = Endgame()
        self._fast_requests = -(-layout.piece_length // (BLOCK_SIZE * _FAST_SHARE))

    @property
    def sequential(self) -> bool:
        """Whether pieces are begun in order."""
        return self._board.sequential

    @sequential.setter
    def sequential(self, sequential: bool) -> None:
        self._board.sequential = sequential

    # Peers

    def add_peer(self, peer: PeerKey, pieces: Bitfield) -> None:
        """Count in a peer and what it has; ``pieces`` is copied.

        Raises:
            ValueError: It is counted in already.
        """
        if peer in self._peers:
            raise ValueError(f"peer {peer} is known")
        mask = self._board.all if pieces.is_full else piece_sets.from_bitfield(pieces)
        self._peers[peer] = PickerPeer(peer, mask)
        self._board.availability.add(mask)
        self._interest.review(peer, mask & self._board.useful)

    def remove_peer(self, peer: PeerKey) -> None:
        """Forget a peer; what it was asked for can be asked of others."""
        self.drop_requests(peer)
        self._board.availability.subtract(self._peers.pop(peer).pieces)
        self._interest.forget(peer)

    def peer_has(self, peer: PeerKey, index: int) -> None:
        """Note a piece that a peer has got (BEP 3 ``have``); a second time changes nothing."""
        state = self._peers[peer]
        bit = 1 << index
        if not state.pieces & bit:
            self._add_pieces(state, bit)

    def peer_has_also(self, peer: PeerKey, pieces: Bitfield) -> None:
        """Note many pieces that a peer has got; what it had before changes nothing."""
        state = self._peers[peer]
        mask = piece_sets.from_bitfield(pieces)
        self._add_pieces(state, mask ^ (mask & state.pieces))

    def _add_pieces(self, state: PickerPeer, new: PieceSet) -> None:
        state.pieces |= new
        self._board.availability.add(new)
        if state.key not in self._interest:
            self._interest.review(state.key, new & self._board.useful)

    def peer_lost(self, peer: PeerKey, index: int) -> None:
        """Note a piece that a peer has no more (BEP 54); it is asked for no more blocks of it."""
        state = self._peers[peer]
        bit = 1 << index
        if not state.pieces & bit:
            return
        state.pieces ^= bit
        self._board.availability.subtract(bit)
        if state.current is not None and state.current.index == index:
            self._release(state)
        if self._interest.witness(peer) == index:
            self._interest.review(peer, state.pieces & self._board.useful)

    def is_interesting(self, peer: PeerKey) -> bool:
        """Whether a peer has a piece that is wanted and not verified yet. O(1)."""
        return peer in self._interest

    def is_seed(self, peer: PeerKey) -> bool:
        """Whether a peer has every piece."""
        return self._peers[peer].pieces == self._board.all

    # Blocks

    def pick(
        self, peer: PeerKey, count: int, *, allowed: Collection[int] | None = None
    ) -> list[Block]:
        """Choose what to ask of a peer, and note it as asked for.

        Args:
            peer: One that does not choke us, or ``allowed`` is given.
            count: The most blocks to choose.
            allowed: Only blocks of these pieces (BEP 6 "allowed fast").

        Returns:
            The blocks in the order in which to ask for them; empty if there is nothing for it.
        """
        state = self._peers[peer]
        picked: list[Block] = []
        while len(picked) < count:
            download = state.current
            if download is None or (allowed is not None and download.index not in allowed):
                download = self._choose(state, count - len(picked), allowed)
                if download is None:
                    break
            blocks = download.take(state.alone, count - len(picked))
            for block in blocks:
                state.requests[block] = block
            picked += blocks
            if not download.missing:
                self._release(state)
        if not picked and count > 0:
            return self._pick_copies(state, count, allowed)
        return picked

    def is_requested(self, peer: PeerKey, block: BlockKey) -> bool:
        """Whether a peer was asked for a block and has yet to send it."""
        return block in self._peers[peer].requests

    def num_requested(self, peer: PeerKey) -> int:
        """Return how many blocks a peer has yet to send."""
        return len(self._peers[peer].requests)

    def block_received(self, peer: PeerKey, piece: int, begin: int, data: memoryview) -> Received:
        """Take a block that a peer sent; the data is copied.

        Raises:
            UnaskedBlock: The peer was never asked for exactly this.
        """
        state = self._peers[peer]
        block = (piece, begin, len(data))
        if block not in state.requests:
            return self._late_block(state, block, data)
        del state.requests[block]
        download = self._board.downloads[piece]
        others = download.add_block(peer, begin, data)
        if others or download.is_complete:
            return self._settle(download, block, others)
        return _PROGRESS

    def request_dropped(self, peer: PeerKey, block: Block) -> None:
        """Let others be asked for a block: it was rejected, or took too long. Or do nothing."""
        state = self._peers[peer]
        if block in state.requests:
            state.drop(block)
            self._return_block(peer, block)

    def drop_requests(self, peer: PeerKey) -> list[Block]:
        """Let others be asked for all that a peer was asked for: it choked us, or sends nothing.

        Returns:
            Those requests, in the order in which they were made.
        """
        state = self._peers[peer]
        self._release(state)
        blocks = state.drop_all()
        for block in reversed(blocks):
            self._return_block(peer, block)
        return blocks

    # Pieces

    def piece_verified(self, index: int) -> frozenset[PeerKey]:
        """Note that a piece is good and written: the last one completed, or one found on the disk.

        Returns:
            Peers, connected or not, that are now known to have sent bad blocks of it before.
        """
        board = self._board
        if board.state(index) is PieceState.HAVE:
            return frozenset()
        guilty: frozenset[PeerKey] = frozenset()
        download = board.downloads.get(index)
        if download is not None:
            if download.is_complete:
                guilty = self._bad_data.resolve(download)
            self._withdraw(download)
            board.discard(download)
        self._bad_data.forget(index)
        board.verified(index)
        for peer in self._interest.relying_on(index):
            self._interest.review(peer, self._peers[peer].pieces & board.useful)
        return guilty

    def piece_failed(
        self, index: int, bad_blocks: Collection[int] | None = None
    ) -> frozenset[PeerKey]:
        """Note that a complete piece is bad, so that it is fetched again.

        Args:
            index: A piece in state CHECKING.
            bad_blocks: Numbers of the blocks that are bad, where that is known (BEP 52): the others
                are kept.

        Returns:
            Peers, connected or not, that may have sent the bad data. If ``bad_blocks`` was given,
            or if there is only one, they did. Else the piece is now fetched from one peer alone,
            and this method or :meth:`piece_verified` names the guilty when that is done.

        Raises:
            ValueError: The piece is not in state CHECKING.
        """
        download = self._board.downloads.get(index)
        if download is None or not download.is_complete:
            raise ValueError(f"piece {index} is not being checked")
        if bad_blocks:
            suspects = download.reject(bad_blocks)
            if self._board.priorities[index]:
                self._board.shelve(download)
                return suspects
        else:
            suspects = frozenset(download.contributors().values())
            if len(suspects) > 1:
                self._bad_data.remember(download)
        self._board.discard(download)
        return suspects

    def set_priority(self, pieces: int | range, priority: int) -> list[tuple[PeerKey, Block]]:
        """Change how much pieces are wanted; those in state HAVE stay.

        Args:
            pieces: One piece, or a range (step 1) of them.
            priority: 0, skip, to ``MAX_PRIORITY``. What is here of a piece that is skipped is
                thrown away, unless it is complete.

        Returns:
            Requests to cancel: whom was asked for what.

        Raises:
            ValueError: There is no such priority.
        """
        if not 0 <= priority <= MAX_PRIORITY:
            raise ValueError(f"priority {priority}")
        changed = piece_sets.pieces_in(
            range(pieces, pieces + 1) if isinstance(pieces, int) else pieces
        )
        board = self._board
        board.set_priority(changed, priority)
        cancelled: list[tuple[PeerKey, Block]] = []
        for download in tuple(board.downloads.values()):
            if not download.is_complete and not board.wanted & (1 << download.index):
                cancelled += self._withdraw(download)
                board.discard(download)
        for peer, state in self._peers.items():
            self._interest.review(peer, state.pieces & board.useful)
            self._release(state)
        return cancelled

    # What is known

    def state(self, index: int) -> PieceState:
        """Return the state of a piece."""
        return self._board.state(index)

    def priority(self, index: int) -> int:
        """Return how much a piece is wanted: 0, not at all, to 7."""
        return self._board.priorities[index]

    def availability(self, index: int) -> int:
        """Return how many connected peers have a piece."""
        return self._board.availability[index]

    @property
    def open_pieces(self) -> PieceSet:
        """The most wanted of the pieces of which no block is asked for or here."""
        return self._board.priorities.largest(self._board.open)

    @property
    def num_wanted_missing(self) -> int:
        """Number of pieces that are wanted and not verified yet."""
        return self._board.num_wanted_missing

    @property
    def is_done(self) -> bool:
        """Whether every wanted piece is here."""
        return not self._board.num_wanted_missing

    def statistics(self) -> PickerStatistics:
        """Return the picker's numbers: O(peers + pieces begun)."""
        checking = sum(download.is_complete for download in self._board.downloads.values())
        return PickerStatistics(
            have=self._board.num_have,
            wanted_missing=self._board.num_wanted_missing,
            partial=len(self._board.downloads) - checking,
            checking=checking,
            buffered=sum(len(download.buffer) for download in self._board.downloads.values()),
            requested=sum(len(state.requests) for state in self._peers.values()),
            endgame=self._endgame.is_on,
        )

    # How pieces are handed out

    def _choose(
        self, state: PickerPeer, count: int, allowed: Collection[int] | None
    ) -> PieceDownload | None:
        fast = len(state.requests) + count >= self._fast_requests
        download = self._board.choose(_restrict(state.pieces, allowed), fast=fast)
        if download is not None:
            self._hand_over(download, state)
            self._endgame.stop()
        return download

    def _hand_over(self, download: PieceDownload, state: PickerPeer) -> None:
        """Make a piece the current one of a peer."""
        self._release(state)
        if download.is_untouched:
            download.solo = self._bad_data.is_suspect(download.index)
        if download.solo and download.owner != state.key:
            # Nothing that another peer sent may be mixed with what this one sends.
            self._withdraw(download)
            download.clear()
            download.owner = state.key
        if download.taker is None:
            download.taker = state.key
        state.current = download
        self._board.shelve(download)

    def _release(self, state: PickerPeer) -> None:
        """End a peer's going on with its current piece."""
        download, state.current = state.current, None
        if download is not None:
            if download.taker == state.key:
                download.taker = None
            self._board.shelve(download)

    def _pick_copies(
        self, state: PickerPeer, count: int, allowed: Collection[int] | None
    ) -> list[Block]:
        if not self._board.is_all_asked_for():
            if state.requests or not self._board.is_full:
                return []
            count = min(count, _IDLE_BLOCKS)
        self._endgame.begin(self._board.downloads.values())
        blocks = self._endgame.take(state.key, _restrict(state.pieces, allowed), count)
        for block in blocks:
            state.requests[block] = block
        return blocks

    # How blocks come and go

    def _late_block(self, state: PickerPeer, key: BlockKey, data: memoryview) -> Received:
        block = state.late.pop(key, None)
        if block is None:
            raise UnaskedBlock("The peer sent a block that it was not asked for.")
        download = self._board.downloads.get(block.piece)
        if download is None and not self._bad_data.is_suspect(block.piece):
            download = self._board.begin(block.piece)
        if download is None or not download.accepts(block.begin // BLOCK_SIZE, state.key):
            return _WASTED
        others = download.add_block(state.key, block.begin, data)
        return self._settle(download, block, others)

    def _settle(
        self, download: PieceDownload, block: BlockKey, others: tuple[PeerKey, ...]
    ) -> Received:
        """Finish what an arrived block means beyond its piece's buffer."""
        for other in others:
            self._peers[other].drop(Block(*block))
        self._board.shelve(download)
        return Received(cancel=others, complete=download if download.is_complete else None)

    def _return_block(self, peer: PeerKey, block: Block) -> None:
        download = self._board.downloads[block.piece]
        download.drop_asker(block.begin // BLOCK_SIZE, peer)
        if download.is_untouched:
            self._board.discard(download)
        else:
            self._board.shelve(download)

    def _withdraw(self, download: PieceDownload) -> list[tuple[PeerKey, Block]]:
        """Take back all requests for a piece that is cleared or discarded next; return them."""
        withdrawn = list(download.requests())
        for peer, block in withdrawn:
            self._peers[peer].drop(block)
        return withdrawn


def _restrict(pieces: PieceSet, allowed: Collection[int] | None) -> PieceSet:
    if allowed is None:
        return pieces
    return pieces & sum(1 << index for index in allowed)
