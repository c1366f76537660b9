"""Hash trees of BEP 52: what is above the hashes of a file's 16 KiB blocks.

- Layer 0 holds the SHA-256 of every block (the leaves; hashing data is not done here), and a hash
  of each next layer covers two below it. The root, at ``tree_height``, names the file.
- A layer is kept as one ``bytes``, 32 bytes a hash, without what only balances the tree: leaves
  beyond the file's end are 32 zero bytes, and everything above them is ``pad_hash``.
- A piece layer is the one whose hashes cover a piece each. Files of at most one piece have none:
  their root says all.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from torrent_onion.core.piece_layout import BLOCK_SIZE

HASH_LENGTH: Final = 32
_PAIR_LENGTH: Final = 2 * HASH_LENGTH
_MAX_HEIGHT: Final = 63
"""More layers than any file with a 64-bit length has."""

NodeLookup = Callable[[int, int], bytes]
"""``node(layer, index)`` gives one hash of a tree."""


def _pad_hashes() -> tuple[bytes, ...]:
    hashes = [bytes(HASH_LENGTH)]
    for _ in range(_MAX_HEIGHT):
        hashes.append(sha256(hashes[-1] * 2).digest())
    return tuple(hashes)


_PAD_HASHES: Final = _pad_hashes()


def pad_hash(layer: int) -> bytes:
    """Return the hash that stands, in this layer, for a place wholly beyond the file's end."""
    return _PAD_HASHES[layer]


