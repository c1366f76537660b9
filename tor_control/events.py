"""What ``open_tor()`` tells its caller while it works: frozen values, one class for each (pure).

They are handed to ``on_event`` on the trio thread. A text comes from tor itself or is a sentence of
ours; none holds an address.
"""

from dataclasses import dataclass

from tor_control.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Connected:
    """The control connection stands; the network may still be out of reach.

    Args:
        version: Tor's own, for example ``0.4.9.11``.
        is_launched: Whether it is a tor of ours.
        place: Where its control endpoint is, as ``tcp:HOST:PORT`` or ``unix:PATH``.
        endpoints: All that this process connects to from now on, also when tor comes back.
        listens_on_loopback: Onion services come in on a TCP port of ours, and not on Unix sockets.
    """

    version: str
    is_launched: bool
    place: str
    endpoints: frozenset[Endpoint]
    listens_on_loopback: bool


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Progress on the way into the Tor network (control-spec, "Bootstrap phases").

    Args:
        percent: 0 to 100.
        summary: Tor's own words for what comes next.
    """

    percent: int
    summary: str


@dataclass(frozen=True, slots=True)
class Warning_:  # noqa: N801 - `Warning` is Python's own
    """Something that the user should know, and that is no failure yet.

    Args:
        text: Tor's own words, or a sentence of ours.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Tor is out of reach: every connection is closed and nothing is dialled until ``Restored``.

    Args:
        reason: A sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Restored:
    """Tor is back, and with it every onion service under its old address."""


TorEvent = Connected | Bootstrap | Warning_ | Lost | Restored
