"""Several connections to one onion peer, each on a circuit of its own: the plan carried out.

To the peer they are ordinary peers. One of ours on the other side counts them as one person by the
``stripe`` token in our extension handshake, which is new for every torrent and start.
"""

import trio

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.torrent import Torrent
from torrent_onion.policy.circuit_plan import CircuitPlan, Sample

DECIDE_SECONDS = 0.1
"""How often the plan is asked: a transfer of a few seconds is to profit too."""


class Stripes:
    """The circuits of one torrent to the peers that it dialled.

    Args:
        torrent: Whose peers they are.
    """

    def __init__(self, torrent: Torrent) -> None:
        self._torrent = torrent
        self._plan = CircuitPlan(torrent.settings.circuits)

    def connected(self, peer: Peer) -> None:
        """A handshake is done."""
        if _is_onion(peer):
            self._plan.connected(_address(peer), peer.key, trio.current_time())

    def closed(self, peer: Peer) -> None:
        """A connection has ended, whether its handshake was done or not."""
        if _is_onion(peer):
            self._plan.closed(_address(peer), peer.key, trio.current_time())

    def failed(self, address: PeerAddress) -> None:
        """One more connection to a peer could not be made, or came to no handshake."""
        self._plan.failed(address, trio.current_time())

    def decide(self) -> tuple[PeerAddress, ...]:
        """Close what brings nothing.

        Returns:
            Peers to make one more connection to.
        """
        peers = self._torrent.peers
        samples = {
            peer.key: Sample(
                _address(peer),
                peer.payload_received,
                busy=not peer.peer_choking and peer.requests.outstanding > 0,
            )
            for peer in peers.values()
            if _is_onion(peer)
        }
        decision = self._plan.decide(
            trio.current_time(), samples, left=self._torrent.downloads.left
        )
        for key in decision.close:
            peers[key].close()
        return decision.open


def _is_onion(peer: Peer) -> bool:
    return peer.address is not None and peer.address.is_onion


def _address(peer: Peer) -> PeerAddress:
    if peer.address is None:
        raise ValueError("nobody knows who dialled us")
    return peer.address
