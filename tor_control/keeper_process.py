"""The keeper as a process that was started, before there is an event loop.

It has to be started first of all, because later this process may no longer start anything, and
because what confines us confines the programs that we start from then on. What it may start is told
to it once, by :meth:`KeeperProcess.prepare` or :meth:`KeeperProcess.start_nothing`.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from tor_control.errors import TorLaunchFailed

KEEPER_PROGRAM = Path(__file__).with_name("keeper.py")

END_TIMEOUT = 3.0
"""Seconds for the keeper to end tor (two, then it kills) and itself."""


class KeeperProcess:
    """A keeper that runs. Leaving it as a context manager ends it, and tor with it.

    It gets a session of its own: Ctrl-C is for us, and we tell the others.

    Raises:
        TorLaunchFailed: It could not be started.
    """

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise TorLaunchFailed(
                f"The helper that starts Tor could not be started ({error.strerror}); try again."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask_version(self, program: str) -> str | None:
        """Have a tor asked for its version; blocks, for ten seconds at the most.

        Returns:
            What it said, or None if it is no tor that works.
        """
        self._send("version", os.fsencode(program))
        answer = self._stdout.readline().decode("utf-8", "replace").rstrip("\n")
        verb, _, version = answer.partition(" ")
        return version if verb == "version" else None

    def will_remove(self, folder: Path) -> None:
        """Have a folder of sockets removed at the end."""
        self._send("folder", os.fsencode(folder))

    def prepare(self, command: Sequence[str], *, torrc: str, log: Path) -> None:
        """Say what it will start; no more can be asked of it then.

        Args:
            command: Tor and its arguments.
            torrc: For its standard input.
            log: Where its output goes.
        """
        words = (os.fsencode(log), torrc.encode("utf-8", "surrogateescape").replace(b"\0", b""))
        self._send("prepare", b"\0".join([*words, *map(os.fsencode, command)]))

    def start_nothing(self) -> None:
        """Take from it, for good, the power to start anything."""
        self._send("prepare", b"")

    def take_pipes(self) -> tuple[int, int]:
        """Hand over its standard input and output, as descriptors; close the former to end it."""
        commands, reports = self._stdin, self._stdout
        taken = os.dup(commands.fileno()), os.dup(reports.fileno())
        commands.close()
        reports.close()
        return taken

    def wait(self) -> None:
        """Wait until it has ended; blocks."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once; then tor ends by itself within seconds."""
        self._process.kill()

    def close(self) -> None:
        """End it. Always finishes, within a few seconds."""
        self._stdin.close()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _send(self, verb: str, content: bytes) -> None:
        data = memoryview(f"{verb} {len(content)}\n".encode() + content)
        with suppress(BrokenPipeError):  # it is gone, as the next answer will tell
            while data:
                data = data[self._stdin.write(data) :]

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - likewise
        return self._process.stdout
