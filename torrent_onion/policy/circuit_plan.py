"""How many circuits to one peer: one is bound by Tor's window, several by the peer or the machine.

A peer is reached by several connections, each on a circuit of its own ("stripes"). For each peer:

- It starts with one, and their number doubles while those added last raised the goodput.
- Those that brought nothing are closed again, and the peer is left at that for a while.
- One much slower than its siblings is replaced: some relay on its way is slow.
- When the peer closes extra ones, or they cannot be made, it is left alone for longer and longer.

Pure: told how many bytes each connection has brought, it says what to open and close.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from torrent_onion.policy.piece_download import PeerKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torrent_onion.core.identity import PeerAddress

MAX_CIRCUITS: Final = 8
"""To one peer. More would load the network and bring nothing: four fill a fast machine."""

SETTLE_SECONDS: Final = 0.75
"""Until a new circuit is judged for the first time: it comes up to speed in a round trip or two."""

PATIENCE_SECONDS: Final = 5.0
"""Until a circuit that raised nothing is given up: Tor's slow ones take that long to come up."""

GAIN: Final = 0.1
"""Part of the goodput that one circuit more must bring."""

LEAVE_SECONDS: Final = 60.0
"""How long a peer is left at the number that served best."""

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
    opening: int = 0
    changed: float = 0.0
    """When the number of circuits changed last."""
    enough: float = 0.0
    """Goodput that the newest circuits must raise it to, to be worth keeping."""
    newest: set[PeerKey] = field(default_factory=set)
    """The circuits that were added last, until they are judged."""
    quiet_until: float = 0.0
    refusals: int = 0


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

    def failed(self, address: "PeerAddress", now: float) -> None:
        """One more connection to a peer could not be made, or came to no handshake."""
        peer = self._peers.get(address)
        if peer is not None:
            peer.opening = max(0, peer.opening - 1)
            self._refused(peer, now)

    def closed(self, address: "PeerAddress", key: PeerKey, now: float) -> None:
        """A connection has ended; a peer that ends an extra one early wants no more."""
        peer = self._peers.get(address)
        circuit = peer.circuits.pop(key, None) if peer is not None else None
        if peer is None or circuit is None:
            return
        if not peer.circuits and not peer.opening:
            del self._peers[address]
        elif key in peer.newest and now - circuit.since < PATIENCE_SECONDS:
            self._refused(peer, now)
        peer.newest.discard(key)
        peer.changed = now

    def decide(self, now: float, samples: "Mapping[PeerKey, Sample]") -> Decision:
        """Judge all peers.

        Args:
            now: Monotonic seconds; call it a few times a second.
            samples: Every connection that was told of by ``connected`` and not closed.
        """
        elapsed, self._sampled = now - self._sampled, now
        to_open: list[PeerAddress] = []
        to_close: list[PeerKey] = []
        for address, peer in self._peers.items():
            for key, circuit in peer.circuits.items():
                if key in samples:
                    _measure(circuit, samples[key].received, elapsed)
            if self._wants_more(peer, samples, now):
                more = min(len(peer.circuits), self._most - len(peer.circuits))
                peer.opening = more
                peer.newest.clear()
                peer.enough = _goodput(peer) * (1 + GAIN * more)
                to_open.extend([address] * more)
            else:
                to_close.extend(self._useless(peer, now))
        return Decision(tuple(to_open), tuple(to_close))

    def _wants_more(self, peer: _Peer, samples: "Mapping[PeerKey, Sample]", now: float) -> bool:
        """Whether the last ones helped, and the peer is what holds us up."""
        if peer.opening or not peer.circuits or now < peer.quiet_until:
            return False
        if len(peer.circuits) >= self._most or now - peer.changed < SETTLE_SECONDS:
            return False
        if not all(key in samples and samples[key].busy for key in peer.circuits):
            return False
        goodput = _goodput(peer)
        return goodput > 0 and (not peer.newest or goodput > peer.enough)

    def _useless(self, peer: _Peer, now: float) -> tuple[PeerKey, ...]:
        """Circuits that bring nothing."""
        if len(peer.circuits) <= 1:  # none at all: the first ended while another was opening
            return ()
        if peer.newest and not peer.opening and now - peer.changed >= PATIENCE_SECONDS:
            judged, peer.newest = tuple(peer.newest), set()
            if _goodput(peer) <= peer.enough and len(judged) < len(peer.circuits):
                peer.quiet_until = now + LEAVE_SECONDS
                return judged
        return _slow(peer, now)

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


def _goodput(peer: _Peer) -> float:
    return sum(circuit.rate for circuit in peer.circuits.values())


def _slow(peer: _Peer, now: float) -> tuple[PeerKey, ...]:
    """A circuit that has been much slower than its siblings for long; another takes its place."""
    mean = _goodput(peer) / len(peer.circuits)
    for key, circuit in peer.circuits.items():
        if circuit.rate >= mean * SLOW_SHARE:
            circuit.slow_since = None
        elif circuit.slow_since is None:
            circuit.slow_since = now
        elif now - circuit.slow_since >= SLOW_SECONDS:
            peer.newest.clear()  # what is left is the measure for the next one
            return (key,)
    return ()
