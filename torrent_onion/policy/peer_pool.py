"""Whom to dial: addresses that others named, until one of them proves to be a peer.

- Anybody can name an onion, so a name is only a candidate. Each source may hold a few of them, each
  kind of source a bounded number, and the newest names of a source push out its least promising.
- The kind with the fewest dials under way is next, then the source of it with the fewest. Every
  level leaves a dial to others: a flood of dead names, minutes each, delays no better one.
- Within a source: fewest failures first, then what most sources named, then what was named last.
- What the user named is dialled first and for ever, as its onion may only not be up yet; what was a
  peer of ours once is tried for ever too, rarely. The rest is given up, and remembered as such.
- While a download has nobody at all it may dial more at once than when it has peers. Whom others
  wait for is given less time at first, if only others vouch for it: each further try may take twice
  as long, so that nobody who is only slow is lost.
- Who hangs up on our plain handshake may only take an obfuscated one (MSE): it is dialled once more
  for that, and in that way for ever if it works. Never an onion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from torrent_onion.core.identity import PeerAddress

if TYPE_CHECKING:
    from random import Random

GIVEN_UP_SECONDS: Final = 1800.0
"""Until a name that never answered is taken again: the onion may be up by then."""
LIVED_SECONDS: Final = 60.0
"""A connection that lasted so long was a good one; shorter ones make the next pause longer."""
HURRIED_SECONDS: Final = 20.0
"""That a first try may take while others wait for its dial. Tor mostly reaches an onion in 3 to 15
seconds, and says within seconds that it has no descriptor; longer ones mostly end in nothing."""
JITTER: Final = 0.2
"""Share by which pauses differ, so that dials do not show that they belong together."""
SURPRISE: Final = 0.25
"""How often a candidate is drawn by lot, so that nobody who knows the order decides it alone."""
MAX_NAMED_BY: Final = 4
"""Sources remembered for a candidate: more of them prove nothing more."""
MAX_NAMES_AT_ONCE: Final = 5000
"""Names looked at when a source gives many; a sample of them is kept."""
MAX_REMEMBERED: Final = 4096
"""Addresses given up, and banned ones, about 350 bytes each; also sources that had a turn."""


class Source(StrEnum):
    """Who named a candidate, the most trusted first. A colon and an identity may follow."""

    USER = "user"
    """The user, by the magnet link or an option."""
    PROVEN = "proven"
    """It was a peer of this torrent before. Only the pool itself says so."""
    TRACKER = "tracker"
    """A tracker's reply."""
    HANDSHAKE = "handshake"
    """A connected peer told its own address (``onion`` in the extension handshake)."""
    PEX = "pex"
    """A connected peer named others."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """How a kind of source is treated.

    Attributes:
        of_one: Candidates that one source may hold.
        of_all: Candidates that all sources of the kind may hold.
        pause: Seconds after the first failure; doubled by every further one.
        longest_pause: Seconds.
        tries: Failures until a candidate is given up.
    """

    of_one: int
    of_all: int
    pause: float
    longest_pause: float
    tries: float


_RULES: Final = {
    Source.USER: _Rules(500, 500, pause=2, longest_pause=60, tries=inf),
    Source.PROVEN: _Rules(200, 200, pause=10, longest_pause=600, tries=inf),
    Source.TRACKER: _Rules(1024, 1024, pause=30, longest_pause=600, tries=4),
    Source.HANDSHAKE: _Rules(1, 200, pause=30, longest_pause=600, tries=4),
    Source.PEX: _Rules(50, 500, pause=60, longest_pause=600, tries=3),
}
_K = TypeVar("_K")
_V = TypeVar("_V")
_TRUST: Final = {kind: rank for rank, kind in enumerate(Source)}
_TRUSTED: Final = (Source.USER, Source.PROVEN)


class _State(Enum):
    WAITING = auto()
    DIALLING = auto()
    CONNECTED = auto()


class _Obfuscation(Enum):
    """Whether a candidate is spoken to in obfuscated words."""

    NOT_NEEDED = auto()
    TO_TRY = auto()
    NEEDED = auto()
    NO_USE = auto()


_OBFUSCATED: Final = (_Obfuscation.TO_TRY, _Obfuscation.NEEDED)


@dataclass(slots=True)
class _Candidate:
    address: PeerAddress
    kind: Source
    source: str
    named_by: tuple[str, ...]
    named_at: int
    state: _State = _State.WAITING
    dials: int = 0
    failures: int = 0
    not_before: float = -inf
    connected_at: float = 0.0
    obfuscation: _Obfuscation = _Obfuscation.NOT_NEEDED


class PeerPool:
    """The candidates of one torrent. About 2,500 at most, some 400 bytes each.

    Args:
        rng: For jitter, samples and lots.
        own_address: Where others reach us; never dialled.
        max_dials: Dials under way at once; see :meth:`set_max_dials`.
    """

    def __init__(self, rng: Random, own_address: PeerAddress | None, *, max_dials: int = 8) -> None:
        self._rng = rng
        self._own_address = own_address
        self._max_dials = max_dials
        self._is_crowded = False
        self._candidates: dict[PeerAddress, _Candidate] = {}
        self._given_up: dict[PeerAddress, float] = {}
        self._banned: dict[PeerAddress, None] = {}
        self._turns = {kind: rank - len(Source) for kind, rank in _TRUST.items()}
        self._source_turns: dict[str, int] = {}
        self._count = 0
        self._now = -inf
        self._quiet_until = -inf

    def __len__(self) -> int:
        """How many candidates there are, connected ones included."""
        return len(self._candidates)

    def add(self, addresses: Iterable[PeerAddress], source: str) -> None:
        """Take names; known ones are freshened.

        Args:
            addresses: What was named, in no order that matters.
            source: A :class:`Source`, with a colon and an identity where there are several of the
                kind: ``"tracker:2"``, ``"pex:17"``.

        Raises:
            ValueError: There is no such kind of source.
        """
        kind = Source(source.partition(":")[0])
        self._count += 1
        unknown: dict[PeerAddress, None] = {}
        for address in islice(addresses, MAX_NAMES_AT_ONCE):
            known = self._candidates.get(address)
            if known is not None:
                self._named_again(known, kind, source)
            elif self._is_welcome(address, kind):
                unknown[address] = None
        sample_size = min(len(unknown), _RULES[kind].of_one)
        for address in self._rng.sample(list(unknown), sample_size):
            self._given_up.pop(address, None)
            self._candidates[address] = _Candidate(address, kind, source, (source,), self._count)
        self._trim(kind, source)
        self._quiet_until = -inf

    def set_max_dials(self, max_dials: int) -> None:
        """Say how many dials there may be at once from now on; there may be more under way.

        Those whom we trust get all but an eighth of them, the others too; of these one kind gets
        less, and one source still less. Whom the user named has one even when there are too many.
        """
        if max_dials != self._max_dials:
            self._max_dials = max_dials
            self._quiet_until = -inf

    def patience(self, address: PeerAddress) -> float:
        """Seconds that a dial may take; infinite unless others wait for it to end."""
        candidate = self._candidates.get(address)
        if candidate is None or candidate.kind in _TRUSTED or not self._is_crowded:
            return inf
        return HURRIED_SECONDS * 2.0**candidate.failures

    def is_trusted(self, address: PeerAddress) -> bool:
        """Whether the user named it, or it was a peer of ours before."""
        candidate = self._candidates.get(address)
        return candidate is not None and candidate.kind in _TRUSTED

    def was_dialled_before(self, address: PeerAddress) -> bool:
        """Whether the dial under way, or the one that came last, was not the first."""
        candidate = self._candidates.get(address)
        return candidate is not None and candidate.dials > 1

    def next_to_dial(self, now: float) -> PeerAddress | None:
        """Choose whom to dial now; the caller must say what came of it.

        First comes ``connected``, ``failed`` or ``postponed``; after ``connected`` comes ``closed``
        or ``failed``.
        A call costs a look at every candidate, or nothing while all of them pause or wait for dials
        under way to end.
        """
        self._now = now
        if now < self._quiet_until:
            return None
        self._quiet_until = inf
        ready: dict[str, list[_Candidate]] = {}
        dials = [c for c in self._candidates.values() if c.state is _State.DIALLING]
        for candidate in self._candidates.values():
            if candidate.state is _State.WAITING:
                if candidate.not_before <= now:
                    ready.setdefault(candidate.source, []).append(candidate)
                else:
                    self._quiet_until = min(self._quiet_until, candidate.not_before)
        source = self._next_source(ready, dials)
        self._is_crowded = source is None and bool(ready)
        if source is None:  # nor will there be one before a pause or a dial is over
            return None
        self._quiet_until = -inf
        chosen = self._best_of(ready[source])
        chosen.state = _State.DIALLING
        chosen.dials += 1
        self._count += 1
        self._turns[chosen.kind] = self._count
        _remember(self._source_turns, source, self._count)
        return chosen.address

    def connected(self, address: PeerAddress, now: float) -> None:
        """Somebody answered there; whether it is a peer is not known yet."""
        self._quiet_until = -inf
        candidate = self._candidates.get(address)
        if candidate is not None:
            candidate.state = _State.CONNECTED
            candidate.connected_at = now

    def failed(self, address: PeerAddress, now: float) -> None:
        """Nobody answered, or whoever did is no peer of this torrent."""
        self._quiet_until = -inf
        candidate = self._candidates.get(address)
        if candidate is None:
            return
        self._now = now
        if candidate.obfuscation is _Obfuscation.TO_TRY:
            candidate.obfuscation = _Obfuscation.NO_USE
        candidate.failures += 1
        if candidate.failures >= _RULES[candidate.kind].tries:
            self._forget(candidate)
        else:
            self._pause(candidate, now)

    def hung_up(self, address: PeerAddress, now: float) -> None:
        """Somebody closed the connection and answered nothing to our handshake."""
        candidate = self._candidates.get(address)
        if (
            candidate is None
            or address.is_onion
            or candidate.obfuscation is not _Obfuscation.NOT_NEEDED
        ):
            self.failed(address, now)
            return
        candidate.obfuscation = _Obfuscation.TO_TRY
        self.postponed(address, now)

    def wants_obfuscation(self, address: PeerAddress) -> bool:
        """Whether to dial this one in the obfuscated way."""
        candidate = self._candidates.get(address)
        return candidate is not None and candidate.obfuscation in _OBFUSCATED

    def postponed(self, address: PeerAddress, until: float) -> None:
        """It is not to be dialled now, for a reason that says nothing about the candidate."""
        self._quiet_until = -inf
        candidate = self._candidates.get(address)
        if candidate is not None:
            candidate.state = _State.WAITING
            candidate.not_before = until

    def closed(self, address: PeerAddress, now: float) -> None:
        """A connection to a peer has ended. It is worth another after a pause."""
        candidate = self._candidates.get(address)
        if candidate is None:
            return
        self._now = now
        if candidate.obfuscation is _Obfuscation.TO_TRY:
            candidate.obfuscation = _Obfuscation.NEEDED
        has_lived = now >= candidate.connected_at + LIVED_SECONDS
        candidate.failures = 1 if has_lived else candidate.failures + 1
        self._trust(candidate, Source.PROVEN, Source.PROVEN)
        self._pause(candidate, now)
        self._trim(candidate.kind, candidate.source)

    def ban(self, address: PeerAddress) -> None:
        """Never dial this one again. The oldest ban ends when there are very many."""
        self._quiet_until = -inf
        self._candidates.pop(address, None)
        _remember(self._banned, address, None)

    def _is_welcome(self, address: PeerAddress, kind: Source) -> bool:
        if address == self._own_address or address in self._banned:
            return False
        return kind is Source.USER or self._given_up.get(address, -inf) <= self._now

    def _named_again(self, candidate: _Candidate, kind: Source, source: str) -> None:
        candidate.named_at = self._count
        if source not in candidate.named_by and len(candidate.named_by) < MAX_NAMED_BY:
            candidate.named_by += (source,)
        if self._trust(candidate, kind, source) and candidate.state is _State.WAITING:
            candidate.failures = 0
            candidate.not_before = -inf

    def _trust(self, candidate: _Candidate, kind: Source, source: str) -> bool:
        """Count a candidate for a more trusted source, if this is one."""
        if _TRUST[kind] >= _TRUST[candidate.kind]:
            return False
        candidate.kind, candidate.source = kind, source
        return True

    def _next_source(
        self, ready: dict[str, list[_Candidate]], dials: list[_Candidate]
    ) -> str | None:
        of_kind = Counter(dial.kind for dial in dials)
        of_source = Counter(dial.source for dial in dials)
        trusted = sum(of_kind[kind] for kind in _TRUSTED)
        of_most, of_one_kind, of_one_source = (max(1, self._max_dials * n // 8) for n in (7, 6, 5))

        is_full = len(dials) >= self._max_dials

        def has_room(kind: Source, source: str) -> bool:
            if is_full:  # none is kept from whom the user named by those that others named
                return kind is Source.USER and not of_kind[kind]
            if kind in _TRUSTED:
                return trusted < of_most
            return (
                len(dials) - trusted < of_most
                and of_kind[kind] < of_one_kind
                and of_source[source] < of_one_source
            )

        def rank(source: str) -> tuple[bool, int, int, int, int, float]:
            kind = ready[source][0].kind
            is_new = kind is Source.USER and any(not c.failures for c in ready[source])
            turn = self._source_turns.get(source, 0)
            lot = self._rng.random()
            return not is_new, of_kind[kind], self._turns[kind], of_source[source], turn, lot

        open_to = [source for source, some in ready.items() if has_room(some[0].kind, source)]
        return min(open_to, key=rank, default=None)

    def _best_of(self, candidates: list[_Candidate]) -> _Candidate:
        rank = _failures if self._rng.random() < SURPRISE else _promise
        best = min(map(rank, candidates))
        return self._rng.choice([c for c in candidates if rank(c) == best])

    def _pause(self, candidate: _Candidate, now: float) -> None:
        rules = _RULES[candidate.kind]
        # The exponent is bounded, as there is no end to some candidates' failures.
        pause = min(rules.longest_pause, rules.pause * 2 ** min(candidate.failures - 1, 16))
        candidate.state = _State.WAITING
        candidate.not_before = now + pause * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._quiet_until = min(self._quiet_until, candidate.not_before)

    def _trim(self, kind: Source, source: str) -> None:
        """Forget what is too much: of this source, then of the largest ones of its kind.

        What is in use stays, so that a source may hold some more for a while.
        """
        sizes: Counter[str] = Counter()
        idle: dict[str, list[_Candidate]] = {}
        for candidate in self._candidates.values():
            if candidate.kind is kind:
                sizes[candidate.source] += 1
                if candidate.state is _State.WAITING:
                    idle.setdefault(candidate.source, []).append(candidate)
        rules = _RULES[kind]
        if sizes[source] <= rules.of_one and sizes.total() <= rules.of_all:
            return
        for candidates in idle.values():
            candidates.sort(key=_promise)

        def forget_worst(loser: str) -> None:
            self._forget(idle[loser].pop())
            sizes[loser] -= 1
            if not idle[loser]:
                del idle[loser]

        while sizes[source] > rules.of_one and source in idle:
            forget_worst(source)
        while sizes.total() > rules.of_all and idle:
            forget_worst(max(idle, key=sizes.__getitem__))

    def _forget(self, candidate: _Candidate) -> None:
        del self._candidates[candidate.address]
        if candidate.failures:
            _remember(self._given_up, candidate.address, self._now + GIVEN_UP_SECONDS)


def _failures(candidate: _Candidate) -> tuple[int, int, int]:
    return candidate.failures, 0, 0


def _promise(candidate: _Candidate) -> tuple[int, int, int]:
    """Rank candidates of one source; the lowest is the best."""
    return candidate.failures, -len(candidate.named_by), -candidate.named_at


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    """Put something at the end of a memory, which loses its oldest if it is full."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]
