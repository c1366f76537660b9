"""One piece on its way: the blocks that were asked for, those that came, and who sent them.

A block is in exactly one state:

========= ============================================================================
MISSING   neither asked for nor here
REQUESTED asked for; ``askers`` are the peers that may send it (several only in endgame)
RECEIVED  in the buffer; ``askers`` is the one peer that sent it
========= ============================================================================

- The buffer is made when the first block comes: a piece that was only asked for costs no memory.
- A block is copied once, from the connection's buffer into the piece's.
- Every operation on one block is O(1).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

PeerKey = int
"""The engine's number for one connection."""


class BlockState(Enum):
    """Where a block is; the table is in the module's docstring."""

    MISSING = 0
    REQUESTED = 1
    RECEIVED = 2


# The same as plain numbers, for a bytearray: members of an Enum are slow to look up.
_MISSING: Final = 0
_REQUESTED: Final = 1
_RECEIVED: Final = 2


class Shelf(Enum):
    """Who may take blocks of a piece: the picker keeps a set of pieces for each."""

    NONE = 0
    """Nobody: there is no missing block, or one peer alone is to send the whole piece."""
    ABANDONED = 1
    """Anybody, and soon: nobody is at it."""
    SHARED = 2
    """Somebody is at it; others may join."""


class PieceDownload:
    """The blocks of one piece.

    Args:
        index: The piece.
        size: Its length in bytes.
        new_buffer: Gives a buffer of a length, whatever is in it.
        fetched_size: Bytes that the blocks are; what follows is padding, zeros. None: all.

    Attributes:
        buffer: The piece's bytes; empty until a block is received.
        missing: Number of blocks in state MISSING.
        solo: All blocks must come from one peer, because the piece was bad once.
        owner: That peer.
        taker: The peer that is at this piece and goes on taking its blocks.
        shelf: Who may take blocks of it.
    """

    __slots__ = (
        "_askers",
        "_fetched_size",
        "_new_buffer",
        "_next",
        "_not_received",
        "_returned",
        "_states",
        "_view",
        "buffer",
        "index",
        "missing",
        "num_blocks",
        "owner",
        "shelf",
        "size",
        "solo",
        "taker",
    )

    def __init__(
        self,
        index: int,
        size: int,
        new_buffer: Callable[[int], bytearray] = bytearray,
        *,
        fetched_size: int | None = None,
    ) -> None:
        self._new_buffer = new_buffer
        self.index: Final = index
        self.size: Final = size
        self._fetched_size: Final = size if fetched_size is None else fetched_size
        self.num_blocks: Final = -(-self._fetched_size // BLOCK_SIZE)
        self.buffer = bytearray()
        self._view: memoryview | None = None
        self.solo = False
        self.owner: PeerKey | None = None
        self.taker: PeerKey | None = None
        self.shelf = Shelf.NONE
        self.clear()

    def clear(self) -> None:
        """Forget what was asked for and what came; the buffer's memory is used again."""
        self.missing = self.num_blocks
        self._not_received = self.num_blocks
        self._states = bytearray(self.num_blocks)
        self._askers: list[tuple[PeerKey, ...]] = [()] * self.num_blocks
        # Blocks from _next on were never taken. _returned has all that were and are missing again;
        # a block in either that is not missing any more is passed over when its turn comes.
        self._next = 0
        self._returned: list[int] = []

    def close(self) -> None:
        """Give nothing out any more and let the buffer go."""
        self.clear()
        self.missing = 0
        self._view = None
        self.buffer = bytearray()

    @property
    def is_complete(self) -> bool:
        """Whether every block is received."""
        return not self._not_received

    @property
    def num_requested(self) -> int:
        """Number of blocks in state REQUESTED."""
        return self._not_received - self.missing

    @property
    def is_untouched(self) -> bool:
        """Whether no block is received or asked for."""
        return self.missing == self.num_blocks

    def block(self, number: int) -> Block:
        """Return the request for a block."""
        begin = number * BLOCK_SIZE
        return Block(self.index, begin, min(BLOCK_SIZE, self._fetched_size - begin))

    def state(self, number: int) -> BlockState:
        """Return the state of a block."""
        return BlockState(self._states[number])

    def is_requested(self, number: int) -> bool:
        """Whether a block is in state REQUESTED."""
        return self._states[number] == _REQUESTED

    def askers(self, number: int) -> tuple[PeerKey, ...]:
        """Return the peers asked for a block, or the one that sent it."""
        return self._askers[number]

    def contributors(self) -> dict[int, PeerKey]:
        """Return who sent each block that is received."""
        return {
            number: askers[0]
            for number, askers in enumerate(self._askers)
            if self._states[number] == _RECEIVED
        }

    def requests(self) -> Iterator[tuple[PeerKey, Block]]:
        """Yield whom was asked for what and has not sent it."""
        for number, askers in enumerate(self._askers):
            if self._states[number] == _REQUESTED:
                for peer in askers:
                    yield peer, self.block(number)

    def take(self, asker: tuple[PeerKey], limit: int) -> list[Block]:
        """Mark up to ``limit`` missing blocks as asked for, in order, returned ones first.

        Args:
            asker: The one peer that is asked, as the tuple to be kept for each block.
            limit: At least 0.
        """
        taken: list[Block] = []
        states, index, last = self._states, self.index, self.num_blocks - 1
        while limit and self.missing:
            if self._returned:
                number = self._returned.pop()
            else:
                number = self._next
                self._next += 1
            if states[number] != _MISSING:
                continue
            states[number] = _REQUESTED
            self._askers[number] = asker
            self.missing -= 1
            limit -= 1
            if number < last:
                taken.append(Block(index, number * BLOCK_SIZE, BLOCK_SIZE))
            else:
                taken.append(self.block(number))
        return taken

    def ask_also(self, number: int, peer: PeerKey, most: int) -> bool:
        """Add an asker to a block in state REQUESTED, unless it is one or there are ``most``."""
        askers = self._askers[number]
        if peer in askers or len(askers) >= most:
            return False
        self._askers[number] = (*askers, peer)
        return True

    def drop_asker(self, number: int, peer: PeerKey) -> None:
        """Take back a request: without askers the block is missing again."""
        left = tuple(asker for asker in self._askers[number] if asker != peer)
        self._askers[number] = left
        if not left:
            self._lose(number)

    def accepts(self, number: int, peer: PeerKey) -> bool:
        """Whether a block that came late, from this peer, is of use."""
        return self._states[number] != _RECEIVED and (not self.solo or self.owner == peer)

    def add_block(self, peer: PeerKey, begin: int, data: memoryview) -> tuple[PeerKey, ...]:
        """Copy a block that is not received yet into the buffer.

        Args:
            peer: Who sent it.
            begin: Its place in the piece, in bytes.
            data: All of the block's bytes.

        Returns:
            The others that were asked for it.
        """
        number = begin // BLOCK_SIZE
        view = self._view
        if view is None:
            view = self._make_buffer()
        view[begin : begin + len(data)] = data
        if self._states[number] == _MISSING:
            self.missing -= 1
        self._states[number] = _RECEIVED
        self._not_received -= 1
        askers = self._askers[number]
        if len(askers) == 1 and askers[0] == peer:
            return ()
        self._askers[number] = (peer,)
        return tuple(asker for asker in askers if asker != peer)

    def _make_buffer(self) -> memoryview:
        # New memory is zeros, as padding is.
        is_whole = self._fetched_size == self.size
        self.buffer = self._new_buffer(self.size) if is_whole else bytearray(self.size)
        # Through a memoryview: assigning to a part of a bytearray would copy twice.
        self._view = memoryview(self.buffer)
        return self._view

    def reject(self, numbers: Collection[int]) -> frozenset[PeerKey]:
        """Make received blocks that turned out bad missing again; return who sent them."""
        senders = frozenset(self._askers[number][0] for number in numbers)
        for number in numbers:
            self._askers[number] = ()
            self._not_received += 1
            self._lose(number)
        return senders

    def _lose(self, number: int) -> None:
        self._states[number] = _MISSING
        self.missing += 1
        self._returned.append(number)
