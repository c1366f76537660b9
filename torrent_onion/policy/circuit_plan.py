"""How many circuits to one peer: one is bound by Tor's window, several by the peer or the machine.

A peer is reached by several connections, each on a circuit of its own ("stripes"). For each peer:

- It starts with one. As soon as that brings something, up to ``START`` are made at once, unless
  little is left: to make them one after the other took longer than many a transfer.
- Beyond that their number doubles while those added last raised the goodput. ``START`` and
  ``ENOUGH`` count the circuits to all peers: in a swarm few peers have several.
- Those that brought nothing are closed again, and the peer is left at that for a while.
- Now and then the slowest is closed for a trial: where the others carry what it carried, it stays
  closed.
- One much slower than its siblings is replaced: some relay on its way is slow.
- Goodput is judged by means of some seconds: that of a moment is noise.
- When the peer closes extra ones, or they cannot be made, it is left alone for longer and longer,
  and then asked for one at a time.

Pure: told how many bytes each connection has brought, it says what to open and close.
"""

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from torrent_onion.policy.goodput import Goodput
from torrent_onion.policy.piece_download import PeerKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torrent_onion.core.identity import PeerAddress

MAX_CIRCUITS: Final = 8
"""To one peer. More would load the network and bring nothing: four fill a fast machine."""

START: Final = 4
"""Made as soon as the first brings something: what fills a fast machine, and the default of most
who use this."""

ENOUGH: Final = 8
"""Circuits to all peers of a torrent: who has so many is not held up by any one peer's."""

LITTLE_LEFT: Final = 2 << 20
"""Bytes still to be fetched for which no circuit is made."""

LITTLE_SECONDS: Final = 2.0
"""Seconds' worth of the goodput: so soon no new circuit repays what it cost."""

SETTLE_SECONDS: Final = 0.75
"""Until circuits are judged after a change: a new one comes up to speed, and others take over what
one that was closed has carried, in a round trip or two."""

PATIENCE_SECONDS: Final = 5.0
"""Until a circuit that raised nothing is given up: Tor's slow ones take that long to come up."""

GAIN: Final = 0.1
"""Part of the goodput that one circuit more must bring."""

LEAVE_SECONDS: Final = 60.0
"""How long a peer is left at the number that served best."""

TRIAL_AFTER_SECONDS: Final = 15.0
"""How long nothing has changed before the slowest circuit is closed for a trial."""

MEAN_SECONDS: Final = 10.0
"""Over which goodput is measured at most; right after a change it is measured since then."""

ALONE_SECONDS: Final = 2.0
"""Over which the first circuit is measured while others are made: it is coming up to speed."""

TRIAL_SECONDS: Final = 5.0
"""How long the trial takes."""

TRIAL_AGAIN_SECONDS: Final = 600.0
"""Until the next trial after one that showed that all are needed; it cost a part of the goodput."""

KEPT_SHARE: Final = 0.25
"""Of its share of the goodput: if as much is lost without a circuit, it is made again. A needed one
that stays closed costs more than one kept for nothing, and means of seconds are still noisy."""

REFUSED_SECONDS: Final = 60.0
"""How long a peer that closed extra circuits is left alone, the first time."""

MAX_REFUSED_SECONDS: Final = 3600.0

SLOW_SHARE: Final = 0.2
"""Of its siblings' mean rate: a circuit below that is replaced."""

SLOW_SECONDS: Final = 15.0
"""How long it may be so slow."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One connection at one moment.

    Args:
        address: The peer at its other end.
        received: Payload bytes since it was made.
        busy: It has requests to answer: what it does not bring, it could not.
    """

    address: "PeerAddress"
    received: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Args:
        open: Peers to connect to once more, each time on a new circuit; some several times.
        close: Connections to close.
    """

    open: "tuple[PeerAddress, ...]" = ()
    close: tuple[PeerKey, ...] = ()


@dataclass(slots=True)
class _Circuit:
    since: float
    received: int
    rate: float = 0.0
    slow_since: float | None = None


@dataclass(slots=True)
class _Peer:
    """All circuits to one peer."""

    circuits: dict[PeerKey, _Circuit] = field(default_factory=dict)
    goodput: Goodput = field(default_factory=Goodput)
    opening: int = 0
    changed: float = 0.0
    """When the number of circuits changed last."""
    before: float = 0.0
    """The goodput without the newest circuits."""
    enough: float = 0.0
    """What the newest circuits must raise ``before`` to, as a factor, to be worth keeping."""
    newest: set[PeerKey] = field(default_factory=set)
    """The circuits that were added last, until they are judged."""
    quiet_until: float = 0.0
    refusals: int = 0
    began: bool = False
    """``START`` circuits were asked for."""
    trial: tuple[float, float] | None = None
    """The goodput before a circuit was closed for a trial, and that circuit's share of it."""
    next_trial: float = 0.0
    goes_on: bool = False
    """The last trial showed a circuit that was not needed: the next may follow at once."""


