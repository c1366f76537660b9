"""The hash trees of a v2 torrent on its connections (BEP 52): fetched if unknown, else served."""

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.merkle import (
    HashTree,
    NodeLookup,
    hashes_and_proof,
    num_leaves,
    tree_height,
)
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.engine.leaf_reads import LeafReads
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.storage import Storage
from torrent_onion.policy.hash_fetch import HashAnswer, HashFetch
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest

STALLED_SECONDS = 30.0
"""A peer that answers nothing for so long is asked no more."""


class HashExchange:
    """Both directions of BEP 52's hash messages for one torrent."""

    def __init__(self, info: Info, layers: PieceLayers) -> None:
        self._layout = info.layout
        self._roots = {
            entry.pieces_root: file
            for file, entry in enumerate(info.files)
            if entry.pieces_root is not None
        }
        self._lengths = [entry.length for entry in info.files]
        self._layers = layers
        self._fetch = HashFetch(layers)
        self._heard: dict[PeerKey, float] = {}
        self._leaf_reads = LeafReads()

    def add_peer(self, peer: Peer, now: float) -> None:
        """A peer may be asked."""
        self._fetch.add_peer(peer.key)
        self.ask(peer, now)

    def remove_peer(self, key: PeerKey) -> None:
        """The peer is gone."""
        self._stop_asking(key)
        self._leaf_reads.remove_peer(key)

    def _stop_asking(self, key: PeerKey) -> None:
        self._heard.pop(key, None)
        self._fetch.remove_peer(key)

    def ask(self, peer: Peer, now: float) -> None:
        """Ask the peer for what is missing and not yet asked for."""
        for request in self._fetch.requests_for(peer.key):
            self._heard.setdefault(peer.key, now)
            peer.send(request)

    def rejected(self, peer: Peer, reject: HashReject) -> bool:
        """The peer will not answer. Returns whether it was asked."""
        request = HashRequest(
            reject.pieces_root,
            reject.base_layer,
            reject.index,
            reject.length,
            reject.proof_layers,
        )
        return self._fetch.rejected(peer.key, request)

    def received(self, peer: Peer, hashes: Hashes, now: float) -> HashAnswer:
        """Hashes came."""
        answer = self._fetch.received(peer.key, hashes)
        if answer is not HashAnswer.UNASKED:
            self._heard[peer.key] = now
        return answer

    def drop_stalled(self, now: float) -> bool:
        """Ask no more of peers that stopped answering. Returns whether there were any."""
        stalled = [key for key, heard in self._heard.items() if now - heard > STALLED_SECONDS]
        for key in stalled:
            self._stop_asking(key)
        return bool(stalled)

    async def answer(
        self,
        key: PeerKey,
        request: HashRequest,
        storage: Storage | None,
        have: Bitfield | None,
        now: float,
    ) -> Hashes | HashReject:
        """What a peer's request is answered with.

        Hashes below the piece layer are made from the data on disk, one piece at most, and no more
        than the peer's budget allows.

        Args:
            key: The peer.
            request: What it asks for.
            storage: Where the data is, once it is known.
            have: The pieces that are there.
            now: Seconds.

        Raises:
            StorageError: The data cannot be read.
        """
        fields = (
            request.pieces_root,
            request.base_layer,
            request.index,
            request.length,
            request.proof_layers,
        )
        file = self._roots.get(request.pieces_root)
        if file is None or not request.is_within_limits:
            return HashReject(*fields)
        node = await self._node_lookup(key, request, file, storage=storage, have=have, now=now)
        if node is None:
            return HashReject(*fields)
        try:
            hashes = hashes_and_proof(
                node,
                height=tree_height(self._lengths[file]),
                base_layer=request.base_layer,
                index=request.index,
                length=request.length,
                proof_layers=request.proof_layers,
            )
        except (ValueError, IndexError):
            return HashReject(*fields)
        return Hashes(*fields, hashes)

    async def _node_lookup(
        self,
        key: PeerKey,
        request: HashRequest,
        file: int,
        *,
        storage: Storage | None,
        have: Bitfield | None,
        now: float,
    ) -> NodeLookup | None:
        """The tree to answer from; None where what is asked for is not known, or too much."""
        tree = self._layers.tree(request.pieces_root)
        if tree is not None and request.base_layer >= self._layers.base_layer:
            return tree.node
        if storage is None or have is None or request.base_layer >= self._layers.base_layer:
            return None
        blocks = self._layout.piece_length // BLOCK_SIZE
        piece_in_file = (request.index << request.base_layer) // blocks
        pieces = self._layout.pieces_of_file(file)
        if piece_in_file >= len(pieces) or not have[pieces[piece_in_file]]:
            return None
        index = pieces[piece_in_file]
        leaves = await self._leaf_reads.read(
            key, index, self._layout.piece_size(index), storage=storage, now=now
        )
        if leaves is None:
            return None
        if tree is None:
            return HashTree(leaves).node if num_leaves(self._lengths[file]) > 1 else None
        return tree.with_piece(piece_in_file, leaves)
