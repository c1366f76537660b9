"""A small torrent for the picker's tests, and data that tells its place."""

from collections.abc import Callable
from random import Random

import pytest

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, PieceLayout
from torrent_onion.policy.piece_picker import PiecePicker

PIECE_LENGTH = 2 * BLOCK_SIZE + 5
"""Three blocks, the last of them short."""


@pytest.fixture
def layout() -> PieceLayout:
    return PieceLayout(PIECE_LENGTH, [10 * PIECE_LENGTH - 2])


@pytest.fixture
def rng() -> Random:
    return Random(1)


@pytest.fixture
def picker(layout: PieceLayout, rng: Random) -> PiecePicker:
    return PiecePicker(layout, Bitfield(layout.num_pieces), rng=rng)


@pytest.fixture
def bits(layout: PieceLayout) -> Callable[..., Bitfield]:
    """Return a bitfield with these pieces."""

    def make(*indices: int) -> Bitfield:
        bitfield = Bitfield(layout.num_pieces)
        for index in indices:
            bitfield.set(index)
        return bitfield

    return make


@pytest.fixture
def content() -> Callable[[Block], memoryview]:
    """Return the good data of a block."""

    def make(block: Block) -> memoryview:
        return memoryview(
            bytes([(block.piece * 16 + block.begin // BLOCK_SIZE) % 256]) * block.length
        )

    return make
