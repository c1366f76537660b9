"""The parts of the demo: samples, their comparison, and a process that is driven by its events."""

import sys
from pathlib import Path

import pytest
import trio

from torrent_onion.cli import child
from torrent_onion.cli.child import run_child
from torrent_onion.cli.samples import differences, write_samples
from torrent_onion.errors import LocalError


def test_samples_are_equal_to_themselves_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    files, total = write_samples(one)
    found = [path for path in one.rglob("*") if path.is_file()]
    assert (len(found), sum(path.stat().st_size for path in found)) == (files, total)
    assert differences(one, one) == []
    write_samples(other)
    assert differences(one, other) == ["photographs/large.bin"]  # random bytes
    (other / "photographs/large.bin").write_bytes((one / "photographs/large.bin").read_bytes())
    assert differences(one, other) == []
    (other / "empty file.txt").unlink()
    (other / "extra").mkdir()
    assert differences(one, other) == ["empty file.txt", "extra"]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is run in the place of Python."""
    path = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(path))
    return path


def write(script: Path, body: str) -> None:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o700)


async def test_events_are_read_in_their_order(script: Path) -> None:
    write(script, 'echo \'{"event": "tor", "args": "\'"$*"\'"}\'; echo \'{"event": "ready"}\'')
    with trio.fail_after(10):
        async with run_child("get", "x") as process:
            first = await process.wait_for("tor")
            assert first["args"] == "-m torrent_onion.cli get x --json"
            assert await process.wait_for("ready") == {"event": "ready"}


async def test_its_error_is_ours(script: Path) -> None:
    write(script, 'echo \'{"event": "error", "code": 1, "message": "Full."}\'')
    with (
        trio.fail_after(10),
        pytest.raises(LocalError, match=r"`torrent-onion get` failed: Full\."),
    ):
        async with run_child("get") as process:
            await process.wait_for("complete")


async def test_an_early_end_is_an_error(script: Path) -> None:
    write(script, "exit 0")
    with trio.fail_after(10), pytest.raises(LocalError, match="ended before it was ready"):
        async with run_child("seed") as process:
            await process.wait_for("ready")


async def test_it_is_asked_to_end_and_then_killed(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "TIME_TO_END", 0.2)
    write(script, 'trap "" TERM; echo \'{"event": "ready"}\'; while :; do sleep 0.01; done')
    with trio.fail_after(10):
        async with run_child("seed") as process:
            await process.wait_for("ready")
