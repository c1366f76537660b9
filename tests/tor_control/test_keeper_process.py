"""Our side of the keeper before there is an event loop, and in it; shell scripts are tor."""

import os
import sys
from pathlib import Path

import pytest
import trio

from tor_control import keeper_process
from tor_control.errors import TorLaunchFailed
from tor_control.keeper_client import Keeper
from tor_control.keeper_process import KeeperProcess


def a_program(folder: Path, script: str) -> str:
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return str(program)


def test_leaving_ends_it() -> None:
    with KeeperProcess() as process:
        os.kill(process.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_it_has_a_session_of_its_own() -> None:
    with KeeperProcess() as process:
        assert os.getsid(process.pid) == process.pid


def test_a_version_is_asked_for(tmp_path: Path) -> None:
    with KeeperProcess() as process:
        assert process.ask_version(a_program(tmp_path, "echo Tor version 0.4.9.1")) == "0.4.9.1"
        assert process.ask_version("/bin/true") is None
        process.kill()
        process.wait()
        assert process.ask_version("/bin/true") is None


def test_one_that_cannot_be_started_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/missing")
    with pytest.raises(TorLaunchFailed, match="helper"):
        KeeperProcess()


def test_a_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    with KeeperProcess() as process:
        process.will_remove(folder)
    assert not folder.exists()


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("import time\nwhile True: time.sleep(1)\n")
    monkeypatch.setattr(keeper_process, "KEEPER_PROGRAM", silent)
    monkeypatch.setattr(keeper_process, "END_TIMEOUT", 0.05)
    with KeeperProcess() as process:
        os.kill(process.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_a_tor_is_started_again_and_ended(tmp_path: Path) -> None:
    program = a_program(tmp_path, 'cat > "$1"; exec sleep 1000')
    torrc = "umlaut \u00fc, surrogate \udcff\n" + "x" * 100_000
    with KeeperProcess() as process:
        process.prepare([program, str(tmp_path / "got")], torrc=torrc, log=tmp_path / "log")
        async with Keeper(process) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.read_reports)
            first = await keeper.start()
            second = await keeper.start()
            assert second.pid != first.pid
            assert keeper.run is second
            os.kill(second.pid, 9)
            await second.ended.wait()
            third = await keeper.start()
            nursery.cancel_scope.cancel()
        with pytest.raises(ProcessLookupError):
            os.kill(third.pid, 0)
    content = (tmp_path / "got").read_bytes()
    assert content == torrc.encode("utf-8", "surrogateescape")


async def test_it_can_be_told_to_start_nothing(tmp_path: Path) -> None:
    with KeeperProcess() as process:
        process.start_nothing()
        process.prepare([a_program(tmp_path, "true")], torrc="", log=tmp_path / "log")
        async with Keeper(process) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.read_reports)
            with pytest.raises(TorLaunchFailed):
                await keeper.start()
            nursery.cancel_scope.cancel()
