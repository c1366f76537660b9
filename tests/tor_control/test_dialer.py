"""The dialer against a scripted SOCKS server on a Unix socket; no network, no tor."""

import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.socket

from tor_control import errors
from tor_control.address_policy import AddressPolicy
from tor_control.dialer import DIAL_SECONDS, Dialer
from tor_control.endpoints import TcpEndpoint, UnixEndpoint
from tor_control.errors import (
    AddressRefused,
    DialCut,
    DialError,
    DialTimeout,
    InvalidEndpoint,
    IsolationRefused,
    OnionDescriptorNotFound,
    SocksProtocolViolation,
    SocksUnavailable,
    TorLost,
)
from tor_control.tor_stream import LiveStreams

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
BOUND = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
Script = Callable[[trio.SocketStream], Awaitable[None]]


class FakeTor:
    """A SOCKS server that does what a test's script says, once for every connection."""

    def __init__(self, path: Path) -> None:
        self.endpoint = UnixEndpoint(str(path))
        self.script: Script = self.accept
        self.authenticated: list[bytes] = []
        self.asked: list[bytes] = []
        self.connections = 0
        self.reply = BOUND

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(self.endpoint.path)
            listener.listen()
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    connection, _ = await listener.accept()
                    self.connections += 1
                    nursery.start_soon(self._run, trio.SocketStream(connection))

    async def _run(self, stream: trio.SocketStream) -> None:
        await trio.lowlevel.checkpoint()
        # A dialer that closes with our bytes unread resets the connection.
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                await self.script(stream)

    async def handshake(self, stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b"\x05\x01\x02"
        await stream.send_all(b"\x05\x02")
        self.authenticated.append(await stream.receive_some())
        await stream.send_all(b"\x01\x00")
        self.asked.append(await stream.receive_some())

    async def accept(self, stream: trio.SocketStream) -> None:
        """Say yes, with early data in the same write, then echo."""
        await self.handshake(stream)
        await stream.send_all(self.reply + b"early")
        async for data in stream:
            await stream.send_all(data)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="d"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def tor(folder: Path, nursery: trio.Nursery) -> FakeTor:
    fake = FakeTor(folder / "s")
    await nursery.start(fake.serve)
    return fake


@pytest.fixture
def dialer(tor: FakeTor) -> Dialer:
    return Dialer(tor.endpoint, AddressPolicy())


def says(*answers: bytes) -> Script:
    """Give one answer to every message, then wait for the end."""

    async def script(stream: trio.SocketStream) -> None:
        for answer in answers:
            await stream.receive_some()
            await stream.send_all(answer)
        async for _ in stream:
            pass

    return script


async def test_a_connection(tor: FakeTor, dialer: Dialer) -> None:
    stream = await dialer.dial(ONION.upper() + ".", 6881, "token")
    assert tor.authenticated == [b"\x01\x09<torS0X>0\x05token"]
    assert tor.asked == [b"\x05\x01\x00\x03\x3e" + ONION.encode() + b"\x1a\xe1"]
    assert await stream.receive_some() == b"early"
    await stream.send_all(b"ping")
    assert await stream.receive_some() == b"ping"
    statistics = dialer.statistics()
    assert (statistics.live, statistics.dialing, statistics.opened) == (1, 0, 1)
    await stream.aclose()
    assert dialer.statistics().live == 0


async def test_an_ip_address_goes_to_tor_as_a_name(tor: FakeTor, dialer: Dialer) -> None:
    async with await dialer.dial("8.8.8.8", 80, "token"):
        assert tor.asked == [b"\x05\x01\x00\x03\x078.8.8.8\x00\x50"]


async def test_a_refused_address_reaches_nobody(tor: FakeTor, dialer: Dialer) -> None:
    for host in ("127.0.0.1", "localhost", "0x7f000001", "::1", "foo.onion"):
        with pytest.raises(AddressRefused):
            await dialer.dial(host, 80, "token")
    assert tor.connections == 0
    assert dialer.statistics().failed == {"AddressRefused": 5}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([b"\x05\x00"], IsolationRefused),
        ([b"\x05\xff"], IsolationRefused),
        ([b"\x05\x02", b"\x01\x01"], IsolationRefused),
        ([b"\x05\x02", b"\x05\x00"], IsolationRefused),
        ([b"HTTP/1.1 400"], SocksProtocolViolation),
        ([b"\x05\x02", b"\x01\x00", b"\x05\xf0\x00\x04" + bytes(18)], OnionDescriptorNotFound),
        ([b"\x05\x02", b"\x01\x00", b"\x05\x05\x00\x04"], errors.ConnectionRefusedByHost),
        ([b"\x05\x02", b"\x01\x00", b"\x05\x99\x00\x04"], errors.UnknownReply),
    ],
)
async def test_answers_that_end_the_attempt(
    tor: FakeTor, dialer: Dialer, answers: list[bytes], expected: type[DialError]
) -> None:
    tor.script = says(*answers)
    with pytest.raises(expected):
        await dialer.dial(ONION, 6881, "token")
    statistics = dialer.statistics()
    assert (statistics.live, statistics.dialing, statistics.opened) == (0, 0, 0)
    assert statistics.failed == {expected.__name__: 1}


