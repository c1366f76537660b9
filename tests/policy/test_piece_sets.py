from random import Random

from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.policy import piece_sets
from torrent_onion.policy.piece_sets import PieceNumbers

SIZE = 70
SETS = st.frozensets(st.integers(0, SIZE - 1))


def as_set(indices: frozenset[int]) -> int:
    return sum(1 << index for index in indices)


@given(SETS)
def test_a_bitfield_becomes_the_set_of_its_pieces(indices: frozenset[int]) -> None:
    bitfield = Bitfield(SIZE)
    for index in indices:
        bitfield.set(index)
    pieces = piece_sets.from_bitfield(bitfield)
    assert list(piece_sets.members(pieces)) == sorted(indices)
    assert [piece_sets.contains(pieces, index) for index in range(SIZE)] == [
        index in indices for index in range(SIZE)
    ]


def test_ranges() -> None:
    assert piece_sets.all_pieces(0) == 0
    assert list(piece_sets.members(piece_sets.all_pieces(3))) == [0, 1, 2]
    assert list(piece_sets.members(piece_sets.pieces_in(range(5, 8)))) == [5, 6, 7]
    assert piece_sets.pieces_in(range(5, 5)) == 0


@given(SETS.filter(bool), st.integers())
def test_a_random_member_is_a_member(indices: frozenset[int], seed: int) -> None:
    assert piece_sets.lowest(as_set(indices)) == min(indices)
    assert piece_sets.random_member(as_set(indices), Random(seed)) in indices


def test_every_member_can_be_the_random_one(rng: Random) -> None:
    pieces = piece_sets.all_pieces(SIZE)
    assert {piece_sets.random_member(pieces, rng) for _ in range(2000)} == set(range(SIZE))


@given(st.lists(SETS, max_size=20), SETS, st.data())
def test_numbers_count_and_compare(
    added: list[frozenset[int]], among: frozenset[int], data: st.DataObject
) -> None:
    numbers = PieceNumbers()
    expected = [0] * SIZE
    for indices in added:
        numbers.add(as_set(indices))
        for index in indices:
            expected[index] += 1
    for indices in data.draw(st.permutations(added))[: len(added) // 2]:
        numbers.subtract(as_set(indices))
        for index in indices:
            expected[index] -= 1
    assert [numbers[index] for index in range(SIZE)] == expected
    assert numbers.nonzero() == as_set(frozenset(i for i in range(SIZE) if expected[i]))
    least = min((expected[index] for index in among), default=0)
    most = max((expected[index] for index in among), default=0)
    assert numbers.smallest(as_set(among)) == as_set(
        frozenset(i for i in among if expected[i] == least)
    )
    assert numbers.largest(as_set(among)) == as_set(
        frozenset(i for i in among if expected[i] == most)
    )


@given(st.lists(st.tuples(SETS, st.integers(0, 7))))
def test_numbers_can_be_assigned(changes: list[tuple[frozenset[int], int]]) -> None:
    numbers = PieceNumbers()
    expected = [0] * SIZE
    for indices, number in changes:
        numbers.assign(as_set(indices), number)
        for index in indices:
            expected[index] = number
    assert [numbers[index] for index in range(SIZE)] == expected
