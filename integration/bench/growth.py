"""What it costs to have more: torrents, peers, pieces. No tor, and nobody to compare with."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from integration.bench.figures import Row
from integration.bench.processes import MEGABYTE, ROOT, run_process, serving_process

PROGRAM = "integration.bench.growth_process"
CONNECTIONS = 100
PIECES_OF_100_GB = 5961
IDLE_TORRENTS = 200
IDLE_PEERS = 80
"""As many as one torrent lets in."""
MANY_PIECES = 100_000
MINUTE = 60
MEGABYTES_A_SECOND = 75
"""Fetched of the large torrent for each second that idle ones are watched."""
HELP_MILLISECONDS = 150
HELP_RUNS = 15
"""For each run: it is short."""


def measure(folder: Path, seconds: int, runs: int) -> Iterator[Row]:
    """Measure.

    Args:
        folder: Where files can be made.
        seconds: How long idle torrents and peers are watched.
        runs: Of each.
    """
    yield _row("`--help`", "ms", [_help() for _ in range(runs)], HELP_MILLISECONDS)
    peaks = [_large_torrent(folder, seconds * MEGABYTES_A_SECOND * MEGABYTE) for _ in range(runs)]
    title = f"memory: getter of 100 GB hybrid, {CONNECTIONS} connections"
    yield _row(title, "MB", peaks, 150)
    idle = [run_process(PROGRAM, "idle", IDLE_TORRENTS, seconds) for _ in range(runs)]
    torrents = f"{IDLE_TORRENTS} idle seeding torrents"
    yield _row(f"{torrents}: CPU a minute", "s", _a_minute(idle, seconds), 1)
    yield _row(f"{torrents}: memory each", "KB", _each(idle, IDLE_TORRENTS), 200)
    peers = [_idle_peers(folder, seconds) for _ in range(runs)]
    cpu = [1000 * minute / IDLE_PEERS for minute in _a_minute(peers, seconds)]
    yield _row("an idle peer: CPU a minute", "ms", cpu)
    yield _row("an idle peer: memory", "KB", _each(peers, IDLE_PEERS))
    pieces = [_many_pieces(folder) for _ in range(runs)]
    yield _row("100,000 pieces, none here: memory", "KB", _each(pieces, 1))
    yield _row("the same, waiting: CPU a minute", "s", [each["cpu"] * 12 for each in pieces])


def _row(what: str, unit: str, ours: list[float], reach: float | None = None) -> Row:
    return Row(what, "", unit, ours, (), reach)


def _a_minute(measured: list[dict[str, Any]], seconds: int) -> list[float]:
    return [each["cpu"] * MINUTE / seconds for each in measured]


def _each(measured: list[dict[str, Any]], count: int) -> list[float]:
    return [each["memory"] / 1000 / count for each in measured]


def _large_torrent(folder: Path, size: int) -> float:
    """The most memory in MB of a getter of 100 GB, less that of Python alone."""
    serving, getting = _fresh(folder / "serving"), _fresh(folder / "getting")
    arguments = (CONNECTIONS, PIECES_OF_100_GB)
    try:
        with serving_process(PROGRAM, "seed", serving, *arguments) as (_, place):
            got = run_process(PROGRAM, "get", getting, *arguments, size, place)
    finally:
        shutil.rmtree(serving)
        shutil.rmtree(getting)
    if got["connections"] < CONNECTIONS:
        raise RuntimeError(f"only {got['connections']} connections")
    return (float(got["peak"]) - _interpreter()) / MEGABYTE


def _interpreter() -> float:
    """The most memory in bytes that Python takes when it does nothing."""
    code = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    return float(subprocess.check_output([sys.executable, "-c", code]))


def _idle_peers(folder: Path, seconds: int) -> dict[str, Any]:
    hosting = _fresh(folder / "hosting")
    command = [sys.executable, "-m", PROGRAM]
    try:
        with subprocess.Popen(
            [*command, "host", str(hosting), str(IDLE_PEERS), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as host:
            assert host.stdout is not None
            place = json.loads(host.stdout.readline())["target"]
            with subprocess.Popen([*command, "visit", str(IDLE_PEERS), place], cwd=ROOT) as guests:
                measured: dict[str, Any] = json.loads(host.stdout.readline())
                guests.kill()
            return measured
    finally:
        shutil.rmtree(hosting)


def _many_pieces(folder: Path) -> dict[str, Any]:
    waiting = _fresh(folder / "waiting")
    try:
        return run_process(PROGRAM, "wait", waiting, MANY_PIECES)
    finally:
        shutil.rmtree(waiting)


def _help() -> float:
    """Milliseconds of ``torrent-onion --help``: the median of some."""
    program = Path(sys.executable).with_name("torrent-onion")
    taken = []
    for _ in range(HELP_RUNS):
        began = time.monotonic()
        subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
        taken.append(1000 * (time.monotonic() - began))
    return median(taken)


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder
