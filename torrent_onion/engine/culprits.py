"""Who sent bad data: found out, and never talked to again.

A piece of a hash tree (BEP 52) is judged block by block, if somebody tells its leaves. Else the
picker knows who is suspect, and finds the guilty when the piece comes again. A ban is for an
address: who has left before the verdict is not dialled again either.
"""

from typing import TYPE_CHECKING

from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.engine.peer import Peer
from torrent_onion.policy.leaf_inquiry import LeafInquiry
from torrent_onion.policy.piece_download import PeerKey, PieceDownload
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

MAX_LEFT = 256
"""Peers that have left and may still be found guilty; the oldest is forgotten first."""


class Culprits:
    """Finds them, for one torrent.

    Args:
        torrent: Whose data it is.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self._torrent = torrent
        self._inquiry: LeafInquiry | None = None
        self._left: dict[PeerKey, PeerAddress] = {}

    def data_known(self, layers: PieceLayers) -> None:
        """The data is checked, and more is on its way."""
        self._inquiry = LeafInquiry(self._torrent.metadata.known_info.layout, layers)

    def piece_failed(self, download: PieceDownload, now: float) -> None:
        """A complete piece has the wrong hash."""
        asked = self._inquiry and self._inquiry.begin(download, self._knowing(download), now)
        if not asked:
            self._judge(download, frozenset())
            return
        request, keys = asked
        for key in keys:
            self._torrent.peers[key].send(request)

    def hashes_received(self, hashes: Hashes) -> bool:
        """Hashes came. Returns whether they are the leaves of a piece that failed."""
        found = self._inquiry and self._inquiry.received(hashes)
        if found:
            self._judge(*found)
        return bool(found)

    def hashes_rejected(self, peer: Peer, reject: HashReject) -> None:
        """A peer will not tell hashes."""
        request = HashRequest(
            reject.pieces_root,
            reject.base_layer,
            reject.index,
            reject.length,
            reject.proof_layers,
        )
        download = self._inquiry and self._inquiry.refused(peer.key, request)
        if download:
            self._judge(download, frozenset())

    def peer_gone(self, peer: Peer) -> None:
        """A connection has ended; what came over it may still turn out to be bad."""
        if peer.address is not None and peer.payload_received:
            self._left[peer.key] = peer.address
            if len(self._left) > MAX_LEFT:
                del self._left[next(iter(self._left))]
        if self._inquiry is not None:
            for download in self._inquiry.peer_gone(peer.key):
                self._judge(download, frozenset())

    def tick(self, now: float) -> None:
        """Wait no longer for those who do not answer; call it every second."""
        if self._inquiry is not None:
            for download in self._inquiry.expired(now):
                self._judge(download, frozenset())

    def ban(self, key: PeerKey) -> None:
        """Somebody lied: a peer, one that has left, or another source."""
        peer = self._torrent.peers.get(key)
        address = peer.address if peer is not None else self._left.get(key)
        if address is not None:
            self._torrent.pool.ban(address)
        for other in list(self._torrent.peers.values()):
            if other.key == key or (address is not None and other.address == address):
                other.close()
        if key in self._torrent.bans:
            self._torrent.bans[key]()

    def _judge(self, download: PieceDownload, bad_blocks: frozenset[int]) -> None:
        suspects = self._torrent.downloads.picker.piece_failed(download.index, bad_blocks)
        if bad_blocks or len(suspects) == 1:
            for key in suspects:
                self.ban(key)
        self._torrent.downloads.ask_everybody()

    def _knowing(self, download: PieceDownload) -> list[PeerKey]:
        """Peers that may know the leaves of a piece; who sent none of it comes first."""
        senders = set(download.contributors().values())
        keys = [
            key
            for key, peer in self._torrent.peers.items()
            if peer.knows_trees and peer.pieces is not None and peer.pieces[download.index]
        ]
        return sorted(keys, key=senders.__contains__)
