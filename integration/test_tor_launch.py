"""A tor of our own, real: started, started again, ended however we end.

Most of these tors have ``DisableNetwork 1``: they start at once and talk to nobody.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from integration.launched_tor import connected, launched
from tor_control.config import TorConfig
from tor_control.controller import open_tor
from tor_control.errors import (
    BootstrapStalled,
    TorLaunchFailed,
    TorLost,
    TorNotFound,
    TorTooOld,
)
from tor_control.events import Bootstrap, Connected, TorEvent
from tor_control.keeper_process import KeeperProcess
from tor_control.launch import LaunchedTor, TorProgram, find_tor

PATIENCE = 20.0
"""Seconds for anything here; each takes a fraction of one on a machine with nothing else to do."""

OFFLINE = "DisableNetwork 1\nGeoIPFile /dev/null\nGeoIPv6File /dev/null\n"

NOWHERE = """\
TestingTorNetwork 1
DirAuthority nobody orport=1 no-v2 v3ident={0} 127.0.0.1:1 {0}
""".format("A" * 40)
"""A network that is not there."""


@pytest.fixture
def config(tmp_path: Path) -> TorConfig:
    torrc = tmp_path / "torrc"
    torrc.write_text(OFFLINE)
    return TorConfig(where="launch", state=tmp_path / "state", extra_torrc=torrc)


def pid_of(tor: LaunchedTor) -> int:
    assert tor.run is not None
    return tor.run.pid


def is_running(pid: int) -> bool:
    """A zombie does not count: nobody here may be able to wait for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_gone(*pids: int) -> None:
    with trio.fail_after(PATIENCE):
        while any(is_running(pid) for pid in pids):  # noqa: ASYNC110 - they are not our children
            await trio.sleep(0.02)


def everything_of(state: Path) -> list[int]:
    """Tors whose command line names this folder, and the keepers of ours and of theirs."""
    commands: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_running(int(entry.name)):
            with suppress(OSError):
                commands[int(entry.name)] = (entry / "cmdline").read_bytes()
    named = {pid for pid, command in commands.items() if str(state).encode() in command}
    starters = {os.getpid(), *named}
    keepers = {
        pid
        for pid, command in commands.items()
        if _is_keeper(command) and parent_of(pid) in starters
    }
    return sorted((named | keepers) - {os.getpid()})


def _is_keeper(command: bytes) -> bool:
    """A private network has a keeper as well, which is another program."""
    return any(part.endswith(b"tor_control/keeper.py") for part in command.split(b"\0")[:5])


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return None


async def test_it_listens_on_unix_sockets_only_and_ends(config: TorConfig) -> None:
    async with connected(config) as (tor, connection):
        assert connection.tor_version >= (0, 4, 7)
        assert await connection.get_info("net/listeners/control") == f'"{tor.control}"'
        for kind in ("or", "dir", "dns", "trans", "natd", "httptunnel", "extor", "metrics"):
            assert await connection.get_info(f"net/listeners/{kind}") == ""
        assert await connection.get_info("config-text")
        for folder in (config.state, config.state / "tor/1", config.state / "tor/1/data"):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert await connection.command("GETCONF SafeSocks") == ["SafeSocks=1"]
        pids = everything_of(config.state)
        assert len(pids) == 2
    assert not any(map(is_running, pids))


async def test_options_reach_tor(config: TorConfig) -> None:
    assert config.extra_torrc is not None
    await trio.Path(config.extra_torrc).write_text(OFFLINE + NOWHERE)
    config = replace(config, onion_only=True, allow_private_addresses=True)
    async with connected(config) as (_, connection):
        [socks] = await connection.command("GETCONF SocksPort")
        assert socks.endswith("ExtendedErrors KeepAliveIsolateSOCKSAuth OnionTrafficOnly")
        for option in ("ClientRejectInternalAddresses", "ClientDNSRejectInternalAddresses"):
            assert await connection.command(f"GETCONF {option}") == [f"{option}=0"]
    config = replace(config, onion_only=False, allow_private_addresses=False)
    async with connected(config) as (_, connection):
        [socks] = await connection.command("GETCONF SocksPort")
        assert socks.endswith("ExtendedErrors KeepAliveIsolateSOCKSAuth")
        for option in ("ClientRejectInternalAddresses", "ClientDNSRejectInternalAddresses"):
            assert await connection.command(f"GETCONF {option}") == [f"{option}=1"]


async def test_it_starts_again_in_the_same_place(config: TorConfig) -> None:
    async with launched(config) as tor:
        first = await tor.connect()
        places, pid = (tor.control, tor.socks), pid_of(tor)
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            await first.wait_closed()
        with pytest.raises(TorLost):
            await first.command("GETINFO version")
        second = await tor.connect()
        assert (tor.control, tor.socks) == places
        assert pid_of(tor) != pid
        assert await second.get_info("process/pid") == str(pid_of(tor))
        await first.aclose()
        await second.aclose()


