"""The state of every piece, and which piece comes next.

A piece is in exactly one state:

======== ================================================================= =====================
state    meaning                                                           where it is kept
======== ================================================================= =====================
SKIPPED  not wanted (priority 0), not here                                 nowhere else
OPEN     wanted, and no block of it is asked for or here                   ``open``
PARTIAL  some block is asked for or here, not all are here                 ``downloads``
CHECKING all blocks are here, to be verified                               ``downloads``
HAVE     verified and written                                              not in ``missing``
======== ================================================================= =====================

A PARTIAL piece with missing blocks also lies on a shelf, for those who may take them.

Buffers are bounded by the number of pieces PARTIAL or CHECKING: ``MAX_BUFFERED`` bytes of them, or
``MIN_PARTIAL`` where that is more. That is 64 pieces of 1 MiB, 16 of 4 MiB, 4 of 16 MiB. The last
quarter is for fast peers that cannot help with any piece begun: else slow peers, each at a piece
that nobody else has, could bring the download to a stop. What is left behind half done, and sent by
nobody, makes room when room is needed. The memory of verified pieces is used again; what is kept
for that comes on top, see ``piece_buffers``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from torrent_onion.policy import piece_sets
from torrent_onion.policy.piece_buffers import PieceBuffers
from torrent_onion.policy.piece_download import PieceDownload, Shelf
from torrent_onion.policy.piece_sets import PieceNumbers

if TYPE_CHECKING:
    from random import Random

    from torrent_onion.core.bitfield import Bitfield
    from torrent_onion.core.piece_layout import PieceLayout
    from torrent_onion.policy.piece_sets import PieceSet

MAX_BUFFERED: Final = 64 * 1024 * 1024
"""Bytes of pieces that are PARTIAL or CHECKING, together."""
MIN_PARTIAL: Final = 4
"""Pieces that may be so however long they are: one fills while others are written."""
RANDOM_FIRST: Final = 4
"""Pieces to have before rarity counts: a rare one comes slowly, and we have nothing to give yet."""
NORMAL_PRIORITY: Final = 4
MAX_PRIORITY: Final = 7


class PieceState(Enum):
    """Where a piece is; the table is in the module's docstring."""

    SKIPPED = "skipped"
    OPEN = "open"
    PARTIAL = "partial"
    CHECKING = "checking"
    HAVE = "have"


