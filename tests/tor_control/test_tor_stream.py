import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import trio
import trio.socket
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tor_control.errors import DialCut
from tor_control.tor_stream import IOV_MAX, Buffer, LiveStreams, TorStream


class FakeSocket:
    """Takes a few bytes at a time, or fails as told."""

    def __init__(self, steps: Sequence[int] = (), error: OSError | None = None) -> None:
        self.steps = list(steps)
        self.error = error
        self.sent = bytearray()
        self.most_buffers = 0
        self.views: list[Buffer] = []
        self.is_closed = False

    def fileno(self) -> int:
        return -1 if self.is_closed else 7

    def close(self) -> None:
        self.is_closed = True

    async def recv(self, size: int, /) -> bytes:
        await self._checkpoint()
        return bytes(size)

    async def sendmsg(self, buffers: Sequence[Buffer], /) -> int:
        await self._checkpoint()
        self.views += buffers
        self.most_buffers = max(self.most_buffers, len(buffers))
        joined = b"".join(buffers)
        assert joined
        taken = joined[: self.steps.pop(0)] if self.steps else joined
        self.sent += taken
        return len(taken)

    async def wait_writable(self) -> None:
        await self._checkpoint()

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if self.is_closed:
            raise OSError(errno.EBADF, "Bad file descriptor")


def stream_over(fake: FakeSocket) -> TorStream:
    return LiveStreams().adopt(fake)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[TorStream, TorStream, LiveStreams]]:
    streams = LiveStreams()
    left, right = trio.socket.socketpair()
    ours, theirs = streams.adopt(left), LiveStreams().adopt(right)
    yield ours, theirs, streams
    await ours.aclose()
    await theirs.aclose()


Pair = tuple[TorStream, TorStream, LiveStreams]


async def make_pair() -> tuple[TorStream, TorStream]:
    left, right = trio.socket.socketpair()
    await trio.lowlevel.checkpoint()
    return LiveStreams().adopt(left), LiveStreams().adopt(right)


def clog(end: socket.socket) -> None:
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            end.send(bytes(65536))


async def make_clogged_pair() -> tuple[TorStream, TorStream]:
    left, right = socket.socketpair()
    clog(left)
    clog(right)
    await trio.lowlevel.checkpoint()
    from_stdlib = trio.socket.from_stdlib_socket
    return LiveStreams().adopt(from_stdlib(left)), LiveStreams().adopt(from_stdlib(right))


async def test_it_is_a_stream_as_trio_wants_it() -> None:
    await trio.testing.check_two_way_stream(make_pair, make_clogged_pair)


async def test_receive_into(pair: Pair) -> None:
    ours, theirs, _ = pair
    await theirs.send_all(b"hello")
    buffer = bytearray(8)
    assert await ours.receive_into(memoryview(buffer)[2:]) == 5
    assert buffer == b"\0\0hello\0"
    await theirs.aclose()
    assert await ours.receive_into(memoryview(buffer)) == 0
    assert await ours.receive_some() == b""


async def test_buffers_arrive_in_order(pair: Pair) -> None:
    ours, theirs, _ = pair
    await ours.send_buffers([b"a", b"", bytearray(b"bc"), memoryview(b"xdefx")[1:4]])
    assert await theirs.receive_some() == b"abcdef"


async def test_empty_arguments(pair: Pair) -> None:
    ours, _, _ = pair
    with trio.testing.assert_checkpoints():
        await ours.send_buffers([])
    await ours.send_all(b"")
    with pytest.raises(ValueError, match="end of the stream"):
        await ours.receive_into(memoryview(bytearray()))
    with pytest.raises(ValueError, match="at least 1"):
        await ours.receive_some(0)


@given(
    st.lists(st.binary(max_size=9), max_size=30),
    st.lists(st.integers(min_value=1, max_value=12), max_size=60),
)
def test_partial_writes_lose_and_repeat_nothing(buffers: list[bytes], steps: list[int]) -> None:
    fake = FakeSocket(steps)
    trio.run(stream_over(fake).send_buffers, buffers)
    assert fake.sent == b"".join(buffers)


async def test_more_buffers_than_the_system_takes() -> None:
    fake = FakeSocket([1, 5000])
    await stream_over(fake).send_buffers([b"ab"] * (3 * IOV_MAX + 1))
    assert fake.sent == b"ab" * (3 * IOV_MAX + 1)
    assert fake.most_buffers == IOV_MAX


