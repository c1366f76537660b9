"""Processes that take part in a measurement: started, spoken with in lines of JSON, ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000
PEER = "integration.bench.peer_process"


def run_peer(*arguments: str | Path | int) -> dict[str, Any]:
    """Run a peer to its end; return what it measured."""
    return run_process(PEER, *arguments)


def run_process(program: str, *arguments: str | Path | int) -> dict[str, Any]:
    """Run a module to its end; return what its last line says."""
    command = process_command(program, arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def serving_peer(*arguments: str | Path | int) -> AbstractContextManager[tuple[int, str]]:
    """A peer that serves until the block ends: its process id, and where it listens."""
    return serving_process(PEER, *arguments)


@contextmanager
def serving_process(program: str, *arguments: str | Path | int) -> Iterator[tuple[int, str]]:
    """The same with another module."""
    with subprocess.Popen(
        process_command(program, arguments), stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, str(json.loads(process.stdout.readline())["target"])
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    """The processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_content(path: Path, size: int) -> Path:
    """Write so many random bytes."""
    with path.open("wb") as file:
        for begin in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - begin)))
    return path


def process_command(program: str, arguments: Sequence[str | Path | int]) -> list[str]:
    """How a module is run in a process of its own."""
    return [sys.executable, "-m", program, *map(str, arguments)]