@pytest.mark.parametrize("answers", [0, 1, 2])
async def test_a_server_that_hangs_up(tor: FakeTor, dialer: Dialer, answers: int) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for answer in [b"\x05\x02", b"\x01\x00"][:answers]:
            await stream.receive_some()
            await stream.send_all(answer)
        await stream.receive_some()

    tor.script = script
    with pytest.raises(SocksUnavailable):
        await dialer.dial(ONION, 6881, "token")


async def test_no_server(folder: Path) -> None:
    with pytest.raises(SocksUnavailable):
        await Dialer(UnixEndpoint(str(folder / "none")), AddressPolicy()).dial(ONION, 1, "token")


@pytest.mark.parametrize("answers", [[], [b"\x05\x02"], [b"\x05\x02", b"\x01\x00"]])
async def test_every_wait_has_a_deadline(
    tor: FakeTor, dialer: Dialer, answers: list[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    tor.script = says(*answers)
    start = trio.current_time()
    with pytest.raises(DialTimeout):
        await dialer.dial(ONION, 6881, "token")
    assert trio.current_time() - start == pytest.approx(DIAL_SECONDS)
    assert dialer.statistics().live == 0


async def test_a_full_queue_is_tried_again(
    folder: Path, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    endpoint = UnixEndpoint(str(folder / "s"))
    dialer = Dialer(endpoint, AddressPolicy())
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(endpoint.path)
        listener.listen(0)
        with trio.socket.socket(trio.socket.AF_UNIX) as first:
            await first.connect(endpoint.path)
            with pytest.raises(DialTimeout):
                await dialer.dial(ONION, 6881, "token")
    assert dialer.statistics().live == 0


@pytest.mark.parametrize("answers", [[], [b"\x05\x02"], [b"\x05\x02", b"\x01\x00"]])
async def test_cancelling_closes_the_socket(
    tor: FakeTor, dialer: Dialer, answers: list[bytes]
) -> None:
    tor.script = says(*answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialer.dial, ONION, 6881, "token")
        await trio.testing.wait_all_tasks_blocked()
        assert dialer.statistics().dialing == 1
        assert dialer.statistics().live == 1
        nursery.cancel_scope.cancel()
    assert dialer.statistics().dialing == 0
    assert dialer.statistics().live == 0
    assert dialer.statistics().failed == {}


async def test_cutting_all_ends_streams_and_attempts(tor: FakeTor, dialer: Dialer) -> None:
    stream = await dialer.dial(ONION, 6881, "token")
    assert await stream.receive_some() == b"early"
    tor.script = says(b"\x05\x02")

    async def expect_cut() -> None:
        with pytest.raises(DialCut):
            await dialer.dial(ONION, 6881, "token")

    async def expect_broken() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_cut)
        nursery.start_soon(expect_broken)
        await trio.testing.wait_all_tasks_blocked()
        dialer.cut_all()
        assert dialer.statistics().live == 0
        # At once again: what was cut stays cut.
        dialer.resume()


async def test_nothing_is_dialled_until_traffic_resumes(tor: FakeTor, dialer: Dialer) -> None:
    dialer.cut_all()
    with pytest.raises(TorLost):
        await dialer.dial(ONION, 6881, "token")
    assert tor.connections == 0
    assert dialer.statistics().failed == {"DialCut": 1}
    dialer.resume()
    await (await dialer.dial(ONION, 6881, "token")).aclose()


async def test_tor_may_come_back_in_another_place(tor: FakeTor, folder: Path) -> None:
    dialer = Dialer(UnixEndpoint(str(folder / "gone")), AddressPolicy())
    dialer.cut_all()
    dialer.resume(tor.endpoint)
    await (await dialer.dial(ONION, 6881, "token")).aclose()
    assert tor.connections == 1


async def test_the_register_can_be_shared_with_listeners(tor: FakeTor) -> None:
    streams = LiveStreams()
    dialer = Dialer(tor.endpoint, AddressPolicy(), streams)
    streams.cut()
    with pytest.raises(DialCut):
        await dialer.dial(ONION, 6881, "token")


@pytest.mark.parametrize("host", ["192.168.1.2", "8.8.8.8", "fd00::1"])
def test_a_tor_on_another_machine_is_refused(host: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Dialer(TcpEndpoint(host, 9050), AddressPolicy())
    dialer = Dialer(TcpEndpoint("127.0.0.1", 9050), AddressPolicy())
    with pytest.raises(InvalidEndpoint):
        dialer.resume(TcpEndpoint(host, 9050))


async def test_a_token_that_does_not_fit_is_a_mistake_of_the_caller(dialer: Dialer) -> None:
    for token in ("", "x" * 256):
        with pytest.raises(ValueError, match="1 to 255"):
            await dialer.dial(ONION, 6881, token)
