"""How many dials all torrents of a session may have under way together (pure).

Each dial builds circuits, and torrents without number would ask without bound of tor and of the
network. They share evenly: who has more than its share begins no more until some have ended. Beyond
the bound go only one dial for each torrent, so that none waits for another, one for whom its user
named, and the further circuits to a peer that is there already, which count but do not ask. What
counts without asking leaves less for the torrent's candidates.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Final

ALWAYS: Final = 1
"""Dials that a torrent may have whatever the others do."""


class DialBudget:
    """What the torrents of a session share; each is told apart by an object of its own.

    Args:
        most: Dials under way at once, of all torrents.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[Hashable] = Counter()
        self._total = 0

    def begin(self, torrent: Hashable) -> None:
        """A dial begins, whether there was room for it or not."""
        self._under_way[torrent] += 1
        self._total += 1

    def end(self, torrent: Hashable) -> None:
        """A dial that has begun is over."""
        self._under_way[torrent] -= 1
        self._total -= 1
        if not self._under_way[torrent]:
            del self._under_way[torrent]

    def under_way(self, torrent: Hashable) -> int:
        """How many dials a torrent has under way."""
        return self._under_way[torrent]

    def most_of(self, torrent: Hashable, wanted: int) -> int:
        """How many dials a torrent may have under way now, of those that it wants."""
        own = self._under_way[torrent]
        dialling = len(self._under_way) + (own == 0)
        room = self._most - (self._total - own)
        return max(ALWAYS, min(wanted, room, self._most // dialling))
