import errno
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.socket
import trio.testing

from tor_control.errors import ListenFailed
from tor_control.listener import (
    ACCEPT_PAUSE_SECONDS,
    MAX_PATH_LENGTH,
    OnionListener,
    has_room,
    listen_unix,
    remove_left_listeners,
)
from tor_control.tor_stream import LiveStreams


class FailingSocket:
    """Fails as told, then hands out one end of a pair, then is closed."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.is_closed = False

    async def accept(self) -> tuple[trio.socket.SocketType, object]:
        await trio.lowlevel.checkpoint()
        if self.numbers:
            raise OSError(self.numbers.pop(0), "")
        if self.is_closed:
            raise OSError(errno.EBADF, "")
        left, right = trio.socket.socketpair()
        right.close()
        return left, None

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="l"))
    yield path
    shutil.rmtree(path)


async def connect(listener: OnionListener) -> trio.SocketStream:
    end = trio.socket.socket(trio.socket.AF_UNIX)
    await end.connect(listener.target.removeprefix("unix:"))
    return trio.SocketStream(end)


async def test_what_comes_in_is_a_registered_stream(folder: Path) -> None:
    streams = LiveStreams()
    listener = listen_unix(streams, folder)
    async with listener, await connect(listener) as client:
        stream = await listener.accept()
        assert len(streams) == 1
        await client.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        await stream.send_all(b"welcome")
        assert await client.receive_some() == b"welcome"
        await stream.aclose()
    assert len(streams) == 0


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def socket_path(listener: OnionListener) -> Path:
    return Path(listener.target.removeprefix("unix:"))


def test_nobody_else_may_enter_and_nothing_is_left(folder: Path) -> None:
    async def main() -> None:
        async with listen_unix(LiveStreams(), folder) as listener:
            made = socket_path(listener).parent
            assert names(folder) == [made.name]
            assert names(made) == ["s"]
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            assert re.fullmatch(r"unix:/[^\s]{1,99}/s", listener.target)
            await trio.lowlevel.checkpoint()
        await listener.aclose()

    trio.run(main)
    assert names(folder) == []


@pytest.mark.parametrize("name", ["with blank", "x" * 100, "\u00e4", 'quo\nte"'])
def test_paths_that_tor_or_the_system_would_not_take(folder: Path, name: str) -> None:
    parent = folder / name
    parent.mkdir()
    assert not has_room(parent)
    with pytest.raises(ListenFailed):
        listen_unix(LiveStreams(), parent)
    assert names(parent) == []


def test_whether_there_is_room_is_known_before() -> None:
    """``to-`` and eight characters, ``s``, and two slashes make 14."""
    longest = Path("/" + "x" * (MAX_PATH_LENGTH - 15))
    assert has_room(longest)
    assert not has_room(longest.with_name(longest.name + "x"))


async def test_what_a_killed_process_left_is_removed(folder: Path) -> None:
    left = listen_unix(LiveStreams(), folder)
    (folder / "other").mkdir()
    remove_left_listeners(folder)
    assert names(folder) == ["other"]
    await left.aclose()


def test_a_parent_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ListenFailed):
        listen_unix(LiveStreams(), folder / "none")


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
)
async def test_accepting_goes_on_after_an_error(
    number: int, autojump_clock: trio.testing.MockClock
) -> None:
    listener = OnionListener(FailingSocket(number, number), "unix:/s", LiveStreams())
    start = trio.current_time()
    stream = await listener.accept()
    assert trio.current_time() - start == pytest.approx(2 * ACCEPT_PAUSE_SECONDS)
    await stream.aclose()
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_closing_wakes_who_accepts(folder: Path) -> None:
    listener = listen_unix(LiveStreams(), folder)

    async def expect_closed() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()


async def test_accepted_streams_outlive_the_listener(folder: Path) -> None:
    listener = listen_unix(LiveStreams(), folder)
    async with await connect(listener) as client:
        stream = await listener.accept()
        await listener.aclose()
        await client.send_all(b"still here")
        assert await stream.receive_some() == b"still here"
        await stream.aclose()


async def test_while_all_is_cut_what_comes_in_is_closed(folder: Path) -> None:
    streams = LiveStreams()
    async with listen_unix(streams, folder) as listener:
        streams.cut()
        refused = await connect(listener)
        with trio.move_on_after(0.0):
            await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            assert await refused.receive_some() == b""
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        streams.resume()
        async with await connect(listener):
            await (await listener.accept()).aclose()
        await refused.aclose()


async def test_cancelling_loses_no_connection(folder: Path) -> None:
    async with listen_unix(LiveStreams(), folder) as listener:
        with trio.move_on_after(0):
            await listener.accept()
        async with await connect(listener) as client:
            stream = await listener.accept()
            await client.aclose()
            assert await stream.receive_some() == b""
            await stream.aclose()
