"""Is this piece the right one? For what peers sent and for what disks hold."""

import hashlib

from torrent_onion.core.merkle import piece_root
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.core.piece_layout import BLOCK_SIZE


class PieceVerifier:
    """Verifies the pieces of one torrent; safe to call from several threads at once.

    By its hash tree (BEP 52) where that is known, for SHA-256 is the stronger; else by the SHA-1 of
    BEP 3. A piece of which neither is known is never called right.
    """

    def __init__(self, info: Info, layers: PieceLayers) -> None:
        self._info = info
        self._layers = layers

    def __call__(self, index: int, data: memoryview) -> bool:
        """Whether ``data`` hashes to what the torrent says of piece ``index``."""
        expected = self._layers.piece_hash(index)
        if expected is not None:
            return self._tree_hash(index, data) == expected
        if not self._info.piece_hashes:
            return False
        return hashlib.sha1(data, usedforsecurity=False).digest() == self._info.piece_hash(index)

    def _tree_hash(self, index: int, data: memoryview) -> bytes:
        file, entry = self._layers.file_of_piece(index)
        begin = (index - self._info.layout.pieces_of_file(file).start) * self._info.piece_length
        # What follows the end of the file is padding, which is in no tree.
        return piece_root(
            hash_blocks(data[: entry.length - begin]),
            file_length=entry.length,
            piece_length=self._info.piece_length,
        )


def hash_blocks(data: memoryview) -> bytes:
    """SHA-256 of every 16 KiB, joined: the leaves of BEP 52."""
    return b"".join(
        [
            hashlib.sha256(data[start : start + BLOCK_SIZE]).digest()
            for start in range(0, len(data), BLOCK_SIZE)
        ]
    )
