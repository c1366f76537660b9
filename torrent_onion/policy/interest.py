"""Whether a peer has anything that we want, known at any time without looking at all pieces.

Each interesting peer has a witness: one piece that it has and we want, chosen at random. Only when
that piece arrives (or is lost, or not wanted any more) is another one looked for, so a piece that
arrives costs one search for every peer whose witness it was: few, and seldom the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torrent_onion.policy import piece_sets

if TYPE_CHECKING:
    from random import Random

    from torrent_onion.policy.piece_download import PeerKey
    from torrent_onion.policy.piece_sets import PieceSet


class Interest:
    """The witnesses of all peers."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._witness: dict[PeerKey, int] = {}
        self._peers: dict[int, set[PeerKey]] = {}

    def __contains__(self, peer: PeerKey) -> bool:
        return peer in self._witness

    def witness(self, peer: PeerKey) -> int | None:
        """Return the piece for which a peer is interesting."""
        return self._witness.get(peer)

    def relying_on(self, index: int) -> tuple[PeerKey, ...]:
        """Return the peers whose witness is this piece."""
        return tuple(self._peers.get(index, ()))

    def review(self, peer: PeerKey, useful: PieceSet) -> None:
        """Choose a witness for a peer.

        Args:
            peer: The peer, new or known.
            useful: The pieces that it has and we want; it is not interesting if there are none.
        """
        self.forget(peer)
        if useful:
            index = piece_sets.random_member(useful, self._rng)
            self._witness[peer] = index
            self._peers.setdefault(index, set()).add(peer)

    def forget(self, peer: PeerKey) -> None:
        """Remove a peer."""
        index = self._witness.pop(peer, None)
        if index is not None:
            self._peers[index].discard(peer)
            if not self._peers[index]:
                del self._peers[index]
