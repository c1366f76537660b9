"""Leaves of hash trees that peers ask for: they are on no disk, so a whole piece is read for them.

So every peer has a budget, in bytes that are read for it, and the latest pieces' leaves are kept: a
peer that takes a piece's leaves in several requests, or after another peer, costs one read.
"""

from collections import OrderedDict
from typing import Final

from torrent_onion.engine.storage import Storage
from torrent_onion.policy.piece_download import PeerKey

BURST: Final = 16 << 20
"""Bytes read for a peer at once: it asks when a piece turned out bad, seldom and for one piece."""

RATE: Final = 1 << 20
"""Bytes a second read for a peer in the long run: a hundredth of what a thread hashes."""

MAX_KEPT: Final = 4
"""Pieces whose leaves are kept: 32 bytes a block, so 256 KiB for the largest piece."""


class LeafReads:
    """Reads leaves for peers, no more than each may ask for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._budgets: dict[PeerKey, tuple[float, float]] = {}  # bytes left, and when

    def remove_peer(self, peer: PeerKey) -> None:
        """The peer is gone."""
        self._budgets.pop(peer, None)

    async def read(
        self, peer: PeerKey, index: int, size: int, *, storage: Storage, now: float
    ) -> bytes | None:
        """Give the leaves of a piece that is on disk; None where the peer has had enough.

        Args:
            peer: Who asks.
            index: The piece.
            size: Its bytes.
            storage: Where it is.
            now: Seconds.

        Raises:
            StorageError: It cannot be read.
        """
        leaves = self._kept.get(index)
        if leaves is None:
            if not self._pay(peer, size, now):
                return None
            leaves = self._kept[index] = await storage.leaf_hashes(index)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return leaves

    def _pay(self, peer: PeerKey, size: int, now: float) -> bool:
        """Take a read from the budget. One larger than all of it is let through and paid after."""
        left, since = self._budgets.get(peer, (float(BURST), now))
        left = min(BURST, left + (now - since) * RATE)
        may = left >= min(size, BURST)
        self._budgets[peer] = (left - size if may else left, now)
        return may
