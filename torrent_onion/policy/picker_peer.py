"""What the piece picker keeps of one peer: its pieces, what it was asked for, what may still come.

A request that is dropped (choked, timed out, cancelled, rejected) is remembered for a while: its
block may be under way already, is welcome if it is still missing, and is no offence if it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torrent_onion.core.piece_layout import Block
    from torrent_onion.policy.piece_download import PeerKey, PieceDownload
    from torrent_onion.policy.piece_sets import PieceSet

MAX_LATE: Final = 2048
"""Dropped requests remembered of a peer, 150 bytes each: a queue of 2,000 that a choke emptied."""

BlockKey = tuple[int, int, int]
"""Piece, begin, length: equal to the ``Block`` with the same values."""


class PickerPeer:
    """One peer.

    Attributes:
        key: The engine's number for it.
        alone: The same as a tuple, which all blocks asked of it alone share.
        pieces: What it has.
        requests: The blocks that it was asked for, in that order.
        late: Blocks that it was asked for and need not send any more.
        current: The piece whose blocks it goes on taking.
    """

    __slots__ = ("alone", "current", "key", "late", "pieces", "requests")

    def __init__(self, key: PeerKey, pieces: PieceSet) -> None:
        self.key: Final = key
        self.alone: Final = (key,)
        self.pieces = pieces
        self.requests: dict[BlockKey, Block] = {}
        self.late: dict[BlockKey, Block] = {}
        self.current: PieceDownload | None = None

    def drop(self, block: Block) -> None:
        """Move one request to the late ones."""
        del self.requests[block]
        self._remember((block,))

    def drop_all(self) -> list[Block]:
        """Move all requests to the late ones; return them in the order in which they were made."""
        blocks = list(self.requests.values())
        self.requests.clear()
        self._remember(blocks)
        return blocks

    def _remember(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.late[block] = block
        while len(self.late) > MAX_LATE:
            del self.late[next(iter(self.late))]