async def test_it_ends_with_its_control_connection(config: TorConfig) -> None:
    async with launched(config) as tor:
        connection = await tor.connect()
        assert tor.run is not None
        await connection.aclose()
        with trio.fail_after(PATIENCE):
            await tor.run.ended.wait()


async def test_several_at_once_have_places_of_their_own(config: TorConfig) -> None:
    async with connected(config) as (first, _), connected(config) as (second, _):
        assert first.control != second.control
        assert "/tor/1/" in str(first.control)
        assert "/tor/2/" in str(second.control)
    async with connected(config) as (third, _):
        assert third.control == first.control


async def test_a_frozen_tor_is_ended_within_seconds(config: TorConfig) -> None:
    async with connected(config) as (tor, _):
        os.kill(pid_of(tor), signal.SIGSTOP)
        began_at = trio.current_time()
    assert trio.current_time() - began_at < 4
    assert everything_of(config.state) == []


async def test_cancelling_at_any_moment_leaves_nothing(config: TorConfig) -> None:
    for moment in (0.01, 0.03, 0.05, 0.08, 0.12, 0.2):
        with trio.move_on_after(moment):
            async with connected(config):
                await trio.sleep_forever()
        assert everything_of(config.state) == []


async def test_a_killed_keeper_leaves_nothing(config: TorConfig) -> None:
    async with connected(config) as (tor, connection):
        [keeper] = set(everything_of(config.state)) - {pid_of(tor)}
        os.kill(keeper, signal.SIGKILL)
        await wait_gone(keeper)
        assert await connection.get_info("version")
        os.kill(pid_of(tor), signal.SIGSTOP)
    assert everything_of(config.state) == []


async def test_without_a_keeper_there_is_no_restart(config: TorConfig) -> None:
    async with connected(config) as (tor, _):
        [keeper] = set(everything_of(config.state)) - {pid_of(tor)}
        os.kill(keeper, signal.SIGKILL)
        await wait_gone(keeper)
        with trio.fail_after(PATIENCE), pytest.raises(TorLaunchFailed, match="helper"):
            await tor.connect()


async def test_a_long_path_gets_its_sockets_elsewhere(config: TorConfig, tmp_path: Path) -> None:
    config = replace(config, state=tmp_path / ("long" * 30) / "state")
    config.state.parent.mkdir()
    async with connected(config) as (tor, _):
        folder = Path(tor.control.path).parent
        assert len(tor.control.path) <= 100
        assert folder.stat().st_mode & 0o777 == 0o700
        os.kill(pid_of(tor), signal.SIGKILL)  # so that tor cannot remove them
    assert not folder.exists()


async def test_paths_may_have_any_characters(config: TorConfig, tmp_path: Path) -> None:
    config = replace(config, state=tmp_path / 'a "quoted" \\ påth')
    async with connected(config) as (_, connection):
        assert await connection.get_info("version")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("Nonsense 1\n", "Unknown option 'Nonsense'"),
        ("Bridge nonsense\n", "Bridge line did not parse"),
        ("SocksPort 127.0.0.1:70000\n", "Invalid SocksPort configuration"),
    ],
)
async def test_wrong_lines_are_named(config: TorConfig, lines: str, reason: str) -> None:
    assert config.extra_torrc is not None
    await trio.Path(config.extra_torrc).write_text(OFFLINE + lines)
    with trio.fail_after(PATIENCE), pytest.raises(TorLaunchFailed, match=reason):
        async with connected(config):
            pass
    assert everything_of(config.state) == []


async def test_missing_lines_are_named(config: TorConfig, tmp_path: Path) -> None:
    config = replace(config, extra_torrc=tmp_path / "missing")
    with pytest.raises(TorLaunchFailed, match="correct --torrc"):
        async with connected(config):
            pass


async def test_an_unusable_folder_is_named(config: TorConfig) -> None:
    await trio.Path(config.state).write_text("a file")
    with pytest.raises(TorLaunchFailed, match="another with --state"):
        async with connected(config):
            pass


def a_program(folder: Path, script: str) -> str:
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return str(program)


