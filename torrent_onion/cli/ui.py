"""What commands say, behind one small interface: JSON lines, plain lines, or a live terminal.

Three rules. stdout is for results and nothing else; what goes on, warnings and errors go to stderr
(with ``--json`` errors are events on stdout as well). Commands report what they know, as often as
they like: each kind of output decides by itself how much of it is worth showing. Nothing here
waits, so every method may be called from any task.

JSON lines are in ``json_ui.py``, the live terminal in ``terminal.py``, which needs rich; this file
needs nothing slow.
"""

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from torrent_onion.cli import text
from torrent_onion.cli.exit_codes import ExitCode, OutputClosed
from torrent_onion.engine.statistics import TorrentState

if TYPE_CHECKING:
    from torrent_onion.cli.options import OutputOptions
    from torrent_onion.engine.statistics import TorrentStatistics

Clock = Callable[[], float]

PLAIN_INTERVAL = 5.0
"""Seconds between two plain lines about the same thing: enough for a log, few enough to read."""

ALL = 100
"""Per cent."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of several torrents.

    Args:
        index: Its place on the command line, from 0.
        name: For people; not safe to print.
    """

    index: int
    name: str

    @property
    def fields(self) -> dict[str, object]:
        """The same for programs."""
        return {"index": self.index, "name": self.name}


def about(part: Part | None) -> str:
    """What tells apart lines of one kind about several torrents."""
    return f"{part.index} " if part else ""


def in_front(part: Part | None) -> str:
    """What a line about one of several begins with."""
    return f"{text.printable(part.name)}: " if part else ""


class Ui(ABC):
    """Where a command reports to. Close it when the command is over."""

    interval: float = 0.25
    """Seconds between two looks at statistics that are worth the while."""

    is_part = False
    """Whether this is about one of several torrents."""

    @abstractmethod
    def tor(self, phase: str, percent: int | None) -> None:
        """Tor is on its way: the phase in tor's own words, and per cent where they are known."""

    def guard(self, fields: Mapping[str, object], words: str) -> None:
        """What holds this process to Tor: for programs, and the same in a line."""
        del fields
        self.note(words)

    @abstractmethod
    def scanning(self, folder: str, files: int, part: Part | None = None) -> None:
        """So many files have been found in a large folder, whose name is safe to print."""

    @abstractmethod
    def hashing(self, done: int, total: int, part: Part | None = None) -> None:
        """So many bytes have been hashed, to share or to verify them."""

    @abstractmethod
    def progress(self, statistics: "TorrentStatistics", part: Part | None = None) -> None:
        """How a transfer stands."""

    @abstractmethod
    def tracking(self, fields: Mapping[str, object], words: str) -> None:
        """How a tracker stands: the figures for programs, and the same in words."""

    @abstractmethod
    def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
        """What the user asked for, on stdout.

        Args:
            event: The event's name, for programs.
            fields: What belongs to it, for programs.
            words: The same for people: one or more lines, already safe to print.
        """

    @abstractmethod
    def note(self, words: str) -> None:
        """A line for people about what goes on."""

    @abstractmethod
    def warn(self, words: str) -> None:
        """A line that people must not miss, even with ``--quiet``."""

    @abstractmethod
    def error(self, code: ExitCode, message: str, part: Part | None = None) -> None:
        """Why the command fails: one sentence and the way out."""

    def qr_code(self, link: str) -> None:
        """Show the link for a camera, where that makes sense."""
        del link

    @abstractmethod
    def close(self) -> None:
        """Leave the terminal as it was. May be called twice."""


