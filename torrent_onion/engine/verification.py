"""Is this piece the right one? For what peers sent and for what disks hold."""

import hashlib
from collections.abc import Iterable

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

    def __call__(self, index: int, parts: Iterable[memoryview]) -> bool:
        """Whether a piece, given part after part, is what the torrent says of piece ``index``.

        All parts of the piece's first file but the last are made of whole blocks.
        """
        expected = self._layers.piece_hash(index)
        if expected is not None:
            return self._tree_hash(index, parts) == expected
        if not self._info.piece_hashes:
            return False
        digest = PieceDigest(v1=True, tree_length=0)
        digest.update_all(parts)
        return digest.v1 == self._info.piece_hash(index)

    def _tree_hash(self, index: int, parts: Iterable[memoryview]) -> bytes:
        file, entry = self._layers.file_of_piece(index)
        begin = (index - self._info.layout.pieces_of_file(file).start) * self._info.piece_length
        # What follows the end of the file is padding, which is in no tree.
        digest = PieceDigest(v1=False, tree_length=entry.length - begin)
        digest.update_all(parts)
        return piece_root(
            digest.leaves, file_length=entry.length, piece_length=self._info.piece_length
        )


class PieceDigest:
    """Hashes one piece part after part, so that no piece need be in memory as a whole.

    Args:
        v1: Make the SHA-1 of BEP 3.
        tree_length: Bytes from the piece's beginning that are in its file's tree (BEP 52).
    """

    __slots__ = ("_leaves", "_sha1", "_tree_left")

    def __init__(self, *, v1: bool, tree_length: int) -> None:
        self._sha1 = hashlib.sha1(usedforsecurity=False) if v1 else None
        self._tree_left = tree_length
        self._leaves: list[bytes] = []

    def update_all(self, parts: Iterable[memoryview]) -> None:
        """Take the piece in order; parts in the tree, but for its last, are of whole blocks."""
        for part in parts:
            if self._sha1 is not None:
                self._sha1.update(part)
            if self._tree_left > 0:
                self._leaves.append(hash_blocks(part[: self._tree_left]))
                self._tree_left -= len(part)
            if self._sha1 is None and self._tree_left <= 0:
                return  # what follows is padding, which nothing is to be known of

    @property
    def v1(self) -> bytes:
        """The SHA-1 of the piece; empty where it was not wanted."""
        return self._sha1.digest() if self._sha1 is not None else b""

    @property
    def leaves(self) -> bytes:
        """SHA-256 of each of its blocks, joined."""
        return b"".join(self._leaves)


def hash_blocks(data: memoryview) -> bytes:
    """SHA-256 of every 16 KiB, joined: the leaves of BEP 52."""
    return b"".join(
        [
            hashlib.sha256(data[start : start + BLOCK_SIZE]).digest()
            for start in range(0, len(data), BLOCK_SIZE)
        ]
    )
