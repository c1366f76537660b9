"""A whole Tor network: it comes up, keeps to this machine, and leaves nothing behind."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from integration.command_line import ROOT
from integration.conftest import StartCli
from tor_control import private_network as module
from tor_control.controller import Tor, TorConfig, open_tor
from tor_control.errors import DialError, PrivateNetworkFailed, TorNotFound
from tor_control.private_network import PrivateNetwork, private_network

PATIENCE = 180.0
"""Seconds for a network to come up on a busy machine."""

GONE_AFTER = 5.0
"""Seconds from any kind of end until no process and no file is left; it takes less than one."""

OUTSIDE = "203.0.113.7"
"""An address that belongs to nobody (RFC 5737)."""


def silent(words: str) -> None:
    """No progress is shown."""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_gone(folder: Path, pids: Iterable[int]) -> None:
    deadline = time.monotonic() + GONE_AFTER
    while folder.exists() or any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.02)


@pytest.fixture
async def client(tor_network: PrivateNetwork, tmp_path: Path) -> AsyncIterator[Tor]:
    """A tor that may dial any address, as far as we are concerned."""
    config = TorConfig(
        where="launch",
        state=tmp_path / "state",
        extra_torrc=tor_network.torrc,
        allow_private_addresses=True,
    )
    with trio.fail_after(PATIENCE):
        async with open_tor(config) as tor:
            yield tor


def test_it_is_live_and_private(tor_network: PrivateNetwork) -> None:
    assert tor_network.relays == len(tor_network.pids) == 8
    assert all(map(is_alive, tor_network.pids))
    assert tor_network.directory.stat().st_mode & 0o777 == 0o700
    assert tor_network.torrc.read_text().count("DirAuthority ") == 3


async def test_an_exit_reaches_this_machine(client: Tor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, trio.fail_after(PATIENCE):
        stream = await client.dial("127.0.0.1", server.getsockname()[1], "here")
        await stream.send_all(b"hello")
        connection, (host, _) = server.accept()
        with connection:
            assert connection.recv(5) == b"hello"
        assert host == "127.0.0.1"
        await stream.aclose()


async def test_an_exit_reaches_nothing_else(client: Tor) -> None:
    with trio.fail_after(PATIENCE), pytest.raises(DialError):
        await client.dial(OUTSIDE, 80, "outside")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_node_listens_or_talks_outside_loopback(tor_network: PrivateNetwork) -> None:
    """What the kernel says of their sockets; TCP and UDP, either version of IP."""
    ours = {
        str(entry.readlink())
        for pid in tor_network.pids
        for entry in Path(f"/proc/{pid}/fd").iterdir()
    }
    addresses = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in ours:
                addresses.append((table, fields[1], fields[2]))
    assert len(addresses) >= tor_network.relays
    for table, local, remote in addresses:
        assert remote.startswith(("0100007F:", "00000000:0000")), (table, local, remote)
        assert local.startswith("0100007F:") or table == "udp", (table, local, remote)


STARTER = """
import sys, trio
from pathlib import Path
from tor_control.private_network import private_network

async def main():
    async with private_network(Path(sys.argv[1]), on_progress=lambda _: None) as network:
        print(*network.pids, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_it_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as starter:
        assert starter.stdout is not None
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert len(pids) == 8
        assert folder.exists()
        starter.kill()
    wait_gone(folder, pids)


def test_the_command_ends_it_on_ctrl_c(start_cli: StartCli, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    command = start_cli("private-network", str(folder), "--relays", "2", tor=None)
    ready = command.wait_event("ready", PATIENCE)
    assert ready["relays"] == 5
    assert "TestingTorNetwork 1" in Path(ready["torrc"]).read_text()
    assert command.interrupt() == 128 + signal.SIGINT
    assert not folder.exists()


async def test_cancelling_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    told = []

    def cancel_when_they_run(words: str) -> None:
        told.append(words)
        if "introduce" in words:
            scope.cancel()

    with trio.CancelScope() as scope:
        async with private_network(folder, on_progress=cancel_when_they_run):
            pytest.fail("it was cancelled before")
    assert scope.cancelled_caught
    assert len(told) == 2
    assert not folder.exists()


async def test_ports_are_drawn_until_they_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        draws: list[list[int]] = []

        def first_a_taken_one(ports: range, count: int) -> list[int]:
            drawn = random.sample(ports, count)
            draws.append([*drawn[1:], taken] if not draws else drawn)
            return list(draws[-1])

        monkeypatch.setattr(module, "random", SimpleNamespace(sample=first_a_taken_one))

        async def use_it() -> None:
            async with private_network(tmp_path / "network", relays=2, on_progress=silent) as live:
                assert str(draws[1][0]) in live.torrc.read_text()
                raise LookupError("mine")

        # On the way: an error of the caller comes out as it went in.
        with pytest.raises(LookupError, match="mine"):
            await use_it()
        assert len(draws) == 2
    assert not (tmp_path / "network").exists()


@pytest.fixture
def tor_with(tmp_path: Path) -> Callable[[str], str]:
    """A tor that is real but for one case of its arguments."""

    def make(case: str) -> str:
        program = tmp_path / "tor"
        program.write_text(f'#!/bin/sh\ncase "$*" in {case} ;; *) exec tor "$@" ;; esac\n')
        program.chmod(0o700)
        return str(program)

    return make


async def test_a_node_that_fails_is_quoted(tmp_path: Path, tor_with: Callable[[str], str]) -> None:
    tor = tor_with("""*relay1*) echo 'Jan 01 00:00:00.000 [warn] I am unwell.'; exit 1""")
    began = time.monotonic()
    with pytest.raises(PrivateNetworkFailed, match=r"relay1: \[warn\] I am unwell\."):
        async with private_network(tmp_path / "network", on_progress=silent, binary=tor):
            pytest.fail("a node failed")
    assert time.monotonic() - began < PATIENCE / 2
    assert not (tmp_path / "network").exists()


async def test_keys_that_cannot_be_made_are_quoted(
    tmp_path: Path, tor_with: Callable[[str], str]
) -> None:
    tor = tor_with("""*--list-fingerprint*) echo '[err] No keys today.'; exit 1""")
    with pytest.raises(PrivateNetworkFailed, match=r"authority0: \[err\] No keys today\."):
        async with private_network(tmp_path / "network", on_progress=silent, binary=tor):
            pytest.fail("there are no keys")


async def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(PrivateNetworkFailed, match="is not empty; choose another"):
        async with private_network(tmp_path, on_progress=silent):
            pytest.fail("the folder is in use")
    assert (tmp_path / "letter").read_text() == "dear"


async def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(PrivateNetworkFailed, match="cannot be used"):
        async with private_network(tmp_path / "letter", on_progress=silent):
            pytest.fail("this is no folder")


async def test_a_missing_tor_is_named(tmp_path: Path) -> None:
    with pytest.raises(TorNotFound, match="no-such-tor"):
        async with private_network(tmp_path / "n", on_progress=silent, binary="no-such-tor"):
            pytest.fail("there is no tor")
    assert not (tmp_path / "n").exists()
