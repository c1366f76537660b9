"""The metadata of one torrent on its connections (BEP 9): fetched where unknown, else served."""

from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.metainfo import Info
from torrent_onion.engine.metadata_fetch import UNASKED, MetadataFetch, MetadataResult
from torrent_onion.engine.peer import Peer
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import (
    METADATA_BLOCK_SIZE,
    MetadataData,
    MetadataReject,
    MetadataRequest,
)


class MetadataExchange:
    """Both directions of BEP 9."""

    def __init__(self, info_hashes: InfoHashes) -> None:
        self._fetch: MetadataFetch | None = MetadataFetch(info_hashes)
        self._raw = b""

    @property
    def size(self) -> int | None:
        """Bytes of the info dictionary; None until it is known."""
        return len(self._raw) or None

    def known(self, info: Info) -> None:
        """The metadata is here: from now on it is served."""
        self._raw = info.raw
        self._fetch = None

    def reply(self, piece: int) -> MetadataData | MetadataReject:
        """The answer to a peer's request."""
        start = piece * METADATA_BLOCK_SIZE
        if start >= len(self._raw):
            return MetadataReject(piece)
        return MetadataData(piece, len(self._raw), self._raw[start : start + METADATA_BLOCK_SIZE])

    def peer_offers(self, peer: Peer, size: int, now: float) -> None:
        """The peer has metadata of this many bytes."""
        if self._fetch is not None:
            self._fetch.peer_offers(peer.key, size)
            self.ask(peer, now)

    def remove_peer(self, key: PeerKey) -> bool:
        """The peer is gone, or did not want to. Returns whether it had offered anything."""
        return self._fetch is not None and self._fetch.remove_peer(key)

    def ask(self, peer: Peer, now: float) -> None:
        """Ask the peer for what is missing and not yet asked for."""
        if self._fetch is None:
            return
        for piece in self._fetch.requests_for(peer.key, now):
            peer.wire.send_extended(MetadataRequest(piece))
            peer.wake.ring()

    def received(self, peer: Peer, data: MetadataData, now: float) -> MetadataResult:
        """A piece came."""
        if self._fetch is None:
            return UNASKED
        return self._fetch.data_received(peer.key, data.piece, bytes(data.data), now)

    def drop_stalled(self, now: float) -> bool:
        """Ask no more of peers that keep others waiting. Returns whether to ask everybody now."""
        if self._fetch is None:
            return False
        self._fetch.drop_stalled(now)
        return True  # what somebody owes for long is asked of others as well
