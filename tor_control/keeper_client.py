"""The keeper in the event loop: have tor started, learn of tor's end, end both.

Two rules. What is started was decided before (``keeper_process.py``). And :meth:`Keeper.aclose`
always finishes within a few seconds and leaves neither the keeper nor tor behind.
"""

from contextlib import suppress
from dataclasses import dataclass, field

import trio

from tor_control.errors import TorLaunchFailed
from tor_control.keeper_process import END_TIMEOUT, KeeperProcess

START_TIMEOUT = 10.0
"""Seconds for an answer; ending the tor before takes up to two of them."""


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
    """A keeper that runs and knows what to start.

    :meth:`read_reports` has to run as a task for as long as it is used.

    Args:
        process: It belongs to this object from now on.
    """

    def __init__(self, process: KeeperProcess) -> None:
        self._process = process
        commands, reports = process.take_pipes()
        self._commands = trio.lowlevel.FdStream(commands)
        self._reports = trio.lowlevel.FdStream(reports)
        self._answer = _Answer()
        self._gone = False

    @property
    def pid(self) -> int:
        """The keeper's own process id."""
        return self._process.pid

    @property
    def run(self) -> TorRun | None:
        """The tor that was started last."""
        return self._answer.run

    async def start(self) -> TorRun:
        """End the tor that runs, if one does, and start one.

        Raises:
            TorLaunchFailed: The program cannot be started, or the keeper is gone.
        """
        await trio.lowlevel.checkpoint()
        answer = self._answer = _Answer()
        with trio.move_on_after(START_TIMEOUT), suppress(trio.BrokenResourceError):
            await self._commands.send_all(b"start 0\n")
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
                await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
            self._process.kill()  # which does nothing to one that has ended
            await trio.to_thread.run_sync(self._process.wait)
            await self._reports.aclose()
