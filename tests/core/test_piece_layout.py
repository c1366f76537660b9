import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, FileSpan, PieceLayout

file_lengths = st.lists(st.integers(0, 40), max_size=12)
piece_lengths = st.integers(1, 20)


def addressed_bytes(
    piece_length: int, lengths: list[int], *, aligned: bool
) -> list[list[tuple[int, int]]]:
    """For each piece its bytes as (file, offset), in the slow and obvious way."""
    pieces: list[list[tuple[int, int]]] = [[]]
    for file, length in enumerate(lengths):
        if aligned and pieces[-1]:
            pieces.append([])
        for offset in range(length):
            if len(pieces[-1]) == piece_length:
                pieces.append([])
            pieces[-1].append((file, offset))
    return [piece for piece in pieces if piece]


@given(piece_lengths, file_lengths, st.booleans())
def test_agrees_with_counting_bytes(piece_length: int, lengths: list[int], aligned: bool) -> None:
    layout = PieceLayout(piece_length, lengths, aligned=aligned)
    pieces = addressed_bytes(piece_length, lengths, aligned=aligned)
    assert layout.num_pieces == len(pieces)
    assert layout.total_length == sum(lengths)
    for index, piece in enumerate(pieces):
        assert layout.piece_size(index) == len(piece)
        spans = layout.spans(index, 0, len(piece))
        assert [(s.file, s.offset + i) for s in spans for i in range(s.length)] == piece
        assert all(span.length for span in spans)
    for file in range(len(lengths)):
        holders = [i for i, piece in enumerate(pieces) if any(f == file for f, _ in piece)]
        assert list(layout.pieces_of_file(file)) == holders


@given(piece_lengths, file_lengths, st.booleans(), st.data())
def test_pieces_that_follow_one_another(
    piece_length: int, lengths: list[int], aligned: bool, data: st.DataObject
) -> None:
    layout = PieceLayout(piece_length, lengths, aligned=aligned)
    stop = data.draw(st.integers(0, layout.num_pieces))
    pieces = range(data.draw(st.integers(0, stop)), stop)
    in_turn = list(layout.spans_of_pieces(pieces))
    assert in_turn == [layout.piece_spans(index) for index in pieces]


@given(piece_lengths, file_lengths, st.booleans(), st.data())
def test_part_of_a_piece(
    piece_length: int, lengths: list[int], aligned: bool, data: st.DataObject
) -> None:
    pieces = addressed_bytes(piece_length, lengths, aligned=aligned)
    if not pieces:
        return
    layout = PieceLayout(piece_length, lengths, aligned=aligned)
    index = data.draw(st.integers(0, len(pieces) - 1))
    begin = data.draw(st.integers(0, len(pieces[index])))
    length = data.draw(st.integers(0, len(pieces[index]) - begin))
    spans = layout.spans(index, begin, length)
    wanted = pieces[index][begin : begin + length]
    assert [(s.file, s.offset + i) for s in spans for i in range(s.length)] == wanted


@given(piece_lengths, file_lengths, st.booleans(), st.data())
def test_only_padding_that_ends_a_piece_is_not_fetched(
    piece_length: int, lengths: list[int], aligned: bool, data: st.DataObject
) -> None:
    padding = data.draw(st.sets(st.integers(0, max(0, len(lengths) - 1)))) if lengths else set()
    layout = PieceLayout(piece_length, lengths, aligned=aligned, padding=padding)
    for index, piece in enumerate(addressed_bytes(piece_length, lengths, aligned=aligned)):
        fetched = list(piece)
        while fetched and fetched[-1][0] in padding:
            del fetched[-1]
        assert layout.fetched_size(index) == len(fetched or piece)
        assert layout.piece_size(index) == len(piece)


