"""The live display on a terminal: one row for everything that goes on, bars that never wrap.

It draws on stderr only, and only when something is reported: no thread, no timer. Before anything
else is written the rows are taken away, so that what stays on the screen are whole lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from torrent_onion.cli import text
from torrent_onion.cli.exit_codes import ExitCode
from torrent_onion.cli.ui import (
    ALL,
    Part,
    Ui,
    amount,
    in_front,
    scanning_words,
    state_label,
    transfer_words,
    write_line,
)
from torrent_onion.engine.statistics import TorrentState

if TYPE_CHECKING:
    from torrent_onion.engine.statistics import TorrentStatistics

_LABEL_WIDTH = 8
_SCANNING = "Looking"
_BAR_WIDTH = 10
_GAPS = 3
_NARROWEST = 60
"""Columns below which the bar is left out, and the words get its place."""

_QR_BORDER = 2


@dataclass(frozen=True, slots=True)
class _Row:
    """One thing that goes on; ``done`` and ``total`` make a bar, a total of 0 makes none."""

    words: str
    done: int = 0
    total: int = 0


_WHOLE = -1
"""In place of a torrent's number: about the whole command."""


def _index(part: Part | None) -> int:
    return part.index if part else _WHOLE


class TerminalUi(Ui):
    """Bars on stderr while something goes on; results on stdout, whole lines only.

    Args:
        stdout: For results.
        stderr: A terminal.
        width: Columns; None asks the terminal, each time it draws.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO, *, width: int | None = None) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._console = Console(
            file=stderr, width=width, highlight=False, markup=False, emoji=False
        )
        # By the torrent's number and what goes on.
        self._rows: dict[tuple[int, str], _Row] = {}
        self._live: Live | None = None

    def tor(self, phase: str, percent: int | None) -> None:
        """A row with a bar, and a line when Tor is connected."""
        if percent is None:
            self._show("Tor", _Row(phase))
        elif percent >= ALL:
            self._finish("Tor", "Connected to Tor.")
        else:
            self._show("Tor", _Row(f"{percent}% {phase}", percent, ALL))

    def scanning(self, folder: str, files: int, part: Part | None = None) -> None:
        """A row, until hashing begins."""
        self._show(_SCANNING, _Row(scanning_words(folder, files)), part)

    def hashing(self, done: int, total: int, part: Part | None = None) -> None:
        """A row with a bar, and a line when all is done."""
        self._rows.pop((_index(part), _SCANNING), None)
        if done >= total:
            self._finish("Hashing", f"{in_front(part)}Hashed {text.size(total)}.", part)
        else:
            words = f"{in_front(part)}{amount(done, total)}"
            self._show("Hashing", _Row(words, done, total), part)

    def progress(self, statistics: "TorrentStatistics", part: Part | None = None) -> None:
        """One row for each torrent; nothing else is left once Tor is connected."""
        label = state_label(statistics)
        done, total = statistics.done, statistics.wanted
        if statistics.state is TorrentState.CHECKING:
            done, total = statistics.checked, statistics.total
        elif statistics.state is not TorrentState.DOWNLOADING:
            total = 0
        self._rows = {
            (other, what): row
            for (other, what), row in self._rows.items()
            if other not in (_WHOLE, _index(part))
        }
        words = f"{in_front(part)}{transfer_words(statistics)}"
        self._show(label, _Row(words, done, total), part)

    def tracking(self, fields: Mapping[str, object], words: str) -> None:
        """The one row that is left once Tor is connected."""
        del fields
        self._rows.clear()
        self._show("Tracking", _Row(words))

    def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
        """The words, on stdout; what went on until then is over."""
        del event
        index = fields.get("index", _WHOLE)
        self._rows = {key: row for key, row in self._rows.items() if key[0] != index}
        self.close()
        if words:
            write_line(self._stdout, words)

    def note(self, words: str) -> None:
        """A line above the rows."""
        self.close()
        write_line(self._stderr, words)

    def warn(self, words: str) -> None:
        """The same in colour, unless NO_COLOR is set."""
        self._say("Warning:", "yellow", words)

    def error(self, code: ExitCode, message: str, part: Part | None = None) -> None:
        """The same in another colour."""
        del code
        self._say("Error:", "red", f"{in_front(part)}{text.printable(message)}")

    def _say(self, label: str, colour: str, words: str) -> None:
        self.close()
        lines = Text(text.wrapped(f"{label} {words}", self._console.width))
        lines.stylize(colour, 0, len(label))
        self._console.print(lines, soft_wrap=True)

    def qr_code(self, link: str) -> None:
        """Draw it in half blocks, if all of it is visible at once; otherwise do nothing."""
        if not self._stdout.isatty():
            return
        import segno

        code = segno.make(link, error="l", micro=False)
        columns, rows = code.symbol_size(border=_QR_BORDER)
        room = self._console.size
        if columns <= room.width and rows // 2 + 1 < room.height:
            self.close()
            code.terminal(self._stderr, border=_QR_BORDER, compact=True)
            self._stderr.flush()

    def close(self) -> None:
        """Take the rows away; the next report draws them again."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, label: str, row: _Row, part: Part | None = None) -> None:
        self._rows[_index(part), label] = row
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(self._picture(), refresh=True)

    def _finish(self, label: str, words: str, part: Part | None = None) -> None:
        if self._rows.pop((_index(part), label), None) is not None:
            self.note(words)

    def _picture(self) -> RenderableType:
        rows = sorted(self._rows.items(), key=lambda item: item[0][0])
        return Group(*(self._line(label, row) for (_, label), row in rows))

    def _line(self, label: str, row: _Row) -> RenderableType:
        """One row, cut to the terminal's width, so that it can never wrap."""
        words = Text(text.printable(row.words))
        room = self._console.width - _LABEL_WIDTH - _GAPS
        line = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [Text(f"{label:<{_LABEL_WIDTH}}")]
        if row.total and self._console.width >= _NARROWEST:
            room -= _BAR_WIDTH
            cells.append(ProgressBar(total=row.total, completed=row.done, width=_BAR_WIDTH))
        words.truncate(room, overflow="ellipsis")
        line.add_row(*cells, words)
        return line
