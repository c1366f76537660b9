"""The piece layers of a v2 or hybrid torrent that are known so far (BEP 52 "piece layers").

- A file of at most one piece needs none: its root is the hash of its only piece.
- A layer is only taken when it leads to the root that the info dictionary names, so what is here
  is always right.
"""

from collections.abc import Mapping

from torrent_onion.core.merkle import (
    HASH_LENGTH,
    HashTree,
    piece_layer_height,
    root_of_piece_layer,
    tree_height,
)
from torrent_onion.core.metainfo import FileEntry, Info


class PieceLayers:
    """Which piece has which hash in its file's tree.

    Args:
        info: A torrent; one of version 1 alone has no layers and lacks none.
        known: Layers by root, checked already.
    """

    def __init__(self, info: Info, known: Mapping[bytes, bytes]) -> None:
        self._info = info
        self._layers = dict(known)
        self._files = {
            entry.pieces_root: entry
            for entry in info.files
            if entry.pieces_root is not None and entry.length > info.piece_length
        }
        self._missing = {root for root in self._files if root not in self._layers}
        self._tree: tuple[bytes, HashTree] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the hash of every piece is known."""
        return not self._missing

    @property
    def layers(self) -> Mapping[bytes, bytes]:
        """The layers that are known, by root."""
        return self._layers

    def missing(self) -> list[bytes]:
        """Return the roots whose layers are not known, in a fixed order."""
        return sorted(self._missing)

    def num_pieces(self, root: bytes) -> int:
        """Return the number of pieces of a file.

        Raises:
            KeyError: No file with a layer has this root.
        """
        return -(-self._files[root].length // self._info.piece_length)

    def height(self, root: bytes) -> int:
        """Return the layer of a file's root; the same error."""
        return tree_height(self._files[root].length)

    @property
    def base_layer(self) -> int:
        """The number of the layer whose hashes cover a piece each."""
        return piece_layer_height(self._info.piece_length)

    def add(self, root: bytes, layer: bytes) -> None:
        """Take a layer.

        Raises:
            ValueError: It is not the layer of a file with this root.
            KeyError: No file with a layer has this root.
        """
        wrong_size = len(layer) != self.num_pieces(root) * HASH_LENGTH
        if wrong_size or root_of_piece_layer(layer, self._info.piece_length) != root:
            raise ValueError("this piece layer does not lead to its root")
        self._layers[root] = layer
        self._missing.discard(root)

    def piece_hash(self, index: int) -> bytes | None:
        """Return what the blocks of a piece must hash to (``merkle.piece_root``).

        Returns:
            None where the layer is not known, or the torrent has none.

        Raises:
            IndexError: There is no such piece.
        """
        file, entry = self.file_of_piece(index)
        if entry.pieces_root is None or entry.length <= self._info.piece_length:
            return entry.pieces_root
        layer = self._layers.get(entry.pieces_root)
        if layer is None:
            return None
        start = (index - self._info.layout.pieces_of_file(file).start) * HASH_LENGTH
        return layer[start : start + HASH_LENGTH]

    def file_of_piece(self, index: int) -> tuple[int, FileEntry]:
        """Return the file that a piece begins with; in version 2 there is no other.

        Raises:
            IndexError: There is no such piece.
        """
        if not 0 <= index < self._info.layout.num_pieces:
            raise IndexError(f"piece {index}")
        file = self._info.layout.spans(index, 0, 1)[0].file
        return file, self._info.files[file]

    def tree(self, root: bytes) -> HashTree | None:
        """Return the tree above a known layer; the latest is kept, for requests come in runs."""
        if self._tree is not None and self._tree[0] == root:
            return self._tree[1]
        layer = self._layers.get(root)
        if layer is None:
            return None
        tree = HashTree(layer, layer=self.base_layer, height=self.height(root))
        self._tree = (root, tree)
        return tree
