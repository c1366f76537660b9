import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.protocol.receive_buffer import (
    MAX_SIZE,
    MIN_ROOM,
    MIN_SIZE,
    SHRINK_AFTER,
    SLACK,
    ReceiveBuffer,
)
from torrent_onion.protocol.send_queue import SendQueue


def size_of(buffer: ReceiveBuffer) -> int:
    return len(buffer.data) - SLACK


def read(buffer: ReceiveBuffer, count: int) -> None:
    """Read so many bytes and parse them all."""
    assert len(buffer.room()) >= count
    buffer.add(count)
    buffer.start = buffer.end


class TestReceiveBuffer:
    def test_it_doubles_while_reads_fill_it_up_to_its_limit(self) -> None:
        buffer = ReceiveBuffer()
        sizes = []
        for _ in range(8):
            read(buffer, len(buffer.room()))
            sizes.append(size_of(buffer))
        assert sizes == [MIN_SIZE << n for n in (0, 1, 2, 3, 4, 4, 4, 4)]
        assert sizes[-1] == MAX_SIZE

    def test_it_shrinks_after_a_row_of_small_reads_only(self) -> None:
        buffer = ReceiveBuffer()
        for _ in range(5):
            read(buffer, len(buffer.room()))
        for _ in range(3):
            for _ in range(SHRINK_AFTER - 1):
                read(buffer, 4)
            read(buffer, MAX_SIZE // 2)
        assert len(buffer.room()) == MAX_SIZE
        for _ in range(SHRINK_AFTER):
            read(buffer, 4)
        assert len(buffer.room()) == MIN_SIZE

    def test_a_read_that_fills_it_ends_the_row(self) -> None:
        buffer = ReceiveBuffer()
        for _ in range(5):
            read(buffer, len(buffer.room()))
        for count in [4] * (SHRINK_AFTER - 1) + [MAX_SIZE] + [4] * (SHRINK_AFTER - 1):
            read(buffer, count)
        assert len(buffer.room()) == MAX_SIZE

    def test_it_shrinks_to_what_the_small_reads_need(self) -> None:
        buffer = ReceiveBuffer()
        for _ in range(5):
            read(buffer, len(buffer.room()))
        for _ in range(SHRINK_AFTER):
            read(buffer, MIN_SIZE)
        assert len(buffer.room()) == 4 * MIN_SIZE

    def test_old_slices_survive_a_replacement(self) -> None:
        buffer = ReceiveBuffer()
        room = buffer.room()
        room[:] = b"x" * len(room)
        buffer.add(len(room))
        old = buffer.view[0:MIN_ROOM]
        buffer.start = MIN_ROOM
        assert len(buffer.room()) == 2 * MIN_SIZE - MIN_ROOM
        assert old == b"x" * MIN_ROOM
        assert buffer.view[:MIN_ROOM] == b"x" * MIN_ROOM

    def test_more_than_the_room_is_a_mistake_of_ours(self) -> None:
        buffer = ReceiveBuffer()
        room = len(buffer.room())
        with pytest.raises(ValueError, match="cannot have been read"):
            buffer.add(room + 1)
        with pytest.raises(ValueError, match="cannot have been read"):
            buffer.add(-1)

    @given(st.lists(st.tuples(st.integers(0, MAX_SIZE), st.integers(0, MAX_SIZE)), max_size=20))
    def test_unparsed_bytes_stay_and_there_is_always_room(
        self, steps: list[tuple[int, int]]
    ) -> None:
        buffer = ReceiveBuffer()
        expected = b""
        for number, (count, wanted) in enumerate(steps):
            room = buffer.room()
            assert len(room) >= MIN_ROOM
            data = bytes([number]) * min(count, len(room))
            room[: len(data)] = data
            buffer.add(len(data))
            expected += data
            assert buffer.view[buffer.start : buffer.end] == expected
            parsed = min(wanted, len(expected))
            buffer.start += parsed
            expected = expected[parsed:]


class TestSendQueue:
    def test_small_messages_are_one_part_and_blocks_are_not_copied(self) -> None:
        queue = SendQueue()
        block = memoryview(bytearray(b"block"))
        queue.add(b"one")
        queue.add(b"two")
        queue.add_block(b"header", block)
        queue.add_block(b"next", b"other")
        queue.add(b"last")
        assert queue.size == 3 + 3 + 6 + 5 + 4 + 5 + 4
        parts = queue.take()
        assert parts == [b"onetwoheader", block, b"next", b"other", b"last"]
        assert parts[1] is block
        assert queue.size == 0
        assert queue.take() == []

    def test_what_was_taken_does_not_change(self) -> None:
        queue = SendQueue()
        queue.add(b"one")
        first = queue.take()
        queue.add(b"two")
        assert first == [b"one"]
        assert queue.take() == [b"two"]