async def test_programs_that_will_not_do(tmp_path: Path) -> None:
    environment = dict(os.environ)

    async def find(binary: str) -> TorProgram:
        with KeeperProcess() as process:
            return await find_tor(binary, environment, process)

    with pytest.raises(TorNotFound, match="correct --tor-binary"):
        await find(str(tmp_path / "missing"))
    with pytest.raises(TorTooOld, match=r"0\.4\.6\.12"):
        await find(a_program(tmp_path, "echo 'Tor version 0.4.6.12 (git-1).'"))
    with pytest.raises(TorLaunchFailed, match="no Tor that works"):
        await find(a_program(tmp_path, "echo hello"))
    found = await find(a_program(tmp_path, "echo 'Tor version 0.5.0.1-alpha.'"))
    assert found.version == (0, 5, 0, 1)


async def test_a_program_that_only_pretends_is_no_hang(config: TorConfig, tmp_path: Path) -> None:
    config = replace(
        config,
        binary=a_program(tmp_path, 'case "$1" in --version) echo Tor version 0.4.9.1;; esac'),
    )
    with trio.fail_after(PATIENCE), pytest.raises(TorLaunchFailed):
        async with connected(config):
            pass


CHILD = """
import sys, trio
sys.path.insert(0, {root!r})
from pathlib import Path
from integration.launched_tor import connected
from tor_control.config import TorConfig

async def main():
    config = TorConfig(where="launch", state=Path({state!r}), extra_torrc=Path({torrc!r}))
    async with connected(config) as (tor, _):
        print(tor.run.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@dataclass
class Child:
    """Another process of ours with a tor of its own."""

    process: trio.Process
    tor: int
    keeper: int
    slot: Path
    pids: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.pids = (self.process.pid, self.keeper, self.tor)


@asynccontextmanager
async def child(config: TorConfig) -> AsyncIterator[Child]:
    script = CHILD.format(
        root=str(Path(__file__).parent.parent),
        state=str(config.state),
        torrc=str(config.extra_torrc),
    )
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE):
            tor = int(await process.stdout.receive_some())
        keeper = parent_of(tor)
        assert keeper is not None
        yield Child(process, tor, keeper, config.state / "tor/1")
    finally:
        process.kill()
        await process.stdout.aclose()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_nothing_survives_a_kill_of_us(config: TorConfig) -> None:
    async with child(config) as other:
        other.process.kill()
        with trio.fail_after(5):
            await wait_gone(*other.pids)


async def test_a_frozen_tor_does_not_survive_a_kill_of_us(config: TorConfig) -> None:
    async with child(config) as other:
        os.kill(other.tor, signal.SIGSTOP)
        other.process.kill()
        with trio.fail_after(5):
            await wait_gone(*other.pids)


async def test_tor_does_not_survive_a_kill_of_us_and_the_keeper(config: TorConfig) -> None:
    async with child(config) as other:
        os.kill(other.keeper, signal.SIGKILL)
        other.process.kill()
        with trio.fail_after(5):
            await wait_gone(*other.pids)


async def test_ctrl_c_reaches_neither_keeper_nor_tor(config: TorConfig) -> None:
    async with child(config) as other:
        for pid in (other.keeper, other.tor):
            assert os.getsid(pid) == other.keeper


async def test_a_stale_tor_is_ended_and_its_place_taken(config: TorConfig) -> None:
    async with child(config) as other:
        os.kill(other.tor, signal.SIGSTOP)
        os.kill(other.keeper, signal.SIGKILL)
        other.process.kill()
        await wait_gone(other.keeper, other.process.pid)
        assert is_running(other.tor)
        async with connected(config) as (tor, _):
            assert Path(tor.control.path).parent == other.slot
            assert not is_running(other.tor)


async def test_another_process_is_never_taken_for_a_stale_tor(config: TorConfig) -> None:
    async with child(config) as other:
        os.kill(other.tor, signal.SIGSTOP)
        os.kill(other.keeper, signal.SIGKILL)
        other.process.kill()
        await wait_gone(other.keeper, other.process.pid)
        bystander = await trio.lowlevel.open_process(["sleep", "1000"])
        try:
            (other.slot / "tor.pid").write_text(str(bystander.pid))
            async with connected(config) as (tor, _):
                assert "/tor/2/" in tor.control.path
            assert bystander.poll() is None
        finally:
            bystander.kill()
            await bystander.wait()
            os.kill(other.tor, signal.SIGKILL)


async def test_a_bootstrap_that_gets_nowhere_ends_in_a_sentence(config: TorConfig) -> None:
    assert config.extra_torrc is not None
    await trio.Path(config.extra_torrc).write_text(NOWHERE)
    events: list[TorEvent] = []
    with trio.fail_after(PATIENCE), pytest.raises(BootstrapStalled, match="clock"):
        async with open_tor(replace(config, stall_after=1.0), events.append):
            pass
    assert isinstance(events[0], Connected)
    assert any(isinstance(event, Bootstrap) for event in events)
    assert everything_of(config.state) == []
