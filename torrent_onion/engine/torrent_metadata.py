"""What is known of one torrent: its info dictionary, its hash trees, and what peers lack of both.

Owns both exchanges, BEP 9 and the hash messages of BEP 52. A torrent of version 2 alone counts as
known only when its piece layers are here, for nothing can be verified without them.
"""

from collections.abc import Iterable, Mapping

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.metainfo import Info, TorrentFormat
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.engine.hash_exchange import HashExchange
from torrent_onion.engine.metadata_exchange import MetadataExchange
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.storage import Storage
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import MetadataData, MetadataReject
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest


class TorrentMetadata:
    """The metadata of one torrent, on its way or here."""

    def __init__(self, info_hashes: InfoHashes) -> None:
        self._exchange = MetadataExchange(info_hashes)
        self._hashes: HashExchange | None = None
        self._info: Info | None = None
        self._layers: PieceLayers | None = None

    @property
    def info(self) -> Info | None:
        """The info dictionary; None until it is known."""
        return self._info

    @property
    def known_info(self) -> Info:
        """The info dictionary, for whoever waited until it was known."""
        if self._info is None:
            raise RuntimeError("the metadata is not known yet")
        return self._info

    @property
    def layers(self) -> PieceLayers:
        """The piece layers, for whoever waited until the metadata was known."""
        if self._layers is None:
            raise RuntimeError("the metadata is not known yet")
        return self._layers

    @property
    def size(self) -> int | None:
        """Bytes of the info dictionary; None until it is known."""
        return self._exchange.size

    @property
    def is_verifiable(self) -> bool:
        """Whether every piece can be verified."""
        if self._info is None or self._layers is None:
            return False
        return self._info.format is not TorrentFormat.V2 or self._layers.is_complete

    def known(
        self, info: Info, piece_layers: Mapping[bytes, bytes], peers: Iterable[Peer], now: float
    ) -> None:
        """The info dictionary is here, with the layers of its file if it came in one."""
        self._info = info
        self._exchange.known(info)
        self._layers = PieceLayers(info, piece_layers)
        self._hashes = HashExchange(info, self._layers)
        for peer in peers:
            self._hashes.add_peer(peer, now)

    def add_peer(self, peer: Peer, now: float) -> None:
        """A peer may be asked for what is missing."""
        if self._hashes is not None:
            self._hashes.add_peer(peer, now)

    def remove_peer(self, key: PeerKey) -> None:
        """A peer is gone."""
        self._exchange.remove_peer(key)
        if self._hashes is not None:
            self._hashes.remove_peer(key)

    def ask(self, peer: Peer, now: float) -> None:
        """Ask the peer for whatever is missing and not yet asked for."""
        self._exchange.ask(peer, now)
        if self._hashes is not None:
            self._hashes.ask(peer, now)

    def drop_stalled(self, now: float) -> bool:
        """Ask no more of peers that stopped answering. Returns whether there were any."""
        stalled = self._exchange.drop_stalled(now)
        if self._hashes is not None:
            stalled = self._hashes.drop_stalled(now) or stalled
        return stalled

    # BEP 9

    def peer_offers(self, peer: Peer, size: int, now: float) -> None:
        """The peer has an info dictionary of this many bytes."""
        self._exchange.peer_offers(peer, size, now)

    def rejected(self, peer: Peer) -> None:
        """The peer will not send the info dictionary."""
        self._exchange.remove_peer(peer.key)

    def received(
        self, peer: Peer, data: MetadataData, now: float
    ) -> tuple[Info | None, frozenset[PeerKey]]:
        """A block of the info dictionary came: see ``MetadataExchange.received``."""
        return self._exchange.received(peer, data, now)

    def reply(self, piece: int) -> MetadataData | MetadataReject:
        """The answer to a peer's request for a block."""
        return self._exchange.reply(piece)

    # BEP 52

    def hashes_received(self, peer: Peer, hashes: Hashes, now: float) -> bool:
        """A part of a hash tree came. Returns False when it is wrong, so that the peer lied."""
        return self._hashes is None or self._hashes.received(peer, hashes, now)

    def hashes_rejected(self, peer: Peer, reject: HashReject) -> None:
        """The peer will not send a part of a hash tree."""
        if self._hashes is not None:
            self._hashes.rejected(peer, reject)

    async def answer(
        self, request: HashRequest, storage: Storage | None, have: Bitfield | None
    ) -> Hashes | HashReject:
        """The answer to a peer's request for hashes: see ``HashExchange.answer``."""
        if self._hashes is None:
            return HashReject(
                request.pieces_root,
                request.base_layer,
                request.index,
                request.length,
                request.proof_layers,
            )
        return await self._hashes.answer(request, storage, have)
