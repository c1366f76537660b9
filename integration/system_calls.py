"""What a process asked of the kernel, as strace saw it, told apart from what its children asked."""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 20.0
"""Seconds for strace to write its last lines."""

_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\w+)", re.DOTALL)
_MAKES_A_TASK = {"clone", "clone3", "fork", "vfork"}


@dataclass(frozen=True)
class SystemCall:
    """One call.

    Attributes:
        name: For example ``socket``.
        arguments: As strace writes them.
        result: What the kernel answered; a number, or ``?``.
    """

    name: str
    arguments: str
    result: str

    @property
    def family(self) -> str:
        """Of a socket, or of an address in its arguments; empty without one."""
        found = re.search(r"AF_\w+", self.arguments)
        return found[0] if found else ""

    @property
    def path(self) -> str:
        """Of the Unix socket in its arguments; empty without one."""
        found = re.search(r'sun_path="([^"]*)"', self.arguments)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.name}({self.arguments}) = {self.result}"


class Trace:
    """What strace writes into a folder, one file for each thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What to put before a command; its process is still the one that was started."""
        calls = "trace=%network,%process"
        return (
            *("strace", "-D", "-ff", "-qq", "-yy", "-s", "200", "-e", calls, "-e", "signal=none"),
            *("-o", str(self._folder / "trace"), "--"),
        )

    def split(self, root: int) -> tuple[list[SystemCall], list[SystemCall]]:
        """Tell the calls of a process, all its threads included, from those of its programs.

        Args:
            root: Its id. It has ended.

        Returns:
            Its own calls, and those of every program that it, or one of them, has started.
        """
        self._wait_written()
        files = {int(one.suffix[1:]): one for one in self._folder.iterdir()}
        calls = {pid: _read(file) for pid, file in files.items()}
        starters = {pid for pid in calls if pid != root and _executes(calls[pid])}
        own, todo = set[int](), [root]
        while todo:
            pid = todo.pop()
            own.add(pid)
            made = {
                int(call.result)
                for call in calls[pid]
                if call.name in _MAKES_A_TASK and call.result.isdigit()
            }
            todo += made & calls.keys() - starters - own
        return (
            [call for pid in sorted(own) for call in calls[pid]],
            [call for pid in sorted(calls.keys() - own) for call in calls[pid]],
        )

    def _wait_written(self) -> None:
        """The tracer outlives those whom it follows by a moment."""
        deadline = time.monotonic() + PATIENCE
        while str(self._folder).encode() in _command_lines():
            assert time.monotonic() < deadline, "strace does not end"
            time.sleep(0.05)


def _command_lines() -> bytes:
    found = b""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if command.startswith(b"strace\0"):
            found += command
    return found


def _read(file: Path) -> list[SystemCall]:
    lines = file.read_text(errors="replace").splitlines()
    return [SystemCall(*match.groups()) for line in lines if (match := _CALL.match(line))]


def _executes(calls: list[SystemCall]) -> bool:
    return any(call.name in {"execve", "execveat"} and call.result == "0" for call in calls)


def require_root_and(*programs: str) -> None:
    """Skip, with the reason, what needs root and these programs."""
    if os.geteuid() != 0:
        pytest.skip("this needs root")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"this needs {' and '.join(missing)}")


def require_strace() -> None:
    """Skip where no process may be traced."""
    require_root_and("strace")
    tried = subprocess.run(["strace", "-D", "-qq", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace does not work here: {tried.stderr.decode(errors='replace').strip()}")