class CircuitPlan:
    """The circuits of one torrent.

    Args:
        most: To one peer, 1 to ``MAX_CIRCUITS``; 1 switches all of this off.
    """

    def __init__(self, most: int) -> None:
        if not 1 <= most <= MAX_CIRCUITS:
            raise ValueError(f"1 to {MAX_CIRCUITS} circuits")
        self._most = most
        self._peers: dict[PeerAddress, _Peer] = {}
        self._sampled = 0.0

    def connected(self, address: "PeerAddress", key: PeerKey, now: float) -> None:
        """A connection is made, the first to a peer or another one."""
        peer = self._peers.setdefault(address, _Peer())
        peer.opening = max(0, peer.opening - 1)
        if peer.circuits:
            peer.newest.add(key)
        peer.circuits[key] = _Circuit(now, 0)
        peer.changed = now
        peer.goes_on = False

    def failed(self, address: "PeerAddress", now: float) -> None:
        """One more connection to a peer could not be made, or came to no handshake."""
        peer = self._peers.get(address)
        if peer is not None:
            peer.opening = max(0, peer.opening - 1)
            self._refused(peer, now)
            self._forget_if_gone(address, peer)

    def closed(self, address: "PeerAddress", key: PeerKey, now: float) -> None:
        """A connection has ended; a peer that ends an extra one early wants no more."""
        peer = self._peers.get(address)
        circuit = peer.circuits.pop(key, None) if peer is not None else None
        if peer is None or circuit is None:
            return
        if self._forget_if_gone(address, peer):
            return
        if key in peer.newest and now - circuit.since < PATIENCE_SECONDS:
            self._refused(peer, now)
        peer.newest.discard(key)
        peer.changed = now

    def decide(
        self, now: float, samples: "Mapping[PeerKey, Sample]", *, left: float = inf
    ) -> Decision:
        """Judge all peers.

        Args:
            now: Monotonic seconds; call it some times a second.
            samples: Every connection that was told of by ``connected`` and not closed.
            left: Bytes that are still to be fetched.
        """
        if self._most == 1:
            return Decision()
        elapsed, self._sampled = now - self._sampled, now
        to_open: list[PeerAddress] = []
        to_close: list[PeerKey] = []
        total = sum(len(peer.circuits) + peer.opening for peer in self._peers.values())
        for address, peer in self._peers.items():
            brought = 0
            for key, circuit in peer.circuits.items():
                if key in samples:
                    brought += samples[key].received - circuit.received
                    _measure(circuit, samples[key].received, elapsed)
            peer.goodput.add(now, brought)
            if peer.opening:
                if len(peer.circuits) == 1:
                    peer.before = peer.goodput.since(now - ALONE_SECONDS)
                continue
            hungry = _is_worth_it(peer, left) and all(
                key in samples and samples[key].busy for key in peer.circuits
            )
            more = self._more(peer, now, total) if hungry else 0
            if more:
                peer.opening = more
                peer.newest.clear()
                peer.before, peer.enough = _mean(peer, now), 1 + GAIN * more
                to_open.extend([address] * more)
                total += more
            else:
                to_close.extend(self._useless(peer, now, hungry=hungry))
        return Decision(tuple(to_open), tuple(to_close))

    def _more(self, peer: _Peer, now: float, total: int) -> int:
        """How many circuits to add, as the last ones helped and the peer is what holds us up."""
        count = len(peer.circuits)
        if peer.trial is not None:
            return _end_trial(peer, now)
        if not count or count >= self._most or now < peer.quiet_until:
            return 0
        if not peer.began:
            peer.began = _momentary(peer) > 0
            return max(0, min(START, self._most) - total) if peer.began else 0
        goodput = _mean(peer, now)
        if total >= ENOUGH or now - peer.changed < 2 * SETTLE_SECONDS or not goodput:
            return 0
        if peer.newest and goodput <= peer.before * peer.enough:
            return 0
        return 1 if peer.refusals else min(count, self._most - count)

    def _useless(self, peer: _Peer, now: float, *, hungry: bool) -> tuple[PeerKey, ...]:
        """Circuits that bring nothing."""
        if len(peer.circuits) <= 1:  # none at all: the first ended while another was opening
            return ()
        if peer.newest and now - peer.changed >= PATIENCE_SECONDS:
            judged, peer.newest = tuple(peer.newest), set()
            useless = _mean(peer, now) <= peer.before * peer.enough
            if useless and len(judged) < len(peer.circuits):
                peer.quiet_until = now + LEAVE_SECONDS
                return judged
        return _slow(peer, now) or (_begin_trial(peer, now) if hungry else ())

    def _forget_if_gone(self, address: "PeerAddress", peer: _Peer) -> bool:
        is_gone = not peer.circuits and not peer.opening
        if is_gone:
            del self._peers[address]
        return is_gone

    def _refused(self, peer: _Peer, now: float) -> None:
        wait = min(REFUSED_SECONDS * 2**peer.refusals, MAX_REFUSED_SECONDS)
        peer.refusals += 1
        peer.newest.clear()
        peer.quiet_until = now + wait


