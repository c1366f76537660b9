"""Peers outside Tor that tell each other of peers outside Tor: ``ut_pex`` (BEP 11).

It is offered to peers with an IP address only, names only such peers, of those that we are
connected to, and so never an onion nor us. Each is told at most once a minute, of at most 50, and
heard as often; what it names is a candidate and no more. A torrent that is private (BEP 27), or may
be because its metadata is not here yet, does not even offer it.
"""

from typing import TYPE_CHECKING

from torrent_onion.engine.onion_exchange import is_behind_onion
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_exchange import PeerExchange
from torrent_onion.policy.peer_pool import Source
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.compact_peers import is_ip_address
from torrent_onion.protocol.extensions import CLEARNET_IDS, CLEARNET_PEX_IDS, OFFERED_IDS
from torrent_onion.protocol.ut_pex import FLAG_REACHABLE, FLAG_SEED, UtPex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torrent_onion.engine.torrent import Torrent


class ClearnetExchange:
    """The peer exchange of one torrent with those outside Tor.

    Args:
        torrent: Whose it is.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self._torrent = torrent
        self._exchanges: dict[PeerKey, PeerExchange] = {}

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
        if self._exchange(peer).may_be_heard(now):
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
            if self._is_spoken_with(peer) and (exchange := self._exchange(peer)).is_due(now):
                exchange.tell(peer, peer.address, connected, UtPex, now)

    def _exchange(self, peer: Peer) -> PeerExchange:
        return self._exchanges.setdefault(peer.key, PeerExchange())

    def _is_spoken_with(self, peer: Peer) -> bool:
        info = self._torrent.info
        is_public = info is not None and not info.private
        return is_public and peer.address is not None and is_ip_address(peer.address)
