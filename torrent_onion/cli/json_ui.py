"""What commands say to programs: one JSON object a line."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from torrent_onion.cli.exit_codes import ExitCode
from torrent_onion.cli.ui import Clock, Part, Ui, about, write_line
from torrent_onion.engine.statistics import TorrentState

if TYPE_CHECKING:
    from torrent_onion.engine.statistics import TorrentStatistics

JSON_INTERVAL = 1.0
"""Seconds between two events of one kind."""

HEARTBEAT = 10.0
"""Seconds after which a progress event is sent although nothing has changed.

The program that reads our events then knows that we live; and when it is gone, the failing write
ends us soon, so that no seeder stays behind.
"""


class JsonUi(Ui):
    """One JSON object a line on stdout; warnings for people on stderr.

    Args:
        stdout: For events.
        stderr: For warnings.
        quiet: Leave out what only tells that something goes on.
        clock: Seconds, monotonic.
    """

    interval = JSON_INTERVAL

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, quiet: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._quiet = quiet
        self._clock = clock
        self._last: dict[tuple[str, str], tuple[dict[str, object], float]] = {}

    def tor(self, phase: str, percent: int | None) -> None:
        """Every phase is an event, at once."""
        self._going_on("tor", {"phase": phase, "percent": percent}, now=True)

    def guard(self, fields: Mapping[str, object], words: str) -> None:
        """An event."""
        del words
        self._going_on("guard", dict(fields), now=True)

    def scanning(self, folder: str, files: int, part: Part | None = None) -> None:
        """At most one event a second."""
        del folder
        self._going_on("scanning", {**_fields(part), "files": files}, about=about(part))

    def hashing(self, done: int, total: int, part: Part | None = None) -> None:
        """At most one event a second, and one when all is done."""
        fields = {**_fields(part), "done": done, "total": total}
        self._going_on("hashing", fields, about=about(part), now=done >= total)

    def progress(self, statistics: "TorrentStatistics", part: Part | None = None) -> None:
        """An event a second at most, and one as soon as the state has changed.

        ``rate`` is of what comes in, and once all is here of what goes out.
        """
        is_seeding = statistics.state is TorrentState.SEEDING
        rate = statistics.upload_rate if is_seeding else statistics.download_rate
        self._going_on(
            "progress",
            about=f"{about(part)}{statistics.state.value}",
            fields={
                **_fields(part),
                "state": statistics.state.value,
                "done": statistics.done,
                "total": statistics.wanted,
                "rate": round(rate),
                "peers": statistics.peers,
                "uploaded": statistics.uploaded,
            },
        )

    def tracking(self, fields: Mapping[str, object], words: str) -> None:
        """At most one event a second."""
        del words
        self._going_on("tracker", dict(fields))

    def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
        """The fields alone; people are not listening."""
        del words
        self._write(event, fields)

    def note(self, words: str) -> None:
        """Nothing: programs have the events."""
        del words

    def warn(self, words: str) -> None:
        """On stderr, for whoever looks there."""
        write_line(self._stderr, f"Warning: {words}")

    def error(self, code: ExitCode, message: str, part: Part | None = None) -> None:
        """An event like any other; it is the last, unless it is about one of several."""
        self._write("error", {**_fields(part), "code": int(code), "message": message})

    def close(self) -> None:
        """Nothing to put away."""

    def _going_on(
        self, event: str, fields: dict[str, object], *, about: str = "", now: bool = False
    ) -> None:
        """Write the event unless it is too soon, or says nothing new.

        Args:
            event: Its name.
            fields: Its content.
            about: Events about other things are never too soon after each other.
            now: It is never too soon for this one.
        """
        if self._quiet:
            return
        at = self._clock()
        before, last = self._last.get((event, about), ({}, -HEARTBEAT))
        age = at - last
        due = now or age >= JSON_INTERVAL
        if (fields != before and due) or age >= HEARTBEAT:
            self._last[event, about] = (fields, at)
            self._write(event, fields)

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        write_line(self._stdout, json.dumps({"event": event, **fields}))


def _fields(part: Part | None) -> dict[str, object]:
    return part.fields if part else {}
