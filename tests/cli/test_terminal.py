import re
from collections.abc import Callable
from io import StringIO

import pytest
from rich.cells import cell_len

from torrent_onion.cli.exit_codes import ExitCode
from torrent_onion.cli.terminal import TerminalUi
from torrent_onion.cli.ui import Part
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics

Make = Callable[..., TorrentStatistics]

MAGNET = f"magnet:?xt=urn:btih:{'a' * 40}&dn=documents&x.pe={'b' * 56}.onion:12345"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


def shown(terminal: StringIO) -> list[str]:
    """Every line that was ever drawn; a carriage return begins one anew."""
    return [line for line in _CONTROL.sub("", terminal.getvalue()).splitlines() if line.strip()]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_row_is_ever_wider_than_the_terminal(
    width: int, terminal: StringIO, statistics: Make
) -> None:
    ui = TerminalUi(StringIO(), terminal, width=width)
    ui.tor("Loading relay descriptors " * 9, 45)
    ui.scanning("信" * 200, 12_345)
    ui.hashing(500_000_000, 999_900_000_000)
    for state in TorrentState:
        ui.progress(statistics(state=state, error="信" * 200))
    ui.close()
    assert all(cell_len(line) <= width for line in shown(terminal))


def test_bars_show_what_goes_on(terminal: StringIO, statistics: Make) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.tor("Loading relay descriptors", 45)
    ui.hashing(5_000_000, 10_000_000)
    ui.progress(statistics())
    ui.close()
    words = "\n".join(shown(terminal))
    assert "45% Loading relay descriptors" in words
    assert "Hashing" in words
    assert "50% of 64.0 MB, 1.2 MB/s, 25 s left, 3 connections" in words
    assert "━" in words


def test_a_scan_shows_how_many_files_there_are_until_hashing_begins(terminal: StringIO) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.scanning("photos", 256)
    ui.scanning("photos", 12_345)
    assert "Looking  12,345 files in photos" in "\n".join(shown(terminal))
    terminal.truncate(terminal.seek(0))
    ui.hashing(1, 2000)
    ui.close()
    assert "Looking" not in "\n".join(shown(terminal))


def test_what_is_done_leaves_a_line(terminal: StringIO) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.tor("Loading", 45)
    ui.tor("Done", 100)
    ui.hashing(1, 2000)
    ui.hashing(2000, 2000)
    assert shown(terminal)[-1] == "Hashed 2.0 kB."
    assert "Connected to Tor." in shown(terminal)


def test_nothing_is_left_of_one_that_is_complete(terminal: StringIO, statistics: Make) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.progress(statistics(), Part(0, "one"))
    ui.progress(statistics(), Part(1, "two"))
    ui.result("complete", {"index": 0}, "one")
    before = len(terminal.getvalue())
    ui.progress(statistics(), Part(1, "two"))
    ui.close()
    last = _CONTROL.sub("", terminal.getvalue()[before:])
    assert "two" in last
    assert "one" not in last


def test_what_is_done_at_once_is_not_worth_a_line(terminal: StringIO) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.hashing(2000, 2000)
    ui.tor("Done", 100)
    assert terminal.getvalue() == ""


def test_results_go_to_stdout_whole(terminal: StringIO) -> None:
    stdout = StringIO()
    ui = TerminalUi(stdout, terminal, width=40)
    ui.tor("Loading", None)
    ui.result("ready", {}, MAGNET)
    assert stdout.getvalue() == f"{MAGNET}\n"


def test_the_cursor_is_back_after_closing(terminal: StringIO) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.tor("Loading", 1)
    assert "\x1b[?25l" in terminal.getvalue()
    ui.close()
    ui.close()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_names_cannot_steer_the_terminal(terminal: StringIO, statistics: Make) -> None:
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.error(ExitCode.FAILED, "evil\x1b[31m[bold]name")
    ui.tor("evil\x1b]0;title\x07", 3)
    ui.close()
    assert "evil\ufffd[31m[bold]name" in terminal.getvalue()
    assert "\x1b]0" not in terminal.getvalue()


def test_long_words_to_the_user_are_not_cut_in_the_middle(terminal: StringIO) -> None:
    ui = TerminalUi(StringIO(), terminal, width=40)
    path = f"/{'folder/' * 8}file.bin"
    ui.error(ExitCode.FAILED, f"There is no space left for {path}. Free some of it and try again.")
    assert shown(terminal) == [
        "Error: There is no space left for",
        f"{path}.",
        "Free some of it and try again.",
    ]


def test_no_color_is_respected(terminal: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    ui = TerminalUi(StringIO(), terminal, width=80)
    ui.warn("Mind the clock.")
    ui.error(ExitCode.FAILED, "Full.")
    assert "\x1b[3" not in terminal.getvalue()


class TestQrCode:
    def test_is_drawn_where_all_of_it_is_visible(
        self, terminal: StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LINES", "50")
        TerminalUi(terminal, terminal, width=80).qr_code(MAGNET)
        lines = shown(terminal)
        assert 20 < len(lines) < 45
        assert all(cell_len(line) <= 80 for line in lines)

    @pytest.mark.parametrize(("width", "lines"), [(30, "50"), (80, "24")])
    def test_is_left_out_where_it_would_not_be(
        self, width: int, lines: str, terminal: StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LINES", lines)
        TerminalUi(terminal, terminal, width=width).qr_code(MAGNET)
        assert terminal.getvalue() == ""

    def test_is_left_out_when_stdout_goes_elsewhere(self, terminal: StringIO) -> None:
        TerminalUi(StringIO(), terminal, width=80).qr_code(MAGNET)
        assert terminal.getvalue() == ""
