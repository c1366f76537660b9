"""What is known of one torrent: its info dictionary, its hash trees, and what peers lack of both.

Owns both exchanges, BEP 9 and the hash messages of BEP 52, and tells the torrent what they bring
about: it goes on, somebody lied, or the others are asked. A torrent of version 2 alone counts as
known only when its piece layers are here, for nothing can be verified without them.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from torrent_onion.core.metainfo import Info, TorrentFormat, parse_info
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.engine.hash_exchange import HashExchange
from torrent_onion.engine.metadata_exchange import MetadataExchange
from torrent_onion.engine.peer import Peer
from torrent_onion.errors import MetainfoError
from torrent_onion.policy.hash_fetch import HashAnswer
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import MetadataData, MetadataReject
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent


class TorrentMetadata:
    """The metadata of one torrent, on its way or here.

    Args:
        torrent: Whose it is; its info-hashes are known.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self._torrent = torrent
        self._exchange = MetadataExchange(torrent.info_hashes)
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

    def drop_stalled(self, now: float) -> None:
        """Ask others for what some peers do not send."""
        stalled = self._exchange.drop_stalled(now)
        if self._hashes is not None:
            stalled = self._hashes.drop_stalled(now) or stalled
        if stalled:
            self._ask_everybody(now)

    def _ask_everybody(self, now: float) -> None:
        for peer in self._torrent.peers.values():
            self.ask(peer, now)

    # BEP 9

    def peer_offers(self, peer: Peer, size: int, now: float) -> None:
        """The peer has an info dictionary of this many bytes."""
        self._exchange.peer_offers(peer, size, now)

    def rejected(self, peer: Peer, now: float) -> None:
        """The peer will not send the info dictionary."""
        if self._exchange.remove_peer(peer.key):
            self._ask_everybody(now)

    def received(self, peer: Peer, data: MetadataData, now: float) -> bool:
        """A block of the info dictionary came. Returns whether the peer was asked for it."""
        result = self._exchange.received(peer, data, now)
        for key in result.liars:
            self._torrent.culprits.ban(key)
        if result.raw is not None:
            self._whole(result.raw)
        elif result.is_answer:
            self._ask_everybody(now)
        return result.is_answer

    def _whole(self, raw: bytes) -> None:
        """The info dictionary is here, its hash verified."""
        try:
            info = parse_info(raw)
        except MetainfoError as error:  # its hash is right, so no other peer has a better one
            self._torrent.fail(error)
        else:
            self._torrent.metadata_known(info, {})

    def reply(self, piece: int) -> MetadataData | MetadataReject:
        """The answer to a peer's request for a block."""
        return self._exchange.reply(piece)

    # BEP 52

    def hashes_received(self, peer: Peer, hashes: Hashes, now: float) -> bool:
        """A part of a hash tree came. Returns whether anybody was asked for it."""
        answer = HashAnswer.UNASKED
        if self._hashes is not None:
            answer = self._hashes.received(peer, hashes, now)
        if answer is HashAnswer.WRONG:
            self._torrent.culprits.ban(peer.key)
        are_leaves = self._torrent.culprits.hashes_received(hashes)
        if answer is HashAnswer.UNASKED:
            return are_leaves
        self._torrent.check_when_verifiable()
        self._ask_everybody(now)
        return True

    def hashes_rejected(self, peer: Peer, reject: HashReject, now: float) -> None:
        """The peer will not send a part of a hash tree."""
        self._torrent.culprits.hashes_rejected(peer, reject)
        if self._hashes is not None and self._hashes.rejected(peer, reject):
            self._ask_everybody(now)

    async def answer(self, key: PeerKey, request: HashRequest, now: float) -> Hashes | HashReject:
        """The answer to a peer's request for hashes: see ``HashExchange.answer``.

        Raises:
            StorageError: The data that it asks about cannot be read.
        """
        if self._hashes is None:
            return HashReject(
                request.pieces_root,
                request.base_layer,
                request.index,
                request.length,
                request.proof_layers,
            )
        return await self._hashes.answer(
            key, request, self._torrent.storage, self._torrent.have, now
        )
