"""Our side of the keeper: start it, have tor started, learn of tor's end, end both.

Two rules. The keeper is started before the process gives anything up, and is the only program that
is started after ``tor --version``. And :meth:`Keeper.aclose` always finishes within a few seconds
and leaves neither the keeper nor tor behind.
"""

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tor_control.errors import TorLaunchFailed

KEEPER_PROGRAM = Path(__file__).with_name("keeper.py")

START_TIMEOUT = 10.0
"""Seconds for an answer; ending the tor before takes up to two of them."""

END_TIMEOUT = 3.0
"""Seconds for the keeper to end tor (two, then it kills) and itself."""


@dataclass(slots=True, eq=False)
class TorRun:
    """One life of tor.

    Args:
        pid: Its process id.
        ended: Set when it has ended.
    """

    pid: int
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True, eq=False)
class _Answer:
    """What the keeper said to the last command."""

    given: trio.Event = field(default_factory=trio.Event)
    run: TorRun | None = None
    failure: str | None = None


class Keeper(trio.abc.AsyncResource):
    """A keeper that runs; made by :meth:`open`.

    :meth:`read_reports` has to run as a task for as long as it is used.
    """

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker: they are pipes
        assert process.stdout is not None  # noqa: S101 - likewise
        self._process = process
        self._commands = process.stdin
        self._reports = process.stdout
        self._answer = _Answer()
        self._gone = False

    @classmethod
    async def open(cls, command: list[str], *, log: Path, socket_folder: Path | None) -> "Keeper":
        """Start the keeper, in a session of its own: Ctrl-C is for us, and we tell the others.

        Args:
            command: Tor and its arguments.
            log: Where tor's output goes.
            socket_folder: A folder of sockets that is removed at the end.

        Raises:
            TorLaunchFailed: It could not be started.
        """
        try:
            process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-I", "-S", str(KEEPER_PROGRAM)),
                    *(str(log), str(socket_folder or ""), *command),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise TorLaunchFailed(
                f"The helper that starts Tor could not be started ({error.strerror}); try again."
            ) from error
        return cls(process)

    @property
    def pid(self) -> int:
        """The keeper's own process id."""
        return self._process.pid

    @property
    def run(self) -> TorRun | None:
        """The tor that was started last."""
        return self._answer.run

    async def start(self, torrc: str) -> TorRun:
        """End the tor that runs, if one does, and start one.

        Args:
            torrc: Its configuration.

        Raises:
            TorLaunchFailed: The program cannot be started, or the keeper is gone.
        """
        configuration = torrc.encode("utf-8", "surrogateescape")
        await trio.lowlevel.checkpoint()
        answer = self._answer = _Answer()
        with trio.move_on_after(START_TIMEOUT), suppress(trio.BrokenResourceError):
            await self._commands.send_all(b"start %d\n" % len(configuration) + configuration)
            if not self._gone:
                await answer.given.wait()
        if answer.run is not None:
            return answer.run
        if answer.failure is not None:
            raise TorLaunchFailed(
                f"Tor could not be started ({answer.failure}); "
                "check --tor-binary and the installation."
            )
        raise TorLaunchFailed("The helper that starts Tor has ended; run the command again.")

    async def read_reports(self) -> None:
        """Take in what the keeper reports until it ends; run it as a task."""
        buffer = bytearray()
        async for data in self._reports:
            buffer += data
            while (end := buffer.find(b"\n")) >= 0:
                self._take(buffer[:end].decode("utf-8", "replace"))
                del buffer[: end + 1]
        self._gone = True
        self._answer.given.set()

    def _take(self, report: str) -> None:
        verb, _, rest = report.partition(" ")
        if verb == "exited":
            run = self._answer.run
            if run is not None and rest.split()[0] == str(run.pid):
                run.ended.set()
            return
        if verb == "started":
            self._answer.run = TorRun(int(rest))
        else:
            self._answer.failure = rest
        self._answer.given.set()

    async def aclose(self) -> None:
        """End tor and the keeper, whatever state they are in. Always finishes."""
        with trio.CancelScope(shield=True):
            await self._commands.aclose()
            with trio.move_on_after(END_TIMEOUT):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reports.aclose()
