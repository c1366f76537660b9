"""When a torrent that is complete has been served enough (``--until-ratio`` and its like)."""

from math import inf
from typing import TYPE_CHECKING

from torrent_onion.engine.peer import Peer
from torrent_onion.policy.copies import Copies

if TYPE_CHECKING:
    from collections.abc import Collection

    from torrent_onion.engine.torrent import Torrent

GRACE_SECONDS = 60.0
"""After the ratio is reached, for those who are being served to get the rest: what has left us has
not arrived, and who is cut off shortly before the end may find nobody else."""


class ServingGoals:
    """Watches how far one torrent is from its goals.

    Args:
        torrent: Whose they are.

    Attributes:
        seeding_since: When everything was complete, on trio's clock; None before.
        data_sent: Bytes of files that went out; padding is not counted.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self.seeding_since: float | None = None
        self.data_sent = 0
        self._torrent = torrent
        self._copies = Copies()
        self._ratio_since: float | None = None

    @property
    def end_time(self) -> float:
        """When it was served long enough, on trio's clock; infinite while nothing says so."""
        seconds = self._torrent.spec.goals.seconds
        if self.seeding_since is None or seconds is None:
            return inf
        return self.seeding_since + seconds

    def peer_complete(self, peer: Peer, siblings: "Collection[Peer]") -> None:
        """A peer says that it has every piece.

        Args:
            peer: The connection that says so.
            siblings: All connections to the same person, this one too.
        """
        if any(sibling.data_sent for sibling in siblings):
            self._copies.completed(_person(peer))

    def peer_left(self, peer: Peer, *, is_last: bool) -> None:
        """A connection has ended; ``is_last`` says that the same person has no other one."""
        info = self._torrent.info
        if info is not None:
            enough = info.total_length
            self._copies.left(_person(peer), peer.data_sent, enough=enough, is_last=is_last)

    def are_reached(self, now: float, *, are_copies_out: bool) -> bool:
        """Whether it was served enough.

        Args:
            now: On trio's clock.
            are_copies_out: A super-seeder's peers have all pieces between them.
        """
        goals = self._torrent.spec.goals
        if self.seeding_since is None:
            return False
        return (
            now >= self.end_time
            or (goals.copies is not None and self._copies_out(are_copies_out) >= goals.copies)
            or (goals.ratio is not None and self._is_ratio_reached(goals.ratio, now))
        )

    def _copies_out(self, are_out_between_peers: bool) -> int:  # noqa: FBT001 - private, one caller
        """Copies that others have. None before we have sent as much as one, whatever they claim."""
        sent = int(self._ratio)
        if not sent:
            return 0
        return max(self._copies.number, sent) if are_out_between_peers else self._copies.number

    @property
    def _ratio(self) -> float:
        return self.data_sent / self._torrent.metadata.known_info.total_length

    def _is_ratio_reached(self, ratio: float, now: float) -> bool:
        if self._ratio < ratio:
            return False
        if self._ratio_since is None:
            self._ratio_since = now
        is_serving = any(
            peer.data_sent and peer.peer_interested and not peer.am_choking and not peer.is_seed
            for peer in self._torrent.peers.values()
        )
        return not is_serving or now - self._ratio_since >= GRACE_SECONDS


def _person(peer: Peer) -> object:
    return peer.person or peer.key