def _measure(circuit: _Circuit, received: int, elapsed: float) -> None:
    """Follow the rate within about a quarter of a second."""
    if elapsed > 0:
        rate = (received - circuit.received) / elapsed
        weight = min(1.0, 4 * elapsed)
        circuit.rate += weight * (rate - circuit.rate)
    circuit.received = received


def _mean(peer: _Peer, now: float) -> float:
    """The goodput with the circuits that there are now, once they are up to speed."""
    return peer.goodput.since(max(peer.changed + SETTLE_SECONDS, now - MEAN_SECONDS))


def _momentary(peer: _Peer) -> float:
    return sum(circuit.rate for circuit in peer.circuits.values())


def _is_worth_it(peer: _Peer, left: float) -> bool:
    return left > max(LITTLE_LEFT, _momentary(peer) * LITTLE_SECONDS)


def _begin_trial(peer: _Peer, now: float) -> tuple[PeerKey, ...]:
    """The slowest circuit, when it is time to see whether it is needed.

    Never the first one: without it the peer would be dialled as one that has left.
    """
    wait = TRIAL_SECONDS if peer.goes_on else TRIAL_AFTER_SECONDS
    is_settled = now - peer.changed >= wait and not peer.newest
    if not is_settled or peer.trial is not None or now < peer.next_trial:
        return ()
    if any(circuit.slow_since is not None for circuit in peer.circuits.values()):
        return ()  # it is replaced soon, or was slow for a moment only
    goodput = _mean(peer, now)
    peer.trial = goodput, goodput / len(peer.circuits)
    peer.changed = now  # the connection may take a moment to end
    return (min(list(peer.circuits)[1:], key=lambda key: peer.circuits[key].rate),)


def _end_trial(peer: _Peer, now: float) -> int:
    """How many circuits to make again after a trial: one, where the others could not carry it."""
    if peer.trial is None or now - peer.changed < TRIAL_SECONDS:
        return 0
    (before, share), peer.trial = peer.trial, None
    if before - _mean(peer, now) >= share * KEPT_SHARE:
        peer.next_trial = now + TRIAL_AGAIN_SECONDS
        return 1
    peer.quiet_until = now + LEAVE_SECONDS
    peer.goes_on = True
    return 0


def _slow(peer: _Peer, now: float) -> tuple[PeerKey, ...]:
    """A circuit that has been much slower than its siblings for long; another takes its place."""
    mean = _momentary(peer) / len(peer.circuits)
    for key, circuit in peer.circuits.items():
        if circuit.rate >= mean * SLOW_SHARE:
            circuit.slow_since = None
        elif circuit.slow_since is None:
            circuit.slow_since = now
        elif now - circuit.slow_since >= SLOW_SECONDS:
            peer.newest.clear()  # what is left is the measure for the next one
            return (key,)
    return ()
