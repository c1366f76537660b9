"""The metadata of one torrent on its connections (BEP 9): fetched where unknown, else served."""

from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.metainfo import Info, parse_info
from torrent_onion.engine.metadata_fetch import MetadataFetch
from torrent_onion.engine.peer import Peer
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import (
    METADATA_BLOCK_SIZE,
    MetadataData,
    MetadataReject,
    MetadataRequest,
)

STALLED_SECONDS = 30.0
"""A peer that sends nothing of what it was asked for so long is asked no more."""


class MetadataExchange:
    """Both directions of BEP 9."""

    def __init__(self, info_hashes: InfoHashes) -> None:
        self._fetch: MetadataFetch | None = MetadataFetch(info_hashes)
        self._raw = b""
        self._heard: dict[PeerKey, float] = {}  # peers that were asked, and when they last sent

    @property
    def size(self) -> int | None:
        """Bytes of the info dictionary; None until it is known."""
        return len(self._raw) or None

    def known(self, info: Info) -> None:
        """The metadata is here: from now on it is served."""
        self._raw = info.raw
        self._fetch = None
        self._heard.clear()

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

    def remove_peer(self, key: PeerKey) -> None:
        """The peer is gone, or did not want to."""
        self._heard.pop(key, None)
        if self._fetch is not None:
            self._fetch.remove_peer(key)

    def ask(self, peer: Peer, now: float) -> None:
        """Ask the peer for what is missing and not yet asked for."""
        if self._fetch is None:
            return
        for piece in self._fetch.requests_for(peer.key):
            self._heard.setdefault(peer.key, now)
            peer.wire.send_extended(MetadataRequest(piece))
            peer.wake.ring()

    def received(
        self, peer: Peer, data: MetadataData, now: float
    ) -> tuple[Info | None, frozenset[PeerKey]]:
        """A piece came.

        Returns:
            The metadata if that completed it, and the peers that are proven liars.

        Raises:
            MetainfoError: The whole has the right hash, and is no torrent that can be used.
        """
        if self._fetch is None:
            return None, frozenset()
        if self._fetch.is_asked(peer.key, data.piece):  # other data is no sign of life
            self._heard[peer.key] = now
        result = self._fetch.data_received(peer.key, data.piece, bytes(data.data))
        return (parse_info(result.raw) if result.raw is not None else None), result.liars

    def drop_stalled(self, now: float) -> bool:
        """Ask no more of peers that stopped answering. Returns whether there were any."""
        stalled = [key for key, heard in self._heard.items() if now - heard > STALLED_SECONDS]
        for key in stalled:
            self.remove_peer(key)
        return bool(stalled)
