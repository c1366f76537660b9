"""What peer exchange is in either network: how often one peer is told and heard, and what is new.

``onion_exchange.py`` and ``clearnet_exchange.py`` say who may be told, and of whom.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.peer import Peer
from torrent_onion.protocol.onion_pex import MAX_ENTRIES, OnionPex
from torrent_onion.protocol.ut_pex import UtPex

PEX_SECONDS: Final = 60.0
"""Between two messages to one peer, and as often as one may send them."""

EARLY_SECONDS: Final = 5.0
"""How much too early a peer's message may come: clocks and circuits differ."""


@dataclass(slots=True)
class PeerExchange:
    """What passed between us and one peer."""

    told: set[PeerAddress] = field(default_factory=set)
    told_at: float | None = None
    heard_at: float | None = None

    def may_be_heard(self, now: float) -> bool:
        """Whether a message that has come is to be read; if so, none is for a minute."""
        is_early = self.heard_at is not None and now - self.heard_at < PEX_SECONDS - EARLY_SECONDS
        if not is_early:
            self.heard_at = now
        return not is_early

    def is_due(self, now: float) -> bool:
        """Whether the peer may be told again."""
        return self.told_at is None or now - self.told_at >= PEX_SECONDS

    def tell(
        self,
        peer: Peer,
        itself: PeerAddress | None,
        known: Mapping[PeerAddress, int],
        form: type[OnionPex | UtPex],
        now: float,
    ) -> None:
        """Tell a peer what is new, if anything is.

        Args:
            peer: Who is told.
            itself: Its own address, which it knows.
            known: All that others may be told, with their flags; what matters most comes first.
            form: The network's message; both hold as many addresses.
            now: The time.
        """
        fresh = (address for address in known if address not in self.told and address != itself)
        added = tuple(islice(fresh, MAX_ENTRIES))
        gone = (address for address in self.told if address not in known)
        dropped = tuple(islice(gone, MAX_ENTRIES - len(added)))
        if not added and not dropped:
            return
        message = form(tuple((address, known[address]) for address in added), dropped)
        if peer.wire.send_extended(message):
            self.told_at = now
            self.told.update(added)
            self.told.difference_update(dropped)
            peer.wake.ring()
