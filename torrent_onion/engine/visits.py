"""What our connections to one onion have in common, for as long as there are any.

Two onions see two visitors, and who comes again is a stranger.
"""

import random
import secrets
from dataclasses import dataclass

from torrent_onion.core.identity import PeerAddress
from torrent_onion.policy.read_beat import ReadBeat
from torrent_onion.protocol.extensions import STRIPE_SIZE


@dataclass(frozen=True, slots=True)
class Visit:
    """Our presence at one onion.

    Attributes:
        stripe: The token by which a peer of ours knows that the connections are one person's.
        beat: When the connections are read.
    """

    stripe: bytes
    beat: ReadBeat


class Visits:
    """One torrent's visits to onions."""

    def __init__(self) -> None:
        self._visits: dict[PeerAddress, Visit] = {}
        self._lots = random.SystemRandom()

    def to(self, address: PeerAddress | None) -> Visit | None:
        """Return the visit to an onion, a new one if there is none; None for any other peer."""
        if address is None or not address.is_onion:
            return None
        visit = self._visits.get(address)
        if visit is None:
            visit = Visit(secrets.token_bytes(STRIPE_SIZE), ReadBeat(self._lots.random()))
            self._visits[address] = visit
        return visit

    def end(self, address: PeerAddress | None) -> None:
        """No connection to the peer is left."""
        if address is not None:
            self._visits.pop(address, None)