class PieceBoard:
    """All pieces of one torrent.

    Args:
        layout: Sizes of the pieces.
        have: The pieces that are here.
        rng: Where ties are broken.
        sequential: Begin pieces in order.

    Attributes:
        all: Every piece.
        missing: Pieces in any state but HAVE.
        wanted: Pieces with a priority above 0, HAVE or not.
        open: Pieces in state OPEN.
        downloads: Pieces in state PARTIAL or CHECKING, in the order in which they were begun.
        availability: How many peers have a piece.
        buffers: Memory that pieces leave for others.
        num_have: Number of pieces in state HAVE.
        num_wanted_missing: Number of pieces that are wanted and missing.
    """

    def __init__(
        self, layout: PieceLayout, have: Bitfield, *, rng: Random, sequential: bool
    ) -> None:
        self.sequential = sequential
        self._layout = layout
        self._rng = rng
        self.all: Final = piece_sets.all_pieces(layout.num_pieces)
        self.missing: PieceSet = self.all ^ piece_sets.from_bitfield(have)
        self.wanted: PieceSet = self.all
        self.open: PieceSet = self.missing
        self.downloads: dict[int, PieceDownload] = {}
        self.availability: Final = PieceNumbers()
        self.priorities: Final = PieceNumbers()
        self.priorities.assign(self.all, NORMAL_PRIORITY)
        self.num_have = have.count
        self.num_wanted_missing = layout.num_pieces - have.count
        self.buffers: Final = PieceBuffers(layout.piece_length)
        self._shelves: dict[Shelf, PieceSet] = {Shelf.ABANDONED: 0, Shelf.SHARED: 0}
        self._max_partial = max(MIN_PARTIAL, MAX_BUFFERED // layout.piece_length)
        self._soft_partial = self._max_partial * 3 // 4

    @property
    def useful(self) -> PieceSet:
        """The pieces that are wanted and missing."""
        return self.missing & self.wanted

    def state(self, index: int) -> PieceState:
        """Return the state of a piece."""
        if not piece_sets.contains(self.missing, index):
            return PieceState.HAVE
        download = self.downloads.get(index)
        if download is not None:
            return PieceState.CHECKING if download.is_complete else PieceState.PARTIAL
        return PieceState.OPEN if self.priorities[index] else PieceState.SKIPPED

    def choose(self, pieces: PieceSet, *, fast: bool) -> PieceDownload | None:
        """Choose the piece that a peer should take blocks of next, and begin it if need be.

        Args:
            pieces: What the peer has, or may be asked for.
            fast: The peer sends a whole piece soon: it begins one rather than join others at one.
        """
        abandoned = pieces & self._shelves[Shelf.ABANDONED]
        shared = pieces & self._shelves[Shelf.SHARED]
        fresh = pieces & self.open
        if fresh and not self._has_room(fast=fast, idle=not abandoned | shared):
            fresh = 0
        urgent = self.priorities.largest(abandoned | shared | fresh)
        abandoned &= urgent
        shared &= urgent
        fresh &= urgent
        if abandoned:
            return self.downloads[self._any(abandoned)]
        if shared and not (fast and fresh and not self.sequential):
            return self.downloads[self._any(shared)]
        return self._begin(self._best(fresh)) if fresh else None

    def begin(self, index: int) -> PieceDownload | None:
        """Begin a piece, if it is OPEN and there is room for one more."""
        if self.is_full or not self.open & (1 << index):
            return None
        return self._begin(index)

    def shelve(self, download: PieceDownload) -> None:
        """Put a piece where those look for it who may take its blocks, after any change to it."""
        if not download.missing:
            shelf = Shelf.NONE
        elif download.taker is None:
            shelf = Shelf.ABANDONED
        else:
            shelf = Shelf.NONE if download.solo else Shelf.SHARED
        if shelf is not download.shelf:
            for place in (shelf, download.shelf):
                if place is not Shelf.NONE:
                    self._shelves[place] ^= 1 << download.index
            download.shelf = shelf

    def discard(self, download: PieceDownload) -> None:
        """Throw away what is here of a piece: it is OPEN again, or SKIPPED."""
        download.close()
        self.shelve(download)
        del self.downloads[download.index]
        self.open |= (1 << download.index) & self.wanted

    @property
    def is_full(self) -> bool:
        """Whether not every peer could begin a piece now, for want of memory."""
        return len(self.downloads) >= self._soft_partial

    def is_all_asked_for(self) -> bool:
        """Whether there is no block left to ask for in any piece that some peer has."""
        waiting = self.open | self._shelves[Shelf.ABANDONED] | self._shelves[Shelf.SHARED]
        return not (waiting and waiting & self.availability.nonzero())

    def verified(self, index: int) -> None:
        """Move a piece that has no download to state HAVE."""
        bit = 1 << index
        self.open ^= self.open & bit
        self.missing ^= bit
        self.num_have += 1
        self.num_wanted_missing -= bool(self.wanted & bit)

    def set_priority(self, pieces: PieceSet, priority: int) -> None:
        """Change how much pieces are wanted; downloads of those not wanted any more stay."""
        self.priorities.assign(pieces & self.all, priority)
        self.wanted = self.priorities.nonzero()
        self.open = self.useful
        for index in self.downloads:
            self.open ^= self.open & (1 << index)
        self.num_wanted_missing = self.useful.bit_count()

    def _begin(self, index: int) -> PieceDownload:
        layout = self._layout
        size, fetched_size = layout.piece_size(index), layout.fetched_size(index)
        download = PieceDownload(index, size, self.buffers.take, fetched_size=fetched_size)
        self.downloads[index] = download
        self.open ^= 1 << index
        return download

    def _any(self, pieces: PieceSet) -> int:
        if self.sequential:
            return piece_sets.lowest(pieces)
        return piece_sets.random_member(pieces, self._rng)

    def _best(self, pieces: PieceSet) -> int:
        if not self.sequential and self.num_have >= RANDOM_FIRST:
            pieces = self.availability.smallest(pieces)
        return self._any(pieces)

    def _has_room(self, *, fast: bool, idle: bool) -> bool:
        room = self._max_partial if fast and idle else self._soft_partial
        return len(self.downloads) < room or (idle and self._make_room())

    def _make_room(self) -> bool:
        """Throw away a piece at which nobody is and that nobody sends, the least loss first."""
        stale = [
            download
            for index in piece_sets.members(self._shelves[Shelf.ABANDONED])
            if not (download := self.downloads[index]).num_requested
        ]
        if stale:
            self.discard(max(stale, key=lambda download: download.missing / download.num_blocks))
        return bool(stale)
