from collections.abc import Callable

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.piece_layout import Block
from torrent_onion.policy.piece_buffers import MAX_SPARE, PieceBuffers
from torrent_onion.policy.piece_picker import PiecePicker

Bits = Callable[..., Bitfield]
Content = Callable[[Block], memoryview]
SIZE = 1 << 20


def test_what_a_piece_leaves_goes_to_the_next() -> None:
    buffers = PieceBuffers(SIZE)
    first = buffers.take(SIZE)
    buffers.give_back(first)
    assert buffers.take(SIZE) is first
    assert buffers.take(SIZE) is not first


def test_a_shorter_last_piece_has_memory_of_its_own() -> None:
    buffers = PieceBuffers(SIZE)
    buffers.give_back(bytearray(SIZE))
    last = buffers.take(10)
    assert len(last) == 10
    buffers.give_back(last)
    assert len(buffers.take(SIZE)) == SIZE
    assert buffers.take(10) is not last


def test_no_more_is_kept_than_is_allowed() -> None:
    buffers = PieceBuffers(SIZE)
    given = [bytearray(SIZE) for _ in range(MAX_SPARE // SIZE + 1)]
    for buffer in given:
        buffers.give_back(buffer)
    kept = [buffers.take(SIZE) for _ in given]
    assert sum(any(buffer is one for one in given) for buffer in kept) == MAX_SPARE // SIZE


def test_one_piece_is_kept_however_long_it_is() -> None:
    buffers = PieceBuffers(2 * MAX_SPARE)
    buffers.give_back(first := bytearray(2 * MAX_SPARE))
    assert buffers.take(2 * MAX_SPARE) is first


def test_cleared_it_keeps_nothing() -> None:
    buffers = PieceBuffers(SIZE)
    buffers.give_back(first := bytearray(SIZE))
    buffers.clear()
    assert buffers.take(SIZE) is not first


def test_the_memory_of_one_piece_holds_the_next_one_whole(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(*range(10)))
    used = []
    while blocks := picker.pick(1, 4):
        for block in blocks:
            complete = picker.block_received(1, block.piece, block.begin, content(block)).complete
            if complete is not None:
                used.append(buffer := complete.buffer)
                expected = b"".join(content(complete.block(n)) for n in range(complete.num_blocks))
                assert buffer == expected
                picker.piece_verified(complete.index)
                picker.buffers.give_back(buffer)
    assert len(used) == 10
    assert len({id(buffer) for buffer in used}) < 5