def num_leaves(file_length: int) -> int:
    """Return the number of leaves that a file has, padding not counted."""
    return -(-file_length // BLOCK_SIZE)


def tree_height(file_length: int) -> int:
    """Return the layer of a file's root; 0 for a file of one block."""
    return _height_over(num_leaves(file_length))


def piece_layer_height(piece_length: int) -> int:
    """Return the layer whose hashes cover a piece each.

    Args:
        piece_length: A power of two, at least 16 KiB.
    """
    return (piece_length // BLOCK_SIZE).bit_length() - 1


def root_over(hashes: bytes, *, layer: int = 0, height: int | None = None) -> bytes:
    """Return the hash above a run of hashes.

    Args:
        hashes: The run, 32 bytes each, at least one.
        layer: Where it lies.
        height: The layer of the hash to return; as low as it can be if None.

    Raises:
        ValueError: There are no hashes, or more than fit under ``height``.
    """
    lowest = layer + _height_over(len(hashes) // HASH_LENGTH)
    if not hashes or len(hashes) % HASH_LENGTH or (height is not None and height < lowest):
        raise ValueError("these hashes have no common root at that height")
    for at in range(layer, lowest if height is None else height):
        hashes = _layer_above(hashes, at)
    return hashes


def piece_layer(leaves: bytes, piece_length: int) -> bytes:
    """Return the piece layer of a file that is longer than one piece.

    Args:
        leaves: Hashes of all its blocks.
        piece_length: A power of two, at least 16 KiB.
    """
    for layer in range(piece_layer_height(piece_length)):
        leaves = _layer_above(leaves, layer)
    return leaves


def piece_root(leaves: bytes, *, file_length: int, piece_length: int) -> bytes:
    """Return what the blocks of a piece hash to: its place in the piece layer, or the file's root.

    Args:
        leaves: Hashes of the piece's blocks.
        file_length: Of the file that the piece belongs to.
        piece_length: A power of two, at least 16 KiB.
    """
    is_whole_file = file_length <= piece_length
    return root_over(leaves, height=None if is_whole_file else piece_layer_height(piece_length))


def root_of_piece_layer(layer: bytes, piece_length: int) -> bytes:
    """Return the root of a file, given its piece layer.

    Raises:
        ValueError: The layer is empty, or not made of whole hashes.
    """
    return root_over(layer, layer=piece_layer_height(piece_length))


class HashTree:
    """Every hash from one layer of a tree up to its root; twice the memory of that layer.

    Args:
        hashes: The lowest layer that is known, without padding.
        layer: Which one it is.
        height: The layer of the root; as low as it can be if None.

    Raises:
        ValueError: There are no hashes, or more than fit under ``height``.
    """

    __slots__ = ("_layers", "height", "layer")

    def __init__(self, hashes: bytes, *, layer: int = 0, height: int | None = None) -> None:
        lowest = layer + _height_over(len(hashes) // HASH_LENGTH)
        self.layer: Final = layer
        self.height: Final = lowest if height is None else height
        if not hashes or len(hashes) % HASH_LENGTH or self.height < lowest:
            raise ValueError("these hashes have no common root at that height")
        self._layers = [hashes]
        for at in range(layer, self.height):
            self._layers.append(_layer_above(self._layers[-1], at))

    @property
    def root(self) -> bytes:
        """The hash above all others."""
        return self._layers[-1]

    def node(self, layer: int, index: int) -> bytes:
        """Return one hash; padding where the file has ended.

        Raises:
            IndexError: The tree, padding included, has no such place, or it is not known.
        """
        if not self.layer <= layer <= self.height or not 0 <= index < 1 << (self.height - layer):
            raise IndexError(f"hash {index} of layer {layer}")
        start = index * HASH_LENGTH
        return self._layers[layer - self.layer][start : start + HASH_LENGTH] or pad_hash(layer)

    def with_piece(self, piece: int, leaves: bytes) -> NodeLookup:
        """Look deeper: this tree, whose lowest layer is the piece layer, and one piece below it.

        Raises:
            ValueError: The leaves are none, or not those of this piece.
        """
        below = HashTree(leaves, height=self.layer)
        if below.root != self.node(self.layer, piece):
            raise ValueError(f"these are not the leaves of piece {piece}")

        def node(layer: int, index: int) -> bytes:
            if layer >= self.layer:
                return self.node(layer, index)
            return below.node(layer, index - (piece << (self.layer - layer)))

        return node


def uncle_layers(base_layer: int, length: int, proof_layers: int) -> range:
    """Return the layers from which a ``hashes`` message has an uncle (BEP 52, "peer messages").

    Uncles that follow from the hashes themselves are left out though they are counted.
    """
    return range(base_layer + _height_over(length), base_layer + proof_layers + 1)


def hashes_and_proof(
    node: NodeLookup, *, height: int, base_layer: int, index: int, length: int, proof_layers: int
) -> tuple[bytes, ...]:
    """Return what answers a ``hash request``: the hashes asked for, then the uncles upwards.

    Args:
        node: The tree of the file that is asked about.
        height: The layer of its root.
        base_layer: Where the hashes are.
        index: The first of them, a multiple of ``length``.
        length: How many; a power of two, at least 2.
        proof_layers: Layers above ``base_layer`` that the proof covers.

    Raises:
        ValueError: Nobody should ask for that; reject it.
        IndexError: The tree has no such place, or it is not known; reject it.
    """
    if length < 2 or length & (length - 1) or index % length:  # noqa: PLR2004 - a pair
        raise ValueError("a run of hashes is as long as a power of two, and aligned to it")
    if base_layer < 0 or proof_layers < 0 or base_layer + proof_layers >= height:
        raise ValueError("the proof would leave the tree")
    if index + length > 1 << (height - base_layer):
        raise IndexError("the tree is not that wide")
    hashes = [node(base_layer, at) for at in range(index, index + length)]
    uncles = (
        node(layer, (index >> (layer - base_layer)) ^ 1)
        for layer in uncle_layers(base_layer, length, proof_layers)
    )
    return (*hashes, *uncles)


def proof_root(
    hashes: Sequence[bytes], *, base_layer: int, index: int, length: int, proof_layers: int
) -> bytes:
    """Return the hash that a ``hashes`` message leads up to; compare it with the one you know.

    With ``proof_layers`` of ``height - base_layer - 1`` that is the root of the file.

    Args:
        hashes: The hashes and the uncles, 32 bytes each.
        base_layer: Where the hashes are.
        index: The first of them, a multiple of ``length``.
        length: How many; a power of two, at least 2.
        proof_layers: Layers above ``base_layer`` that the proof covers.

    Raises:
        ValueError: There are too few or too many hashes for such an answer.
    """
    layers = uncle_layers(base_layer, length, proof_layers)
    if len(hashes) != length + len(layers):
        raise ValueError("a proof of the wrong length")
    root = root_over(b"".join(hashes[:length]), layer=base_layer)
    for layer, uncle in zip(layers, hashes[length:], strict=True):
        is_right = index >> (layer - base_layer) & 1
        root = sha256(uncle + root if is_right else root + uncle).digest()
    return root


def _height_over(count: int) -> int:
    """Return how many layers above ``count`` hashes their root is."""
    return max(count - 1, 0).bit_length()


def _layer_above(hashes: bytes, layer: int) -> bytes:
    if len(hashes) == _PAIR_LENGTH:  # the top of every tree
        return sha256(hashes).digest()
    if len(hashes) % _PAIR_LENGTH:
        hashes += pad_hash(layer)
    return b"".join(
        [
            sha256(hashes[start : start + _PAIR_LENGTH]).digest()
            for start in range(0, len(hashes), _PAIR_LENGTH)
        ]
    )
