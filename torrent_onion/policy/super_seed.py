"""Super-seeding (BEP 16): give out one copy as fast as possible, by letting peers pass pieces on.

The seeder says that it has nothing and shows each peer one or two pieces at a time. A peer is shown
the next one when a piece that it was shown is seen at somebody else, so that whoever passes on is
served first. With nobody to pass on to, having a piece is enough. Several connections of one person
count as one: what it tells on all of them was not passed on.
"""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from torrent_onion.policy.piece_download import PeerKey

if TYPE_CHECKING:
    from random import Random

    from torrent_onion.core.bitfield import Bitfield

SHOWN_AT_ONCE: Final = 2
"""Pieces shown to a peer that nobody else has yet: one is sent while the other is passed on."""


class SuperSeed:
    """Which pieces are shown to whom.

    Args:
        num_pieces: Of the torrent.
        rng: Where ties are broken.

    Showing one piece looks at all pieces once; that happens once a piece, never for a block.
    """

    def __init__(self, num_pieces: int, rng: "Random") -> None:
        self._num_pieces = num_pieces
        self._rng = rng
        self._times_shown: Counter[int] = Counter()
        self._shown: dict[PeerKey, set[int]] = {}  # all that a peer may ask for
        self._waiting: dict[PeerKey, set[int]] = {}  # shown, and not seen elsewhere yet
        self._pieces: dict[PeerKey, Bitfield] = {}
        self._seen: set[int] = set()  # pieces that anybody had at any time

    def add_peer(self, peer: PeerKey, pieces: "Bitfield") -> list[int]:
        """A peer came, or its pieces are known; ``pieces`` is kept and changes with the peer.

        Returns:
            What to show it now.
        """
        self._shown.setdefault(peer, set())
        self._waiting.setdefault(peer, set())
        self._pieces[peer] = pieces
        self._seen.update(pieces.indices())
        return self._show(peer)

    def remove_peer(self, peer: PeerKey) -> None:
        """A peer is gone; what only it was shown counts as never shown."""
        self._pieces.pop(peer, None)
        self._shown.pop(peer, None)
        for index in self._waiting.pop(peer, set()):
            self._times_shown[index] -= 1

    def is_shown(self, peer: PeerKey, index: int) -> bool:
        """Whether a peer may ask for a piece."""
        return index in self._shown.get(peer, ())

    @property
    def awaited(self) -> frozenset[int]:
        """The pieces that were shown and not seen elsewhere yet."""
        return frozenset().union(*self._waiting.values())

    @property
    def is_out(self) -> bool:
        """Whether those who are connected have one whole copy between them.

        Looks at everybody only once every piece was seen somewhere.
        """
        if len(self._seen) < self._num_pieces:
            return False
        together = 0
        for pieces in self._pieces.values():
            together |= int.from_bytes(pieces.to_bytes())
        return together.bit_count() == self._num_pieces

    def peer_has(self, person: Collection[PeerKey], index: int) -> list[tuple[PeerKey, int]]:
        """Somebody has a piece now.

        Args:
            person: The connection that says so, and others to the same peer.
            index: The piece.

        Returns:
            Peers and pieces to show them.
        """
        self._seen.add(index)
        is_alone = all(other in person for other in self._pieces)
        passed_on = [
            other
            for other, waiting in self._waiting.items()
            if index in waiting and (other in person) == is_alone
        ]
        for other in passed_on:
            self._waiting[other].discard(index)
        return [(other, shown) for other in passed_on for shown in self._show(other)]

    def _show(self, peer: PeerKey) -> list[int]:
        shown: list[int] = []
        waiting = self._waiting[peer]
        while len(waiting) < SHOWN_AT_ONCE and (index := self._next_for(peer)) is not None:
            self._times_shown[index] += 1
            self._shown[peer].add(index)
            waiting.add(index)
            shown.append(index)
        return shown

    def _next_for(self, peer: PeerKey) -> int | None:
        """The piece that was shown least, of those that the peer lacks and was not shown."""
        mine, shown = self._pieces[peer], self._shown[peer]
        lacking = [
            index for index in range(self._num_pieces) if not mine[index] and index not in shown
        ]
        if not lacking:
            return None
        least = min(self._times_shown[index] for index in lacking)
        return self._rng.choice([index for index in lacking if self._times_shown[index] == least])
