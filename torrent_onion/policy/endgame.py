"""Endgame: the last blocks are asked of several peers, so that no slow one holds up the end.

- Only a peer with nothing else to do takes part, when every wanted block that somebody here has is
  asked for (or no more pieces fit into memory). A block has at most ``MAX_COPIES`` askers; who is
  late gets a cancel.
- Blocks are taken from the end of what others were asked for: its beginning is about to arrive.
- All blocks are looked at once when it begins; after that a call looks at ``_MOST_LOOKS`` at most.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from torrent_onion.policy import piece_sets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torrent_onion.core.piece_layout import Block
    from torrent_onion.policy.piece_download import PeerKey, PieceDownload
    from torrent_onion.policy.piece_sets import PieceSet

MAX_COPIES: Final = 3
"""Peers asked for one block at a time: two may be slow; more would only waste what they send."""
_MOST_LOOKS: Final = 64
"""Blocks looked at in vain before a call gives up; the next call goes on behind them."""


class Endgame:
    """The blocks that are asked for, in the order in which others should take them."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[PieceDownload, int]] | None = None

    def stop(self) -> None:
        """Leave endgame: there is something to ask for again."""
        self._blocks = None

    @property
    def is_on(self) -> bool:
        """Whether it has begun."""
        return self._blocks is not None

    def begin(self, downloads: Iterable[PieceDownload]) -> None:
        """Collect the blocks of these pieces, unless that is done.

        Args:
            downloads: In the order in which they were begun.
        """
        if self._blocks is None:
            self._blocks = deque(
                (download, number)
                for download in downloads
                if not download.solo
                for number in range(download.num_blocks)
                if download.is_requested(number)
            )
            self._blocks.reverse()

    def take(self, peer: PeerKey, pieces: PieceSet, limit: int) -> list[Block]:
        """Make ``peer`` one more asker of up to ``limit`` blocks of the pieces that it has."""
        taken: list[Block] = []
        looks = _MOST_LOOKS
        has: dict[int, bool] = {}
        while self._blocks and looks and len(taken) < limit:
            download, number = self._blocks[0]
            if not download.is_requested(number):
                self._blocks.popleft()
                continue
            self._blocks.rotate(-1)
            index = download.index
            if index not in has:
                has[index] = piece_sets.contains(pieces, index)
            if has[index] and download.ask_also(number, peer, MAX_COPIES):
                taken.append(download.block(number))
            else:
                looks -= 1
        return taken
