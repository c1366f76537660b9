"""Numbers of the engine that its users may change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one session; the defaults suit Tor.

    Attributes:
        max_connections: Peers connected to one torrent at once, both directions.
        max_dials: Connections being made at once for one torrent; each builds circuits.
        max_dials_alone: The same while a download has nobody at all. A dead onion costs tor six
            circuits, one after the other; it begins no more while 32 are being built
            (MaxClientCircuitsPending). This number suits a tor that keeps them all for ten minutes,
            in which 32 dials at once were measured to end in standstill. See docs/onion-peers.md.
        max_dials_of_all: The same for all torrents together, which share them evenly; one each is
            always allowed.
        circuits: To one onion peer, each on a connection of its own; 1 to 8. More than one only
            where each brings more.
        max_upload: Payload bytes a second for all torrents together; None is no limit.
        max_download: The same, coming in.
        unchoke_slots: Peers that may download from us at once, for each torrent, at first; the
            number follows the measured upload rate, from 2 to 4 times this.
    """

    max_connections: int = 100
    max_dials: int = 8
    max_dials_alone: int = 16
    max_dials_of_all: int = 48
    circuits: int = 4
    max_upload: float | None = None
    max_download: float | None = None
    unchoke_slots: int = 8


@dataclass(frozen=True, slots=True)
class Goals:
    """When a torrent that is complete has been served enough; it then stops by itself.

    Attributes:
        ratio: Bytes sent for each byte of the torrent. Who is being served then gets the rest, for
            a minute at most.
        seconds: Time of serving since it was complete.
        copies: People who say that they are complete after we served them, or leave after we sent
            them all of it.
    """

    ratio: float | None = None
    seconds: float | None = None
    copies: int | None = None


NO_GOALS = Goals()
"""Serve for ever."""
