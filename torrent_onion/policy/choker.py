"""Who may download from us: tit for tat while we download, turns while we seed (BEP 3).

- Slots belong to persons. Connections that show one token (stripes of one downloader) share one
  slot: all of them are unchoked or none, and their rates count together.
- While we download, the slots but one go to those who give most. The last one is optimistic: every
  30 seconds it goes to somebody by lot, and whoever is new has three tickets.
- While we seed, and with slots that no giver takes, people take turns. A turn ends only if somebody
  waits: whoever waits longest is next, and a newcomer has a minute's start.
- A round is every ten seconds; calls in between fill free slots and take none away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from torrent_onion.policy.upload_slots import UploadSlots

if TYPE_CHECKING:
    from random import Random

    from torrent_onion.policy.piece_download import PeerKey

ROUND: Final = 10.0
"""Seconds between rounds (BEP 3): rates must mean something, and choking back and forth costs."""
OPTIMISTIC_TURN: Final = 30.0
"""Seconds (BEP 3): long enough for the other side to answer with blocks of its own."""
NEWCOMER_TICKETS: Final = 3
"""Times as likely as others to be the optimistic one (BEP 3): who has nothing yet can give none."""
SEED_TURN: Final = 60.0
"""Seconds that a slot of a seed lasts while others wait: a Tor circuit needs some to be fast."""
TURN_RATE: Final = 512 << 10
"""Bytes a second. Whoever is faster has had enough of a turn earlier, so that fast and slow people
get alike; a good circuit on the real network carries about so much."""
NEWCOMER_START: Final = 60.0
"""Seconds of waiting that whoever was never served is given. More would let people who come again
and again keep the others out."""
STICKINESS: Final = 1.2
"""A giver with a slot counts for so much more: a rate in Tor jumps by a fifth for no reason."""
MAX_STRIPES: Final = 8
"""Connections of one person that are unchoked. Who copies a token gets no more with it."""
_EARLY: Final = 0.5
"""Seconds that a round may come early, as timers are not exact."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One connection at one moment.

    Attributes:
        peer: The engine's number of the connection.
        interested: The peer wants something that we have.
        is_seed: The peer has everything.
        download_rate: Bytes a second of payload from the peer.
        upload_rate: Bytes a second of payload to the peer.
        connected_since: When the connection was made, in the seconds of ``now``.
        unchoked: We let the peer download at this moment.
        person: The same for all connections of one downloader; None if it shows nothing.
    """

    peer: PeerKey
    interested: bool
    is_seed: bool
    download_rate: float
    upload_rate: float
    connected_since: float
    unchoked: bool
    person: int | bytes | None = None


@dataclass(slots=True, eq=False)
class _Person:
    """Whoever is behind one connection or several, and what we did for them so far."""

    waiting_since: float
    start: float = NEWCOMER_START
    """Seconds of waiting that are given when interest begins; none to whom we served before."""
    served_since: float | None = None
    served_bytes: float = 0.0
    turns: int = 0
    # All connections together, at this moment.
    connections: list[Candidate] = field(default_factory=list)
    wants: bool = False
    is_unchoked: bool = False
    connected_since: float = inf
    download_rate: float = 0.0
    upload_rate: float = 0.0

    def leave(self) -> None:
        """Forget all connections; those that are still there are added again."""
        self.connections = []
        self.wants = self.is_unchoked = False
        self.connected_since = inf
        self.download_rate = self.upload_rate = 0.0

    def add(self, connection: Candidate) -> None:
        """Count one connection."""
        self.connections.append(connection)
        self.wants |= connection.interested and not connection.is_seed
        self.is_unchoked |= connection.unchoked
        self.connected_since = min(self.connected_since, connection.connected_since)
        self.download_rate += connection.download_rate
        self.upload_rate += connection.upload_rate

    @property
    def peers(self) -> Iterable[PeerKey]:
        """The connections to unchoke, if any is."""
        if len(self.connections) > MAX_STRIPES:
            self.connections.sort(key=lambda connection: connection.connected_since)
        return (connection.peer for connection in self.connections[:MAX_STRIPES])

    def serve(self, now: float) -> None:
        """Begin a turn, unless one goes on."""
        if self.served_since is None:
            self.served_since, self.served_bytes, self.start = now, 0.0, 0.0
            self.turns += 1


class Choker:
    """Decides for one torrent. A decision costs a sort of the connections.

    Args:
        slots: How many persons may download at once to begin with; see ``UploadSlots``.
        rng: Draws the optimistic one.
    """

    def __init__(self, slots: int, rng: Random) -> None:
        if slots < 1:
            raise ValueError("there must be a slot to give")
        self._slots = UploadSlots(slots)
        self._rng = rng
        self._persons: dict[object, _Person] = {}
        self._optimistic: _Person | None = None
        self._last_turn = -inf
        self._last_round = -inf
        self._last_call = 0.0

    @property
    def slots(self) -> int:
        """How many persons may download from us at this moment."""
        return self._slots.count

    def rechoke(
        self, now: float, candidates: Sequence[Candidate], *, seeding: bool
    ) -> frozenset[PeerKey]:
        """Choose. To be called every ten seconds, and when interest changes.

        Args:
            now: Seconds; never goes back.
            candidates: All connections.
            seeding: We have all that we want, so nobody can give us anything.

        Returns:
            All connections that are to be unchoked; every other one is to be choked.
        """
        self._meet(now, candidates)
        wanting = [person for person in self._persons.values() if person.wants]
        is_round = now >= self._last_round + ROUND - _EARLY
        if is_round:
            self._last_round = now
            self._measure(now, wanting)
        if len(wanting) <= self.slots:
            chosen = wanting
        elif not is_round:
            chosen = self._fill(now, [], wanting, turn=inf)
        elif seeding:
            chosen = self._fill(now, [], wanting, turn=SEED_TURN)
        else:
            chosen = self._tit_for_tat(now, wanting)
        for person in chosen:
            person.serve(now)
        return frozenset(peer for person in chosen for peer in person.peers)

    def _meet(self, now: float, candidates: Sequence[Candidate]) -> None:
        """Put connections together to persons, and count what each was given."""
        known, self._persons = self._persons, {}
        for person in known.values():
            person.leave()
        for candidate in candidates:
            key = _person_key(candidate)
            person = self._persons.get(key) or known.get(key) or _Person(now - NEWCOMER_START)
            person.add(candidate)
            self._persons[key] = person
        for person in self._persons.values():
            self._count_service(now, person)
        self._last_call = now

    def _count_service(self, now: float, person: _Person) -> None:
        if person.is_unchoked:
            person.serve(now)
            person.served_bytes += person.upload_rate * (now - self._last_call)
        else:
            person.served_since = None
        if person.is_unchoked or not person.wants:
            person.waiting_since = now - person.start

    def _measure(self, now: float, wanting: list[_Person]) -> None:
        served = [person.upload_rate for person in wanting if person.is_unchoked]
        contended = len(wanting) > len(served) >= self.slots
        self._slots.measured(now, served, contended=contended)

    def _tit_for_tat(self, now: float, wanting: list[_Person]) -> list[_Person]:
        givers = [person for person in wanting if person.download_rate > 0]
        givers.sort(key=_generosity, reverse=True)
        chosen = givers[: max(0, self.slots - 1)]
        others = [person for person in wanting if person not in chosen]
        if now >= self._last_turn + OPTIMISTIC_TURN - _EARLY or self._optimistic not in others:
            self._optimistic = self._draw(others)
            self._last_turn = now
        chosen.append(self._optimistic)
        others.remove(self._optimistic)
        return self._fill(now, chosen, others, turn=OPTIMISTIC_TURN)

    def _draw(self, others: list[_Person]) -> _Person:
        """Draw the optimistic one among those who have no slot."""
        choked = [person for person in others if not person.is_unchoked] or others
        tickets = [
            NEWCOMER_TICKETS if person.connected_since > self._last_turn else 1 for person in choked
        ]
        return self._rng.choices(choked, tickets)[0]

    def _fill(
        self, now: float, chosen: list[_Person], others: list[_Person], *, turn: float
    ) -> list[_Person]:
        """Give the slots that are left: whoever has one keeps it for a turn, then by waiting."""

        def rank(person: _Person) -> tuple[bool, bool, float, int]:
            since = person.served_since
            if since is None:
                return True, False, person.waiting_since, person.turns
            is_over = now >= since + turn - _EARLY or person.served_bytes >= turn * TURN_RATE
            return is_over, is_over, since, person.turns

        return chosen + sorted(others, key=rank)[: max(0, self.slots - len(chosen))]


def _person_key(candidate: Candidate) -> object:
    """A connection without a token is a person; its number must not look like a token."""
    return candidate.person if candidate.person is not None else (candidate.peer,)


def _generosity(person: _Person) -> float:
    return person.download_rate * (STICKINESS if person.is_unchoked else 1)
