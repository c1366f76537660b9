"""``torrent-onion`` as a user runs it: a process, its JSON events, its end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

Event = dict[str, Any]
"""As ``--json`` prints it."""

PATIENCE = 180.0
"""Seconds for one event; generous, for nothing here measures speed."""

END_PATIENCE = 5.0
"""Seconds that a command may take to end after Ctrl-C: its promise to the user."""

TAIL = 25
"""Lines of each log that a failure shows."""


class CliFailed(AssertionError):
    """The process did not do what the test waits for; the text has all that it said."""


class Cli:
    """A running ``torrent-onion COMMAND ... --json``.

    Args:
        arguments: After the program's name, the command first.
        stderr: The file that takes its stderr.
        state: What it was given by ``--state``; its tor's log is found there.
        environment: Variables beside those of this process.
        wrapper: A command that runs the program instead of itself (``exec``), strace for example.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stderr: Path,
        state: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.arguments = tuple(arguments)
        self.events: list[Event] = []
        self._seen = 0
        self._ended = False
        self._news = threading.Condition()
        self._stderr = stderr
        self._state = state
        with stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "torrent_onion.cli", *arguments, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_event(
        self,
        name: str,
        timeout: float = PATIENCE,
        *,
        where: Callable[[Event], bool] = lambda _: True,
    ) -> Event:
        """Return the first event of that name, after those that earlier calls returned.

        Args:
            name: Its ``event``.
            timeout: Seconds.
            where: What else must hold of it.

        Raises:
            CliFailed: An error came first, the process ended, or time is up.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                while self._seen < len(self.events):
                    event = self.events[self._seen]
                    self._seen += 1
                    if event["event"] == name and where(event):
                        return event
                    if event["event"] == "error":
                        raise self._failure(f"an error came before {name}")
                if self._ended:
                    raise self._failure(f"it ended before {name}")
                if not self._news.wait(deadline - time.monotonic()):
                    raise self._failure(f"no {name} in {timeout:.0f} seconds")

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until it has ended by itself.

        Returns:
            Its exit code.

        Raises:
            CliFailed: It goes on.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"it did not end in {timeout:.0f} seconds") from None
        self._reader.join()
        return code

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Do as Ctrl-C does; see that it ends in time.

        Returns:
            Its exit code.
        """
        self.process.send_signal(number)
        return self.wait(END_PATIENCE)

    def kill(self) -> None:
        """End it with no warning and no chance to clean up."""
        self.process.kill()
        self.wait()

    def complete(self, timeout: float = PATIENCE) -> Path:
        """Wait until `get` has it all.

        Returns:
            Where it is.
        """
        return Path(self.wait_event("complete", timeout)["path"])

    def close(self) -> None:
        """End it, whatever it takes; for fixtures."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(END_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stderr(self) -> str:
        """What it has said on stderr so far."""
        return self._stderr.read_text(errors="replace")

    def describe(self) -> str:
        """All that is known of it, for whoever reads a failure."""
        code = self.process.poll()
        status = "still runs" if code is None else f"ended with {code}"
        events = self.events[-TAIL:]
        parts = [
            f"torrent-onion {' '.join(self.arguments)}: {status}",
            *(f"    {json.dumps(event, ensure_ascii=False)}" for event in events),
            tail("stderr", self._stderr),
        ]
        if self._state is not None:
            parts += [tail("tor", log) for log in sorted(self._state.rglob("*log"))]
        return "\n".join(parts)

    def _failure(self, words: str) -> CliFailed:
        return CliFailed(f"{words}\n{self.describe()}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def tail(title: str, log: Path) -> str:
    """The last lines of a log under a title."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL:]
    except OSError as error:
        lines = [f"({error.strerror})"]
    return "\n".join([f"  {title} ({log}):", *(f"    {line}" for line in lines)])
