"""Another ``torrent-onion`` process, driven by its JSON events."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from torrent_onion.errors import LocalError

TIME_TO_END = 6.0
"""Seconds between asking a child to end and killing it; it promises 5."""

_CHUNK = 65536

Event = dict[str, Any]
"""As ``--json`` prints it."""


class Child:
    """A process of this very program.

    Args:
        name: For error messages.
        process: Started with ``--json`` and a pipe for stdout.

    Its stdout is read only while somebody waits for an event: it prints far less than a pipe holds.
    """

    def __init__(self, name: str, process: trio.Process) -> None:
        self._name = name
        self._process = process
        self._received = b""

    async def wait_for(self, event: str) -> Event:
        """Read events until this one comes.

        Raises:
            LocalError: The process failed, or ended without it.
        """
        while (line := await self._next_line()) is not None:
            found: Event = json.loads(line)
            if found["event"] == event:
                return found
            if found["event"] == "error":
                raise LocalError(f"{self._name} failed: {found['message']}")
        raise LocalError(
            f"{self._name} ended before it was {event}. Run it again with --verbose to see why."
        )

    async def _next_line(self) -> bytes | None:
        """The next whole line; None at the end."""
        await trio.lowlevel.checkpoint()
        stdout = self._process.stdout
        while b"\n" not in self._received:
            chunk = await stdout.receive_some(_CHUNK) if stdout else b""
            if not chunk:
                return None
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line


@asynccontextmanager
async def run_child(*arguments: str, verbose: int = 0) -> AsyncIterator[Child]:
    """Start a command in a process; it is ended when the block is left, however that happens.

    It gets a session of its own, so that a Ctrl-C is ours alone to deal with. Should we be killed,
    its next event fails and it ends by itself.

    Args:
        arguments: The command line.
        verbose: How often ``--verbose`` is given; then its stderr is ours.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "torrent_onion.cli", *arguments, "--json", *["-v"] * verbose],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Child(f"`torrent-onion {arguments[0]}`", process)
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    if process.poll() is None:
        process.terminate()
    with trio.move_on_after(TIME_TO_END):
        await process.wait()
    if process.poll() is None:
        process.kill()
        await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()
