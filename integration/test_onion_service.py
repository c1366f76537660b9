"""A real onion service, reached through a second tor on a private network."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.socket

from tor_control.config import TorConfig
from tor_control.control_connection import ControlConnection, Credentials, open_control
from tor_control.controller import Tor, open_tor
from tor_control.endpoints import UnixEndpoint
from tor_control.errors import (
    AddressRefused,
    ConnectionRefusedByHost,
    DialError,
    GeneralFailure,
    OnionDescriptorNotFound,
    OnionIntroductionFailed,
    OnionIntroductionTimedOut,
    OnionRendezvousFailed,
    PublishFailed,
)
from tor_control.onion_address import OnionKey
from tor_control.onion_service import OnionService, PowDefenses, ServiceLimits, publish
from tor_control.private_network import PrivateNetwork
from tor_control.tor_stream import LiveStreams, TorStream

PATIENCE = 120.0
"""Seconds for each test; most take ten."""
GIVE_UP = 5.0
"""Seconds for one attempt at a service that is gone."""
GONE = (
    OnionDescriptorNotFound,
    OnionIntroductionFailed,
    OnionIntroductionTimedOut,
    OnionRendezvousFailed,
)
CONTENT = secrets.token_bytes(1 << 20)
CHUNK = 16384


@pytest.fixture
def config(tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory) -> TorConfig:
    return TorConfig(
        where="launch",
        # The same for all tests: a second start takes its consensus from the first.
        state=tmp_path_factory.getbasetemp() / "onion_service",
        extra_torrc=tor_network.torrc,
        allow_private_addresses=True,
    )


@asynccontextmanager
async def two_tors(config: TorConfig) -> AsyncIterator[tuple[Tor, Tor]]:
    """Open two clients of one network: one to publish, one to dial."""
    with trio.fail_after(PATIENCE):
        async with open_tor(config) as here, open_tor(config) as there:
            yield here, there


@asynccontextmanager
async def control_of(tor: Tor) -> AsyncIterator[ControlConnection]:
    """Open a control connection of our own to one of the tors."""
    [control] = [
        endpoint
        for endpoint in tor.endpoints
        if isinstance(endpoint, UnixEndpoint) and endpoint.path.endswith("/control")
    ]
    cookie = control.path.removesuffix("control") + "cookie"
    async with await open_control(control, Credentials(cookie_file=cookie)) as connection:
        yield connection


async def receive_exactly(stream: TorStream, size: int) -> bytes:
    received = bytearray(size)
    left = memoryview(received)
    while True:
        count = await stream.receive_into(left)
        assert count, "the stream ended early"
        left = left[count:]
        if not left:
            return bytes(received)


async def send_in_blocks(stream: TorStream, content: bytes) -> None:
    view = memoryview(content)
    await stream.send_buffers([view[i : i + CHUNK] for i in range(0, len(content), CHUNK)])


async def exchange(near: TorStream, far: TorStream) -> None:
    """Send everything both ways at once."""

    async def expect(stream: TorStream) -> None:
        assert await receive_exactly(stream, len(CONTENT)) == CONTENT

    async with trio.open_nursery() as nursery:
        for stream in (near, far):
            nursery.start_soon(send_in_blocks, stream, CONTENT)
            nursery.start_soon(expect, stream)


async def meet(tor: Tor, service: OnionService, isolation: str) -> tuple[TorStream, TorStream]:
    dialled = await tor.dial(service.address, service.port, isolation)
    return dialled, await service.listener.accept()


async def failure_of(tor: Tor, service: OnionService) -> type[DialError]:
    """Dial a service that was removed until the answer is no.

    Nobody answers an introduction that is on its way when the service goes: tor waits two minutes
    for it, we do not.
    """
    attempt = 0
    while True:
        await trio.sleep(1)
        attempt += 1
        with trio.move_on_after(GIVE_UP):
            try:
                await tor.dial(service.address, service.port, f"is it gone {attempt}")
            except DialError as error:
                return type(error)
            raise AssertionError("it is still there")


async def test_bytes_both_ways_and_gone_after_exit(config: TorConfig) -> None:
    async with two_tors(config) as (here, there):
        async with here.publish() as service:
            near, far = await meet(there, service, "first")
            async with near, far:
                await exchange(near, far)
            # The end of one side is seen by the other.
            near, far = await meet(there, service, "first")
            async with near, far:
                await far.send_all(b"last words")
                await far.aclose()
                assert await receive_exactly(near, 10) == b"last words"
                assert await near.receive_some() == b""
            assert there.statistics().dialer.opened == 2
        assert await failure_of(there, service) in GONE
        assert there.statistics().dialer.live == 0


async def test_errors_have_names(config: TorConfig) -> None:
    async with two_tors(config) as (here, there):
        nobody = OnionKey.from_seed(secrets.token_bytes(32)).address
        with pytest.raises(OnionDescriptorNotFound):
            await there.dial(nobody, 6881, "nobody")
        async with here.publish() as service:
            with pytest.raises(DialError):
                await there.dial(service.address, service.port % 60000 + 1024, "wrong port")
        with pytest.raises(AddressRefused):
            await there.dial("192.0.2.1", 80, "reserved")
        # Port 1 of this machine, by way of an exit, which says no more than "misc" here.
        with pytest.raises((ConnectionRefusedByHost, GeneralFailure)):
            await there.dial("127.0.0.1", 1, "exit")


async def test_a_server_on_this_machine_by_way_of_an_exit(config: TorConfig) -> None:
    with trio.socket.socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        async with two_tors(config) as (_, there):
            near = await there.dial("127.0.0.1", port, "exit")
            connection, _ = await listening.accept()
            async with near, trio.SocketStream(connection) as far:
                await near.send_all(b"question")
                assert await far.receive_some() == b"question"
                await far.send_all(b"answer")
                assert await receive_exactly(near, 6) == b"answer"


async def circuits_by_token(control: ControlConnection) -> dict[str, set[str]]:
    """Return the circuits of finished rendezvous, by the token that they were made for."""
    found: dict[str, set[str]] = {}
    for line in (await control.get_info("circuit-status")).splitlines():
        token = re.search(r'SOCKS_PASSWORD="([^"]*)"', line)
        if token and "HS_STATE=HSCR_JOINED" in line:
            assert 'SOCKS_USERNAME="<torS0X>0"' in line
            found.setdefault(token[1], set()).add(line.split()[0])
    return found


async def test_other_isolation_other_circuit(config: TorConfig) -> None:
    async with (
        two_tors(config) as (here, there),
        control_of(there) as control,
        here.publish() as service,
    ):
        streams: list[TorStream] = []
        for isolation in ("one", "two", "one", "two"):
            streams += await meet(there, service, isolation)
        circuits = await circuits_by_token(control)
        # Same token, same circuit: that is what lets a torrent's connections share one.
        assert {token: len(found) for token, found in circuits.items()} == {"one": 1, "two": 1}
        assert not circuits["one"] & circuits["two"]
        status = (await control.get_info("stream-status")).splitlines()
        used = [line.split()[2] for line in status if " SUCCEEDED " in line]
        assert sorted(used) == sorted([*circuits["one"], *circuits["two"]] * 2)
        for stream in streams:
            await stream.aclose()


async def test_the_same_address_again_on_another_connection(
    config: TorConfig, tmp_path: Path
) -> None:
    key = OnionKey.from_seed(secrets.token_bytes(32))
    async with (
        two_tors(config) as (here, there),
        control_of(here) as second,
        AsyncExitStack() as stack,
    ):
        async with control_of(here) as first:
            service = await stack.enter_async_context(
                publish(first, LiveStreams(), key=key, port=4321, folder=tmp_path)
            )
        # The first connection has ended, and the service with it.
        await service.republish(second)
        assert (service.address, service.port) == (key.address, 4321)
        with pytest.raises(PublishFailed, match="in use already"):
            async with publish(second, LiveStreams(), key=key, folder=tmp_path):
                pass
        near, far = await meet(there, service, "again")
        async with near, far:
            await exchange(near, far)


async def test_a_loopback_target_and_limits(config: TorConfig) -> None:
    limits = ServiceLimits(max_streams=2, pow_defenses=PowDefenses(100, 200))
    async with (
        two_tors(config) as (here, there),
        control_of(here) as control,
        publish(control, LiveStreams(), limits=limits) as service,
    ):
        assert service.listener.target.startswith("127.0.0.1:")
        near, far = await meet(there, service, "limited")
        async with near, far:
            await exchange(near, far)