def test_blocks_end_where_padding_begins() -> None:
    lengths = [BLOCK_SIZE + 5, 3 * BLOCK_SIZE - 5, 7]
    layout = PieceLayout(4 * BLOCK_SIZE, lengths, padding=[1])
    assert layout.num_blocks(0) == 2
    assert layout.block(0, 1) == Block(0, BLOCK_SIZE, 5)
    with pytest.raises(IndexError):
        layout.block(0, 2)
    assert layout.is_valid_request(0, 2 * BLOCK_SIZE, BLOCK_SIZE), "others may ask for it"


def test_blocks_of_a_piece() -> None:
    layout = PieceLayout(BLOCK_SIZE * 2 + 5, [BLOCK_SIZE * 3])
    assert layout.num_pieces == 2
    assert layout.num_blocks(0) == 3
    assert [layout.block(0, n) for n in range(3)] == [
        Block(0, 0, BLOCK_SIZE),
        Block(0, BLOCK_SIZE, BLOCK_SIZE),
        Block(0, BLOCK_SIZE * 2, 5),
    ]
    assert layout.num_blocks(1) == 1
    assert layout.block(1, 0) == Block(1, 0, BLOCK_SIZE - 5)
    assert [layout.block_number(b) for b in (0, BLOCK_SIZE - 1, BLOCK_SIZE)] == [0, 0, 1]


@pytest.mark.parametrize(("piece", "number"), [(0, 3), (0, -1), (1, 1), (2, 0), (-1, 0)])
def test_a_block_that_does_not_exist(piece: int, number: int) -> None:
    with pytest.raises(IndexError):
        PieceLayout(BLOCK_SIZE * 2 + 5, [BLOCK_SIZE * 3]).block(piece, number)


@pytest.mark.parametrize(
    ("piece", "begin", "length", "valid"),
    [
        (0, 0, BLOCK_SIZE, True),
        (0, 0, BLOCK_SIZE + 1, False),
        (0, 0, 1, True),
        (0, 0, 0, False),
        (0, 0, -1, False),
        (0, -1, 1, False),
        (0, BLOCK_SIZE, BLOCK_SIZE, True),
        (0, BLOCK_SIZE + 1, BLOCK_SIZE, False),
        (0, 2 * BLOCK_SIZE, 1, False),
        (1, 0, 10, True),
        (1, 0, 11, False),
        (1, 9, 1, True),
        (2, 0, 1, False),
        (-1, 0, 1, False),
    ],
)
def test_what_a_peer_may_ask_for(piece: int, begin: int, length: int, valid: bool) -> None:
    layout = PieceLayout(2 * BLOCK_SIZE, [2 * BLOCK_SIZE + 10])
    assert layout.is_valid_request(piece, begin, length) is valid


def test_the_gap_after_an_aligned_file_may_not_be_asked_for() -> None:
    layout = PieceLayout(BLOCK_SIZE, [10, 20], aligned=True)
    assert layout.num_pieces == 2
    assert layout.is_valid_request(0, 0, 10)
    assert not layout.is_valid_request(0, 0, 11)
    assert layout.spans(1, 0, 20) == [FileSpan(1, 0, 20)]


@pytest.mark.parametrize(("begin", "length"), [(0, 11), (-1, 2), (11, 0), (5, -1)])
def test_spans_stay_inside_the_piece(begin: int, length: int) -> None:
    with pytest.raises(ValueError, match="not inside"):
        PieceLayout(10, [25]).spans(0, begin, length)


@pytest.mark.parametrize(("piece_length", "lengths"), [(0, [1]), (-1, [1]), (1, [-1])])
def test_impossible_lengths(piece_length: int, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        PieceLayout(piece_length, lengths)


def test_nothing_but_empty_files() -> None:
    layout = PieceLayout(16, [0, 0])
    assert layout.num_pieces == 0
    assert list(layout.pieces_of_file(1)) == []
    with pytest.raises(IndexError):
        layout.piece_size(0)


def test_empty_files_between_others_cost_nothing() -> None:
    layout = PieceLayout(10, [5, *[0] * 100_000, 5])
    assert layout.spans(0, 0, 10) == [FileSpan(0, 0, 5), FileSpan(100_001, 0, 5)]
