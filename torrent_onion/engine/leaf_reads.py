"""Leaves of hash trees that peers ask for: they are on no disk, so a whole piece is read for them.

So every peer has a budget, in bytes that are read for it, and all have one together, for whoever
connects again is a new peer. The latest pieces' leaves are kept: a peer that takes a piece's leaves
in several requests, or after another peer, costs one read.
"""

from collections import OrderedDict
from typing import Final

from torrent_onion.engine.storage import Storage
from torrent_onion.policy.piece_download import PeerKey

BURST: Final = 16 << 20
"""Bytes read for a peer at once: it asks when a piece turned out bad, seldom and for one piece."""

RATE: Final = 1 << 20
"""Bytes a second read for a peer in the long run: a hundredth of what a thread hashes."""

BURST_TOGETHER: Final = 64 << 20
"""Bytes read for all peers of a torrent at once: four of them may ask at the same time."""

RATE_TOGETHER: Final = 4 << 20
"""Bytes a second for all of them in the long run. Who is refused asks another peer, or fetches the
whole piece again."""

MAX_KEPT: Final = 4
"""Pieces whose leaves are kept: 32 bytes a block, so 256 KiB for the largest piece."""


class _Budget:
    """Bytes that may be read: they come back in time, up to ``burst``."""

    def __init__(self, burst: int, rate: int) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._since = 0.0

    def allows(self, size: int, now: float) -> bool:
        """Whether a read may be made. One larger than all of it is let through and paid after."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        return self._left >= min(size, self._burst)

    def pay(self, size: int) -> None:
        self._left -= size


class LeafReads:
    """Reads leaves for peers, no more than each may ask for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._budgets: dict[PeerKey, _Budget] = {}
        self._together = _Budget(BURST_TOGETHER, RATE_TOGETHER)

    def remove_peer(self, peer: PeerKey) -> None:
        """The peer is gone."""
        self._budgets.pop(peer, None)

    async def read(
        self, peer: PeerKey, index: int, size: int, *, storage: Storage, now: float
    ) -> bytes | None:
        """Give the leaves of a piece that is on disk; None where the peer, or all, had enough.

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
        """Take a read from the peer's budget and from that of all, if both allow it."""
        budgets = (self._budgets.setdefault(peer, _Budget(BURST, RATE)), self._together)
        may = all(budget.allows(size, now) for budget in budgets)
        if may:
            for budget in budgets:
                budget.pay(size)
        return may
