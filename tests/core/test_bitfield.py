import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.errors import ProtocolError


@st.composite
def sized_sets(draw: st.DrawFn) -> tuple[int, set[int]]:
    size = draw(st.integers(1, 70))
    return size, draw(st.sets(st.integers(0, size - 1)))


def bitfield_of(size: int, members: set[int]) -> Bitfield:
    bitfield = Bitfield(size)
    for index in members:
        bitfield.set(index)
    return bitfield


def test_a_new_one_is_empty() -> None:
    bitfield = Bitfield(9)
    assert len(bitfield) == 9
    assert bitfield.is_empty
    assert not bitfield.is_full
    assert bitfield.to_bytes() == b"\x00\x00"


def test_the_first_piece_is_the_high_bit() -> None:
    assert bitfield_of(10, {0, 9}).to_bytes() == b"\x80\x40"


def test_no_pieces_at_all() -> None:
    bitfield = Bitfield.from_bytes(b"", 0)
    assert bitfield.is_full
    assert bitfield.is_empty
    assert Bitfield.full(0) == bitfield
    assert list(bitfield.indices()) == list(bitfield.missing()) == []


def test_a_negative_size_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="negative"):
        Bitfield(-1)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 1000])
def test_full_has_every_piece_and_no_spare_bit(size: int) -> None:
    bitfield = Bitfield.full(size)
    assert bitfield.is_full
    assert bitfield.count == size
    assert list(bitfield.indices()) == list(range(size))
    assert list(bitfield.missing()) == []
    assert Bitfield.from_bytes(bitfield.to_bytes(), size) == bitfield


@pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 1), (b"\x00\x00", 8), (b"\x00", 9), (b"\x01", 7), (b"\xff", 1), (b"\x00\x20", 10)],
)
def test_wrong_lengths_and_spare_bits_are_refused(data: bytes, size: int) -> None:
    with pytest.raises(ProtocolError):
        Bitfield.from_bytes(data, size)


@pytest.mark.parametrize("index", [-1, 10, 15, 16, 1000])
def test_a_piece_that_does_not_exist(index: int) -> None:
    bitfield = Bitfield(10)
    for use in (bitfield.__getitem__, bitfield.set, bitfield.clear):
        with pytest.raises(IndexError):
            use(index)


def test_membership_is_not_asked_with_in() -> None:
    with pytest.raises(TypeError):
        assert 3 in Bitfield(10)  # type: ignore[misc]  # that is the test


def test_it_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(Bitfield(1))


@given(sized_sets())
def test_behaves_like_a_set(sized: tuple[int, set[int]]) -> None:
    size, members = sized
    bitfield = bitfield_of(size, members)
    assert list(bitfield.indices()) == sorted(members)
    assert list(bitfield.missing()) == [i for i in range(size) if i not in members]
    assert bitfield.count == len(members)
    assert [bitfield[i] for i in range(size)] == [i in members for i in range(size)]
    assert Bitfield.from_bytes(bitfield.to_bytes(), size) == bitfield
    assert Bitfield.from_bytes(memoryview(bitfield.to_bytes()), size).count == len(members)


@given(sized_sets(), st.data())
def test_setting_and_clearing_again_changes_nothing(
    sized: tuple[int, set[int]], data: st.DataObject
) -> None:
    size, members = sized
    bitfield = bitfield_of(size, members)
    for index in data.draw(st.lists(st.integers(0, size - 1), max_size=10)):
        bitfield.set(index)
        bitfield.set(index)
        members.add(index)
    for index in data.draw(st.lists(st.integers(0, size - 1), max_size=10)):
        bitfield.clear(index)
        bitfield.clear(index)
        members.discard(index)
    assert set(bitfield.indices()) == members
    assert bitfield.count == len(members)


@given(st.integers(1, 70), st.data())
def test_what_another_has_that_is_missing(size: int, data: st.DataObject) -> None:
    pieces = st.sets(st.integers(0, size - 1))
    mine, theirs = data.draw(pieces), data.draw(pieces)
    here, there = bitfield_of(size, mine), bitfield_of(size, theirs)
    assert here.intersects_missing(there) == bool(theirs - mine)
    assert list(here.update(there).indices()) == sorted(theirs - mine)
    assert list(here.indices()) == sorted(mine | theirs)
    assert here.count == len(mine | theirs)


def test_a_copy_lives_its_own_life() -> None:
    first = bitfield_of(5, {1})
    second = first.copy()
    second.set(2)
    assert (first.count, second.count) == (1, 2)
    assert first != second


def test_repr_is_short() -> None:
    assert repr(bitfield_of(1000, {1, 2})) == "<Bitfield 2/1000>"


def test_it_is_no_other_thing() -> None:
    assert Bitfield(1) != b"\x00"