class PlainUi(Ui):
    """Lines that suit a log, a pipe or a screen reader: few, and each complete.

    Args:
        stdout: For results.
        stderr: For the rest.
        quiet: Only results, warnings and errors.
        clock: Seconds, monotonic.
    """

    interval = 1.0

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, quiet: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._quiet = quiet
        self._clock = clock
        self._last: dict[str, tuple[str, float]] = {}

    def tor(self, phase: str, percent: int | None) -> None:
        """A line every few seconds, and one when Tor is connected."""
        label = "Tor" if percent is None else f"Tor {percent}%"
        self._going_on("tor", f"{label}: {text.printable(phase)}", now=percent in {None, ALL})

    def scanning(self, folder: str, files: int, part: Part | None = None) -> None:
        """A line every few seconds."""
        self._going_on(f"{about(part)}scanning", f"Looking: {scanning_words(folder, files)}")

    def hashing(self, done: int, total: int, part: Part | None = None) -> None:
        """A line every few seconds, and one when all is done."""
        name = in_front(part)
        self._going_on(
            f"{about(part)}hashing", f"{name}Hashing: {amount(done, total)}", now=done >= total
        )

    def progress(self, statistics: "TorrentStatistics", part: Part | None = None) -> None:
        """A line every few seconds, and one as soon as the state has changed."""
        kind = statistics.state.value
        name = in_front(part)
        words = transfer_words(statistics)
        if words:
            self._going_on(f"{about(part)}{kind}", f"{name}{state_label(statistics)}: {words}")

    def tracking(self, fields: Mapping[str, object], words: str) -> None:
        """A line every few seconds."""
        del fields
        self._going_on("tracker", f"Tracking: {words}")

    def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
        """The words, on stdout."""
        del event, fields
        if words:
            write_line(self._stdout, words)

    def note(self, words: str) -> None:
        """On stderr, unless that is unwanted."""
        if not self._quiet:
            write_line(self._stderr, words)

    def warn(self, words: str) -> None:
        """On stderr, always."""
        write_line(self._stderr, f"Warning: {words}")

    def error(self, code: ExitCode, message: str, part: Part | None = None) -> None:
        """On stderr, always; the shell has the code."""
        del code
        write_line(self._stderr, f"Error: {in_front(part)}{text.printable(message)}")

    def close(self) -> None:
        """Nothing to put away."""

    def _going_on(self, kind: str, line: str, *, now: bool = False) -> None:
        at = self._clock()
        before, last = self._last.get(kind, ("", -PLAIN_INTERVAL))
        if line != before and (now or at - last >= PLAIN_INTERVAL):
            self._last[kind] = (line, at)
            self.note(line)


def scanning_words(folder: str, files: int) -> str:
    """``12,345 files in photos``."""
    return f"{files:,} files in {folder}"


def amount(done: int, total: int) -> str:
    """``18% of 64.0 MB``."""
    return f"{text.percent(done, total)} of {text.size(total)}"


_LABELS = {
    TorrentState.FETCHING_METADATA: "Asking",
    TorrentState.CHECKING: "Checking",
    TorrentState.DOWNLOADING: "Fetching",
    TorrentState.SEEDING: "Serving",
    TorrentState.FAILED: "Failed",
    TorrentState.STOPPED: "Stopped",
}


def state_label(statistics: "TorrentStatistics") -> str:
    """One word for what a torrent is busy with."""
    return _LABELS[statistics.state]


def transfer_words(statistics: "TorrentStatistics") -> str:
    """What a torrent is busy with, in under 70 characters."""
    peers = text.count(statistics.peers, "connection")  # several may lead to one peer
    match statistics.state:
        case TorrentState.FETCHING_METADATA:
            return f"what is in it, {peers}"
        case TorrentState.CHECKING:
            return f"what is on disk, {amount(statistics.checked, statistics.total)}"
        case TorrentState.DOWNLOADING:
            rate = statistics.download_rate if statistics.peers else 0.0  # it is an average
            parts = [amount(statistics.done, statistics.wanted), text.rate(rate)]
            left = text.time_left(statistics.done, statistics.wanted, rate)
            parts += [f"{left} left"] if left else []
            return ", ".join([*parts, peers])
        case TorrentState.SEEDING:
            rate = statistics.upload_rate if statistics.peers else 0.0
            return f"{peers}, {text.rate(rate)}, {text.size(statistics.uploaded)} sent"
        case TorrentState.FAILED | TorrentState.STOPPED:
            return text.printable(statistics.error or "")


def write_line(stream: TextIO, line: str) -> None:
    """Write one line and flush it.

    Raises:
        OutputClosed: Whoever read the stream is gone.
    """
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def choose_ui(output: "OutputOptions") -> Ui:
    """The kind of output that suits the options and where stderr goes."""
    if output.json:
        from torrent_onion.cli.json_ui import JsonUi

        return JsonUi(sys.stdout, sys.stderr, quiet=output.quiet)
    # With --verbose the log shares stderr, and would break a live display.
    is_live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if is_live and not output.quiet and not output.verbose:
        from torrent_onion.cli.terminal import TerminalUi

        return TerminalUi(sys.stdout, sys.stderr)
    return PlainUi(sys.stdout, sys.stderr, quiet=output.quiet)
