"""Which blocks of a bad piece are bad: its leaves are asked of others (BEP 52, "hash request").

- Only where a piece has a place in a hash tree, and more than one block. Pieces of more than 512
  blocks (8 MiB) are not asked about, for no request may be longer.
- Whatever comes is proven against the hash of the piece, so it does not matter who sends it.
- A few peers are asked at once. Without an answer in ``ANSWER_SECONDS``, or when all have refused,
  the piece is judged without: by who sent parts of it (``bad_data.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from torrent_onion.core.merkle import HASH_LENGTH, num_leaves, proof_root, tree_height
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.core.piece_layout import BLOCK_SIZE, PieceLayout
from torrent_onion.policy.piece_download import PeerKey, PieceDownload
from torrent_onion.protocol.hash_messages import MAX_HASHES, Hashes, HashRequest

ANSWER_SECONDS: Final = 15.0
"""Several round trips through Tor; the piece waits that long at most."""
MAX_ASKED: Final = 4
"""Peers asked about one piece."""
MIN_HASHES: Final = 2
"""BEP 52 has no shorter run."""


@dataclass(slots=True)
class _Open:
    """A piece that waits for its leaves."""

    download: PieceDownload
    request: HashRequest
    until: float
    asked: set[PeerKey]


class LeafInquiry:
    """The bad pieces that wait for their leaves.

    Args:
        layout: Of the torrent.
        layers: What its pieces must hash to.
    """

    def __init__(self, layout: PieceLayout, layers: PieceLayers) -> None:
        self._layout = layout
        self._layers = layers
        self._open: dict[HashRequest, _Open] = {}

    def begin(
        self, download: PieceDownload, peers: Iterable[PeerKey], now: float
    ) -> tuple[HashRequest, list[PeerKey]] | None:
        """Take a piece that failed.

        Args:
            download: It is complete, and stays as it is until it is given back.
            peers: Who may know its leaves, those first who are asked first.
            now: The time.

        Returns:
            What to ask of whom; None where there is nothing or nobody to ask.
        """
        request = self._request(download.index)
        if request is None:
            return None
        asked = list(peers)[:MAX_ASKED]
        if not asked:
            return None
        self._open[request] = _Open(download, request, now + ANSWER_SECONDS, set(asked))
        return request, asked

    def received(self, hashes: Hashes) -> tuple[PieceDownload, frozenset[int]] | None:
        """Hashes came.

        Returns:
            A piece and the numbers of its bad blocks; None where this is no answer, or a wrong one.
        """
        inquiry = self._open.get(_request_of(hashes))
        if inquiry is None or not self._is_proven(inquiry.download.index, hashes):
            return None
        del self._open[inquiry.request]
        return inquiry.download, self._bad_blocks(inquiry.download, hashes.hashes)

    def refused(self, peer: PeerKey, request: HashRequest) -> PieceDownload | None:
        """A peer will not answer. Returns the piece if nobody else was asked."""
        inquiry = self._open.get(request)
        if inquiry is None:
            return None
        inquiry.asked.discard(peer)
        return None if inquiry.asked else self._open.pop(request).download

    def peer_gone(self, peer: PeerKey) -> list[PieceDownload]:
        """A peer has left. Returns the pieces about which nobody else was asked."""
        left = (self.refused(peer, request) for request in list(self._open))
        return [download for download in left if download is not None]

    def expired(self, now: float) -> list[PieceDownload]:
        """Give back the pieces that have waited long enough."""
        late = [request for request, inquiry in self._open.items() if now > inquiry.until]
        return [self._open.pop(request).download for request in late]

    def _request(self, piece: int) -> HashRequest | None:
        if self._layers.piece_hash(piece) is None:
            return None
        file, entry = self._layers.file_of_piece(piece)
        if entry.pieces_root is None:
            return None
        place = piece - self._layout.pieces_of_file(file).start
        base, height = self._layers.base_layer, tree_height(entry.length)
        length = 1 << min(base, height)
        if not MIN_HASHES <= length <= MAX_HASHES:
            return None
        return HashRequest(entry.pieces_root, 0, place * length, length, 0)

    def _is_proven(self, piece: int, hashes: Hashes) -> bool:
        try:
            found = proof_root(
                hashes.hashes,
                base_layer=0,
                index=hashes.index,
                length=hashes.length,
                proof_layers=0,
            )
        except ValueError:
            return False
        return found == self._layers.piece_hash(piece)

    def _bad_blocks(self, download: PieceDownload, leaves: tuple[bytes, ...]) -> frozenset[int]:
        """Compare block by block; what follows the file's end is padding, which is in no tree."""
        file, entry = self._layers.file_of_piece(download.index)
        place = download.index - self._layout.pieces_of_file(file).start
        length = min(download.size, entry.length - place * self._layout.piece_length)
        data = memoryview(download.buffer)[:length]
        return frozenset(
            number
            for number in range(num_leaves(length))
            if sha256(data[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]).digest()
            != leaves[number][:HASH_LENGTH]
        )


def _request_of(hashes: Hashes) -> HashRequest:
    return HashRequest(
        hashes.pieces_root, hashes.base_layer, hashes.index, hashes.length, hashes.proof_layers
    )
