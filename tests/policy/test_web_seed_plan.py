from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, PieceLayout
from torrent_onion.policy import piece_sets
from torrent_onion.policy.web_seed_plan import (
    MAX_RUN,
    MIN_RUN,
    contiguous,
    next_run,
    run_length,
)


def pieces(text: str) -> int:
    """The set of the pieces marked n, as BEP 19 writes them: YYnnnnYnnY."""
    return sum(1 << index for index, mark in enumerate(text) if mark == "n")


def choose(text: str, after: int | None = 0, most: int = 100, *, in_order: bool = False) -> range:
    return next_run(pieces(text), after=after, most=most, in_order=in_order, rng=Random(1))


class TestNextRun:
    def test_the_example_of_bep_19(self) -> None:
        assert choose("YYnnnnYnnY") == range(2, 6)

    @pytest.mark.parametrize(
        ("text", "after", "most", "expected"),
        [
            ("", 0, 5, range(0)),
            ("YYY", 0, 5, range(0)),
            ("YnY", 0, 5, range(1, 2)),
            ("nnYnnnYnn", 7, 5, range(7, 9)),
            ("nnYnnnYnn", 6, 5, range(3, 6)),
            ("nnYnnnYnn", 4, 1, range(4, 5)),
            ("nnYnnnYnn", 0, 1, range(1)),
            ("nnYnnnYnn", 99, 2, range(3, 5)),
        ],
    )
    def test_behind_the_last_run_or_in_the_widest_gap(
        self, text: str, after: int, most: int, expected: range
    ) -> None:
        assert choose(text, after, most) == expected

    def test_in_order(self) -> None:
        assert choose("YnYnnn", None, in_order=True) == range(1, 2)
        assert choose("YnYnnn", 4, in_order=True) == range(4, 6)

    def test_the_first_run_begins_anywhere(self) -> None:
        runs = {
            next_run(pieces("Y" + "n" * 20), after=None, most=5, in_order=False, rng=Random(seed))
            for seed in range(200)
        }
        assert runs == {range(start, start + 5) for start in range(1, 17)}

    @given(
        st.integers(min_value=0, max_value=2**40),
        st.none() | st.integers(min_value=0, max_value=45),
        st.integers(min_value=1, max_value=50),
        st.booleans(),
        st.integers(),
    )
    def test_a_run_is_whole_and_open(
        self, wanted: int, after: int | None, most: int, in_order: bool, seed: int
    ) -> None:
        run = next_run(wanted, after=after, most=most, in_order=in_order, rng=Random(seed))
        assert bool(run) == bool(wanted)
        assert len(run) <= most
        assert piece_sets.pieces_in(run) & wanted == piece_sets.pieces_in(run)


class TestRunLength:
    @pytest.mark.parametrize(
        ("rate", "piece_length", "expected"),
        [
            (0, 1 << 14, MIN_RUN >> 14),
            (0, 4 << 20, 1),
            (100_000, 1 << 20, 2),
            (1e9, 1 << 20, MAX_RUN >> 20),
            (1e9, 16 << 20, 1),
        ],
    )
    def test_it_follows_the_rate_within_bounds(
        self, rate: float, piece_length: int, expected: int
    ) -> None:
        assert run_length(rate, piece_length) == expected


def test_runs_of_blocks() -> None:
    layout = PieceLayout(2 * BLOCK_SIZE + 5, [10 * (2 * BLOCK_SIZE + 5)])
    a, b, c = (layout.block(0, number) for number in range(3))
    d, e = layout.block(1, 0), layout.block(2, 0)
    assert list(contiguous(layout, [])) == []
    assert list(contiguous(layout, [d, c, a, b])) == [[a, b, c, d]]
    assert list(contiguous(layout, [a, c, d, e])) == [[a], [c, d], [e]]


def test_padding_that_is_not_fetched_is_no_gap() -> None:
    layout = PieceLayout(2 * BLOCK_SIZE, [5, 2 * BLOCK_SIZE - 5, BLOCK_SIZE], padding=[1])
    blocks = [layout.block(0, 0), layout.block(1, 0)]
    assert blocks == [Block(0, 0, 5), Block(1, 0, BLOCK_SIZE)]
    assert list(contiguous(layout, blocks)) == [blocks]


def test_files_that_begin_at_pieces_leave_no_gap() -> None:
    layout = PieceLayout(BLOCK_SIZE, [5, BLOCK_SIZE], aligned=True)
    blocks = [Block(0, 0, 5), Block(1, 0, BLOCK_SIZE)]
    assert list(contiguous(layout, blocks)) == [blocks]