async def test_nothing_is_copied() -> None:
    fake = FakeSocket([3])
    block = bytearray(b"payload")
    await stream_over(fake).send_buffers([b"head", memoryview(block)])
    for sent in fake.views:
        assert sent == b"head" or not isinstance(sent, memoryview) or sent.obj in (b"head", block)
    assert any(isinstance(sent, memoryview) and sent.obj is block for sent in fake.views)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ECONNRESET, trio.BrokenResourceError),
        (errno.EPIPE, trio.BrokenResourceError),
        (errno.EBADF, trio.ClosedResourceError),
    ],
)
async def test_errors_appear_as_trios(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def failing(_descriptor: int, _buffers: Sequence[memoryview]) -> int:
        raise OSError(number, "")

    ours, theirs, _ = pair
    await theirs.send_all(b"x")
    monkeypatch.setattr(os, "readv", failing)
    with pytest.raises(expected):
        await ours.receive_into(memoryview(bytearray(1)))
    stream = stream_over(FakeSocket(error=OSError(number, "")))
    with pytest.raises(expected):
        await stream.receive_some()
    with pytest.raises(expected):
        await stream.send_all(b"x")
    with pytest.raises(expected):
        await stream.send_buffers([b"x"])
    with pytest.raises(expected):
        await stream.wait_send_all_might_not_block()


async def test_a_connection_that_was_reset_is_lost(pair: Pair) -> None:
    ours, theirs, _ = pair
    await ours.send_all(b"never read")
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_into(memoryview(bytearray(1)))


async def test_a_wake_in_vain_goes_on_waiting(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may say that there is something where there is not (select(2), BUGS)."""
    ours, theirs, _ = pair

    async def at_once(_: object) -> None:
        await trio.lowlevel.checkpoint()

    buffer = bytearray(4)
    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as patched:
            patched.setattr(trio.lowlevel, "wait_readable", at_once)
            nursery.start_soon(ours.receive_into, memoryview(buffer))
            for _ in range(3):
                await trio.lowlevel.checkpoint()
        await theirs.send_all(b"late")
    assert buffer == b"late"


async def test_after_close(pair: Pair) -> None:
    ours, _, streams = pair
    await ours.aclose()
    await ours.aclose()
    assert len(streams) == 0
    assert not ours.was_cut
    for attempt in (ours.receive_some, ours.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await attempt()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_into(memoryview(bytearray(1)))
    for data in (b"", b"x"):
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(data)


async def test_two_tasks_may_not_send_at_once(pair: Pair) -> None:
    ours, _, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(1 << 24))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ours.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await ours.wait_send_all_might_not_block()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(0):
        await ours.wait_send_all_might_not_block()


@pytest.mark.parametrize("into", [False, True])
async def test_a_cut_breaks_what_waits_and_what_comes_later(pair: Pair, *, into: bool) -> None:
    ours, theirs, streams = pair
    read = partial(ours.receive_into, memoryview(bytearray(1))) if into else ours.receive_some

    async def expect_broken(what: str) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await (read() if what == "read" else ours.send_all(bytes(1 << 24)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, "read")
        nursery.start_soon(expect_broken, "write")
        await trio.testing.wait_all_tasks_blocked()
        assert len(streams) == 1
        streams.cut()
        assert len(streams) == 0
    assert ours.was_cut
    ours.cut()
    with pytest.raises(trio.BrokenResourceError):
        await read()
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"")
    await ours.aclose()
    while await theirs.receive_some():
        pass


def test_no_stream_is_made_while_all_is_cut() -> None:
    streams = LiveStreams()
    streams.cut()
    assert streams.is_cut
    fake = FakeSocket()
    with pytest.raises(DialCut):
        streams.adopt(fake)
    assert fake.is_closed
    streams.resume()
    streams.adopt(FakeSocket())
    assert len(streams) == 1


async def test_our_own_close_before_a_cut_stays_our_own(pair: Pair) -> None:
    ours, _, streams = pair
    await ours.aclose()
    streams.cut()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_cancelling_a_read_loses_nothing(pair: Pair) -> None:
    ours, theirs, _ = pair
    buffer = bytearray(4)
    for read in (ours.receive_some, partial(ours.receive_into, memoryview(buffer))):
        with trio.move_on_after(0) as scope:
            await read()
        assert scope.cancelled_caught
    await theirs.send_all(b"data")
    assert await ours.receive_some() == b"data"
    await theirs.send_all(b"more")
    with trio.move_on_after(0) as scope:
        await ours.receive_into(memoryview(buffer))
    assert scope.cancelled_caught
    assert await ours.receive_into(memoryview(buffer)) == 4
    assert buffer == b"more"


async def test_two_tasks_may_not_read_at_once(pair: Pair) -> None:
    ours, _, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.receive_into, memoryview(bytearray(1)))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ours.receive_into(memoryview(bytearray(1)))
        nursery.cancel_scope.cancel()
