"""By system calls: no socket but Unix sockets, no connection to anything but tor's."""

import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.hostile_servers import LYING_HANDSHAKE, hostile_torrent, lying_peer, served
from integration.system_calls import SystemCall, Trace, require_strace
from integration.trees import assert_same_tree
from tor_control.config import TorConfig
from tor_control.controller import Tor, open_tor
from tor_control.private_network import PrivateNetwork

MIB = 1 << 20
PATIENCE = 180.0

NAMES = (
    "&tr=udp%3A%2F%2F127.0.0.1%3A6969%2Fannounce"
    "&tr=udp%3A%2F%2Ftracker.example%3A80"
    "&tr=http%3A%2F%2F127.0.0.1%3A6969%2Fannounce"
    "&tr=http%3A%2F%2Ftracker.example%2Fannounce"
    "&tr=wss%3A%2F%2Ftracker.example"
    "&ws=http%3A%2F%2F192.168.1.1%2F"
    "&ws=https%3A%2F%2Fseed.example%2F"
    "&x.pe=127.0.0.1:22"
    "&x.pe=192.168.1.1:6881"
    "&x.pe=169.254.169.254:80"
    "&x.pe=peer.example:6881"
    "&x.pe=[::1]:9050"
    "&x.pe=[2001:db8::1]:6881"
)
"""What a stranger may put into a link to learn who opens it."""


@pytest.fixture(autouse=True)
def _strace() -> None:
    require_strace()


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[str], Trace]:
    return lambda name: Trace(tmp_path / f"trace {name}")


@pytest.fixture
async def world(
    tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Tor]:
    """The tor of the strangers."""
    state = tmp_path_factory.getbasetemp() / "world"
    config = TorConfig(where="launch", state=state, extra_torrc=tor_network.torrc)
    async with open_tor(config) as tor:
        yield tor


def assert_only_tor(cli: Cli, trace: Trace, state: Path) -> set[str]:
    """See that the process reached nothing but its tor, and that the trace is not blind.

    Returns:
        The names of tor's sockets that it connected to.
    """
    own, others = trace.split(cli.process.pid)
    slot = state / "tor/1"
    families = {call.family for call in own if call.name in {"socket", "socketpair"}}
    assert families == {"AF_UNIX"}, _show(own, "socket")
    named = {call.family for call in own if "sa_family" in call.arguments}
    assert named <= {"AF_UNIX"}, _show(own, "sa_family")
    reached = {call.path for call in own if call.name == "connect"}
    assert reached <= {f"{slot}/control", f"{slot}/socks"}
    bound = {call.path for call in own if call.name == "bind"}
    assert all(path.startswith(f"{slot}/to-") for path in bound), bound
    executed = [call for call in own if call.name.startswith("execve")]
    assert len(executed) == 1, executed  # its own beginning; the keeper's is the keeper's
    # What it may not do was seen where it is allowed: tor makes the connections.
    assert {"AF_INET"} <= {call.family for call in others if call.name == "socket"}
    return {Path(path).name for path in reached}


def _show(calls: list[SystemCall], words: str) -> str:
    return "\n".join(
        str(call) for call in calls if words in str(call) and "AF_UNIX" not in str(call)
    )


def assert_nothing_was_refused(cli: Cli) -> None:
    assert "the guard refused 0 calls" in cli.stderr()


def test_a_whole_seed_and_a_whole_get(
    start_cli: StartCli,
    content_tree: Callable[..., Path],
    trace: Callable[[str], Trace],
    tmp_path: Path,
) -> None:
    content = content_tree(big=2 * MIB)
    seed, get = trace("seed"), trace("get")
    seeder = start_cli(
        "seed", str(content), "--output", str(tmp_path / "x.torrent"), wrapper=seed.wrapper
    )
    magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
    getter = start_cli(
        "get", magnet + NAMES, "--dir", str(tmp_path / "get"), "--seed", wrapper=get.wrapper
    )
    assert_same_tree(content, getter.complete(PATIENCE))
    getter.wait_event("ready", PATIENCE)
    for cli in (getter, seeder):
        assert cli.interrupt() == 130
        assert_nothing_was_refused(cli)
    assert assert_only_tor(seeder, seed, tmp_path / "state0") == {"control"}
    assert assert_only_tor(getter, get, tmp_path / "state1") == {"control", "socks"}


async def test_a_get_from_a_hostile_peer(
    world: Tor, start_cli: StartCli, trace: Callable[[str], Trace], tmp_path: Path
) -> None:
    data = secrets.token_bytes(16_384)
    torrent = hostile_torrent(data)
    file = tmp_path / "hostile.torrent"
    await trio.Path(file).write_bytes(torrent.encode())
    get = trace("get")
    peer = partial(lying_peer, metainfo=torrent, data=data)
    async with served(world, peer) as onion:
        arguments = ("--peer", f"{onion.address}:{onion.port}", "--dir", str(tmp_path / "get"))
        getter = start_cli("get", str(file), *arguments, wrapper=get.wrapper)
        await trio.to_thread.run_sync(getter.complete, PATIENCE)
        assert await trio.to_thread.run_sync(getter.wait) == 0
    assert_nothing_was_refused(getter)
    assert assert_only_tor(getter, get, tmp_path / "state0") == {"control", "socks"}


async def test_a_seed_among_hostile_getters(
    world: Tor, start_cli: StartCli, trace: Callable[[str], Trace], tmp_path: Path
) -> None:
    content = tmp_path / "file"
    await trio.Path(content).write_bytes(secrets.token_bytes(MIB))
    seed = trace("seed")
    seeder = start_cli("seed", str(content), wrapper=seed.wrapper)
    ready = await trio.to_thread.run_sync(partial(seeder.wait_event, "ready", PATIENCE))
    reserved = bytearray(8)
    reserved[5], reserved[7] = 0x10, 0x05
    opening = b"\x13BitTorrent protocol" + bytes(reserved) + bytes.fromhex(ready["info_hash"])
    lies = (len(LYING_HANDSHAKE) + 2).to_bytes(4, "big") + b"\x14\0" + LYING_HANDSHAKE
    attempts = (
        opening + bytes(20) + lies + b"\0\0\0\x03\x09\0\x16",
        opening + bytes(20) + b"\xff\xff\xff\xff" + bytes(9999),
        b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
        secrets.token_bytes(9999),
    )
    for number, attempt in enumerate(attempts):
        stream = await world.dial(ready["onion"], ready["port"], f"hostile {number}")
        with trio.move_on_after(2):
            await stream.send_all(attempt)
            while await stream.receive_some(65536):
                pass
        await stream.aclose()
    assert await trio.to_thread.run_sync(seeder.interrupt) == 130
    assert_nothing_was_refused(seeder)
    assert assert_only_tor(seeder, seed, tmp_path / "state0") == {"control"}
