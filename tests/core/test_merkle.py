from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.merkle import (
    HASH_LENGTH,
    HashTree,
    hashes_and_proof,
    num_leaves,
    pad_hash,
    piece_layer,
    piece_layer_height,
    piece_root,
    proof_root,
    root_of_piece_layer,
    root_over,
    tree_height,
    uncle_layers,
)
from torrent_onion.core.piece_layout import BLOCK_SIZE

KIB = 1024
leaf_counts = st.integers(1, 40)
piece_lengths = st.sampled_from([16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB])


def leaves_of(count: int) -> bytes:
    return b"".join(sha256(bytes([n])).digest() for n in range(count))


def split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_LENGTH] for at in range(0, len(hashes), HASH_LENGTH)]


def slow_root(hashes: list[bytes]) -> bytes:
    """BEP 52 as it is written: zero leaves up to a power of two, then pair by pair."""
    while len(hashes) & (len(hashes) - 1):
        hashes = [*hashes, bytes(HASH_LENGTH)]
    while len(hashes) > 1:
        hashes = [
            sha256(left + right).digest()
            for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def test_pad_hashes() -> None:
    assert pad_hash(0) == bytes(32)
    assert pad_hash(1) == sha256(bytes(64)).digest()
    assert pad_hash(3) == slow_root([bytes(32)] * 8)


@pytest.mark.parametrize(
    ("length", "leaves", "height"),
    [
        (0, 0, 0),
        (1, 1, 0),
        (BLOCK_SIZE, 1, 0),
        (BLOCK_SIZE + 1, 2, 1),
        (2 * BLOCK_SIZE, 2, 1),
        (2 * BLOCK_SIZE + 1, 3, 2),
        (4 * BLOCK_SIZE, 4, 2),
        (5 * BLOCK_SIZE, 5, 3),
    ],
)
def test_size_of_a_tree(length: int, leaves: int, height: int) -> None:
    assert num_leaves(length) == leaves
    assert tree_height(length) == height


@pytest.mark.parametrize(("length", "height"), [(16 * KIB, 0), (32 * KIB, 1), (1024 * KIB, 6)])
def test_height_of_the_piece_layer(length: int, height: int) -> None:
    assert piece_layer_height(length) == height


@given(leaf_counts)
def test_root_is_that_of_the_padded_leaves(count: int) -> None:
    leaves = leaves_of(count)
    assert root_over(leaves) == slow_root(split(leaves))


@given(leaf_counts, st.integers(0, 3))
def test_root_at_a_height_is_padded_up_to_it(count: int, above: int) -> None:
    leaves = leaves_of(count)
    height = tree_height(count * BLOCK_SIZE) + above
    padded = split(leaves) + [bytes(32)] * ((1 << height) - count)
    assert root_over(leaves, height=height) == slow_root(padded)


@given(leaf_counts, piece_lengths)
def test_piece_layer_leads_to_the_root(count: int, piece_length: int) -> None:
    leaves = leaves_of(count)
    file_length = (count - 1) * BLOCK_SIZE + 1
    per_piece = piece_length // BLOCK_SIZE
    pieces = [
        leaves[at * HASH_LENGTH : (at + per_piece) * HASH_LENGTH]
        for at in range(0, count, per_piece)
    ]
    roots = [
        piece_root(piece, file_length=file_length, piece_length=piece_length) for piece in pieces
    ]
    if file_length <= piece_length:
        assert roots == [root_over(leaves)]
    else:
        layer = piece_layer(leaves, piece_length)
        assert split(layer) == roots
        assert root_of_piece_layer(layer, piece_length) == root_over(leaves)


@pytest.mark.parametrize("hashes", [b"", bytes(31), bytes(33)])
def test_no_whole_hashes(hashes: bytes) -> None:
    with pytest.raises(ValueError, match="no common root"):
        root_over(hashes)
    with pytest.raises(ValueError, match="no common root"):
        HashTree(hashes)


def test_more_hashes_than_fit() -> None:
    with pytest.raises(ValueError, match="no common root"):
        root_over(leaves_of(5), height=2)
    with pytest.raises(ValueError, match="no common root"):
        HashTree(leaves_of(5), height=2)


@given(leaf_counts)
def test_tree_has_every_node(count: int) -> None:
    leaves = leaves_of(count)
    tree = HashTree(leaves)
    padded = split(leaves) + [bytes(32)] * ((1 << tree.height) - count)
    assert tree.root == root_over(leaves)
    for layer in range(tree.height + 1):
        width = 1 << layer
        assert [tree.node(layer, at) for at in range(1 << (tree.height - layer))] == [
            slow_root(padded[at : at + width]) for at in range(0, len(padded), width)
        ]


@pytest.mark.parametrize(("layer", "index"), [(-1, 0), (3, 0), (0, 4), (0, -1), (2, 1)])
def test_places_that_a_tree_does_not_have(layer: int, index: int) -> None:
    tree = HashTree(leaves_of(3))
    assert tree.node(0, 3) == bytes(32)
    with pytest.raises(IndexError):
        tree.node(layer, index)


def test_places_below_what_is_known() -> None:
    tree = HashTree(leaves_of(3), layer=2)
    assert (tree.layer, tree.height) == (2, 4)
    assert tree.node(2, 3) == pad_hash(2)
    with pytest.raises(IndexError):
        tree.node(1, 0)


@st.composite
def hash_requests(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Leaves of a file, and a right request for some of its hashes, proven up to the root."""
    count = draw(st.integers(2, 40))
    height = tree_height(count * BLOCK_SIZE)
    base_layer = draw(st.integers(0, height - 1))
    length = 1 << draw(st.integers(1, height - base_layer))
    index = length * draw(st.integers(0, (1 << (height - base_layer)) // length - 1))
    return count, base_layer, index, length, height - base_layer - 1


@given(hash_requests())
def test_a_proof_leads_to_the_root(request: tuple[int, int, int, int, int]) -> None:
    count, base_layer, index, length, proof_layers = request
    tree = HashTree(leaves_of(count))
    answer = hashes_and_proof(
        tree.node,
        height=tree.height,
        base_layer=base_layer,
        index=index,
        length=length,
        proof_layers=proof_layers,
    )
    # One uncle for each layer between the run's own root and the file's (BEP 52).
    assert len(answer) == length + (tree.height - base_layer) - (length.bit_length() - 1)
    fields = {
        "base_layer": base_layer,
        "index": index,
        "length": length,
        "proof_layers": proof_layers,
    }
    assert proof_root(answer, **fields) == tree.root
    for place in range(len(answer)):
        forged = [*answer]
        forged[place] = bytes([forged[place][0] ^ 1]) + forged[place][1:]
        assert proof_root(forged, **fields) != tree.root
    for wrong in (answer[1:], (*answer, bytes(32))):
        with pytest.raises(ValueError, match="length"):
            proof_root(wrong, **fields)


@given(hash_requests(), st.data())
def test_a_shorter_proof_leads_to_a_hash_below_the_root(
    request: tuple[int, int, int, int, int], data: st.DataObject
) -> None:
    count, base_layer, index, length, most = request
    proof_layers = data.draw(st.integers(0, most))
    tree = HashTree(leaves_of(count))
    answer = hashes_and_proof(
        tree.node,
        height=tree.height,
        base_layer=base_layer,
        index=index,
        length=length,
        proof_layers=proof_layers,
    )
    reached = max(base_layer + proof_layers + 1, base_layer + length.bit_length() - 1)
    root = proof_root(
        answer, base_layer=base_layer, index=index, length=length, proof_layers=proof_layers
    )
    assert root == tree.node(reached, index >> (reached - base_layer))


@pytest.mark.parametrize(
    ("base_layer", "index", "length", "proof_layers", "problem"),
    [
        (0, 0, 0, 0, ValueError),
        (0, 0, 1, 0, ValueError),
        (0, 0, 3, 0, ValueError),
        (0, 1, 2, 0, ValueError),
        (0, 2, 4, 0, ValueError),
        (0, 0, 2, 3, ValueError),
        (0, 0, 2, -1, ValueError),
        (3, 0, 2, 0, ValueError),
        (-1, 0, 2, 0, ValueError),
        (0, 8, 8, 0, IndexError),
        (0, 0, 16, 0, IndexError),
        (0, -2, 2, 0, IndexError),
        (2, 2, 2, 0, IndexError),
    ],
)
def test_requests_to_reject(
    base_layer: int, index: int, length: int, proof_layers: int, problem: type[Exception]
) -> None:
    tree = HashTree(leaves_of(7))
    with pytest.raises(problem):
        hashes_and_proof(
            tree.node,
            height=tree.height,
            base_layer=base_layer,
            index=index,
            length=length,
            proof_layers=proof_layers,
        )


def test_known_answer() -> None:
    """Two of eight leaves: their sibling pair, then the other half."""
    leaves = leaves_of(8)
    tree = HashTree(leaves)
    answer = hashes_and_proof(tree.node, height=3, base_layer=0, index=2, length=2, proof_layers=2)
    assert answer == (
        leaves[64:96],
        leaves[96:128],
        sha256(leaves[:64]).digest(),
        root_over(leaves[128:]),
    )
    assert list(uncle_layers(0, 2, 2)) == [1, 2]
    assert list(uncle_layers(0, 4, 2)) == [2]
    assert list(uncle_layers(0, 8, 2)) == []


@given(st.integers(2, 40), st.sampled_from([32 * KIB, 64 * KIB]), st.data())
def test_leaves_are_proven_with_one_piece_and_the_piece_layer(
    count: int, piece_length: int, data: st.DataObject
) -> None:
    leaves = leaves_of(count)
    per_piece = piece_length // BLOCK_SIZE
    if count <= per_piece:
        return
    whole = HashTree(leaves)
    upper = HashTree(piece_layer(leaves, piece_length), layer=piece_layer_height(piece_length))
    piece = data.draw(st.integers(0, (count - 1) // per_piece))
    own = leaves[piece * per_piece * HASH_LENGTH : (piece + 1) * per_piece * HASH_LENGTH]
    fields = {
        "height": whole.height,
        "base_layer": 0,
        "index": piece * per_piece,
        "length": per_piece,
        "proof_layers": whole.height - 1,
    }
    answer = hashes_and_proof(upper.with_piece(piece, own), **fields)
    assert answer == hashes_and_proof(whole.node, **fields)


def test_leaves_of_another_piece_are_refused() -> None:
    leaves = leaves_of(8)
    upper = HashTree(piece_layer(leaves, 32 * KIB), layer=1)
    with pytest.raises(ValueError, match="piece 1"):
        upper.with_piece(1, leaves[:64])
    with pytest.raises(IndexError):
        upper.with_piece(0, leaves[:64])(0, 2)
