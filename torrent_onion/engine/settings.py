"""Numbers of the engine that its users may change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one session; the defaults suit Tor.

    Attributes:
        max_connections: Peers connected to one torrent at once, both directions.
        max_dials: Connections being made at once for one torrent; each builds circuits.
        unchoke_slots: Peers that may download from us at once, for each torrent, at first; the
            number follows the measured upload rate, from 2 to 4 times this.
    """

    max_connections: int = 100
    max_dials: int = 8
    unchoke_slots: int = 8
