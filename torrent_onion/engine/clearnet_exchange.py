"""Peers outside Tor that tell each other of peers outside Tor: ``ut_pex`` (BEP 11).

It is offered to peers with an IP address only, names only such peers, of those that we are
connected to, and so never an onion nor us. Each is told at most once a minute, of at most 50, and
heard as often; what it names is a candidate and no more. A torrent that is private (BEP 27), or may
be because its metadata is not here yet, does not even offer it.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.onion_exchange import EARLY_SECONDS, PEX_SECONDS, is_behind_onion
from torrent_onion.engine.peer import Peer
from torrent_onion.policy.peer_pool import Source
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.compact_peers import is_ip_address
from torrent_onion.protocol.extensions import CLEARNET_IDS, CLEARNET_PEX_IDS, OFFERED_IDS
from torrent_onion.protocol.ut_pex import FLAG_REACHABLE, FLAG_SEED, MAX_ENTRIES, UtPex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torrent_onion.engine.torrent import Torrent


@dataclass(slots=True)
class _Exchange:
    """What passed between us and one peer."""

    told: set[PeerAddress] = field(default_factory=set)
    told_at: float | None = None
    heard_at: float | None = None


class ClearnetExchange:
    """The peer exchange of one torrent with those outside Tor.

    Args:
        torrent: Whose it is.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self._torrent = torrent
        self._exchanges: dict[PeerKey, _Exchange] = {}

    def offered_ids(self, peer: Peer) -> "Mapping[str, int]":
        """The extended messages that we offer to a peer: each network has its own."""
        if is_behind_onion(peer):
            return OFFERED_IDS
        return CLEARNET_PEX_IDS if self._is_spoken_with(peer) else CLEARNET_IDS

    def received(self, peer: Peer, payload: bytes, now: float) -> None:
        """A peer told of others; what comes too often is not read.

        Raises:
            ProtocolError: It cannot be read.
        """
        if not self._is_spoken_with(peer):
            return
        exchange = self._exchanges.setdefault(peer.key, _Exchange())
        if exchange.heard_at is None or now - exchange.heard_at >= PEX_SECONDS - EARLY_SECONDS:
            exchange.heard_at = now
            named = [address for address, _ in UtPex.decode(payload).added]
            self._torrent.add_candidates(named, f"{Source.PEX}:{peer.key}")

    def remove_peer(self, peer: Peer) -> None:
        """A connection has ended."""
        self._exchanges.pop(peer.key, None)

    def tell(self, now: float) -> None:
        """Tell every peer whose minute is over what is new; call it every second."""
        connected = {
            peer.address: FLAG_REACHABLE | (FLAG_SEED if peer.is_seed else 0)
            for peer in self._torrent.peers.values()
            if peer.address is not None and is_ip_address(peer.address)
        }
        for peer in self._torrent.peers.values():
            if self._is_spoken_with(peer):
                exchange = self._exchanges.setdefault(peer.key, _Exchange())
                if exchange.told_at is None or now - exchange.told_at >= PEX_SECONDS:
                    self._tell(peer, exchange, connected, now)

    def _is_spoken_with(self, peer: Peer) -> bool:
        info = self._torrent.info
        is_public = info is not None and not info.private
        return is_public and peer.address is not None and is_ip_address(peer.address)

    def _tell(
        self, peer: Peer, exchange: _Exchange, connected: dict[PeerAddress, int], now: float
    ) -> None:
        fresh = [each for each in connected if each not in exchange.told and each != peer.address]
        added = fresh[:MAX_ENTRIES]
        gone = [address for address in exchange.told if address not in connected]
        dropped = gone[: MAX_ENTRIES - len(added)]
        if not added and not dropped:
            return
        message = UtPex(tuple((address, connected[address]) for address in added), tuple(dropped))
        if peer.wire.send_extended(message):
            exchange.told_at = now
            exchange.told.update(added)
            exchange.told.difference_update(dropped)
            peer.wake.ring()
