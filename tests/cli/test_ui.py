import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from torrent_onion.cli.exit_codes import ExitCode, OutputClosed
from torrent_onion.cli.json_ui import HEARTBEAT, JsonUi
from torrent_onion.cli.options import OutputOptions
from torrent_onion.cli.ui import PlainUi, choose_ui, transfer_words, write_line
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics

Clock = Any
Make = Callable[..., TorrentStatistics]


@pytest.fixture
def out() -> StringIO:
    return StringIO()


@pytest.fixture
def err() -> StringIO:
    return StringIO()


def events(out: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


class TestJson:
    def test_every_event_is_one_object_a_line(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        ui.tor("Loading", 45)
        ui.scanning("photos", 12_345)
        ui.hashing(5, 10)
        ui.progress(statistics())
        ui.result("ready", {"magnet": "magnet:?x"}, "for people")
        ui.result("complete", {"path": "/tmp/\udcff\n"}, "for people")
        ui.error(ExitCode.NO_DATA, "Nobody.")
        ui.note("for people")
        assert events(out) == [
            {"event": "tor", "phase": "Loading", "percent": 45},
            {"event": "scanning", "files": 12_345},
            {"event": "hashing", "done": 5, "total": 10},
            {
                "event": "progress",
                "state": "downloading",
                "done": 32_000_000,
                "total": 64_000_000,
                "rate": 1_234_568,
                "peers": 3,
                "uploaded": 0,
            },
            {"event": "ready", "magnet": "magnet:?x"},
            {"event": "complete", "path": "/tmp/\udcff\n"},
            {"event": "error", "code": 4, "message": "Nobody."},
        ]
        assert err.getvalue() == ""

    def test_progress_comes_once_a_second_at_most(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        for tenth in range(21):
            clock.now = 100 + tenth / 10
            ui.progress(statistics(done=tenth))
        assert [event["done"] for event in events(out)] == [0, 10, 20]

    def test_without_any_change_only_the_heartbeat_is_heard(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        for second in range(int(HEARTBEAT) * 2 + 1):
            clock.now = 100.0 + second
            ui.progress(statistics())
        assert len(events(out)) == 3

    def test_a_new_state_is_an_event_at_once(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        for state in (TorrentState.CHECKING, TorrentState.DOWNLOADING, TorrentState.SEEDING):
            ui.progress(statistics(state=state))
            ui.progress(statistics(state=state))
        found = [event["state"] for event in events(out)]
        assert found == ["checking", "downloading", "seeding"]

    def test_the_end_of_hashing_is_never_too_soon(
        self, out: StringIO, err: StringIO, clock: Clock
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        for done in (1, 2, 10):
            ui.hashing(done, 10)
        assert [event["done"] for event in events(out)] == [1, 10]

    def test_rate_is_what_goes_out_once_complete(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, clock=clock)
        ui.progress(statistics(state=TorrentState.SEEDING, upload_rate=5.0, uploaded=7))
        (event,) = events(out)
        assert (event["rate"], event["uploaded"]) == (5, 7)

    def test_quiet_leaves_results_and_errors(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = JsonUi(out, err, quiet=True, clock=clock)
        ui.tor("Loading", 1)
        ui.hashing(1, 1)
        ui.progress(statistics())
        ui.result("complete", {}, "")
        ui.error(ExitCode.FAILED, "Full.")
        assert [event["event"] for event in events(out)] == ["complete", "error"]

    def test_warnings_are_no_events(self, out: StringIO, err: StringIO) -> None:
        JsonUi(out, err).warn("Mind the clock.")
        assert (out.getvalue(), err.getvalue()) == ("", "Warning: Mind the clock.\n")


class TestPlain:
    def test_a_scan_is_a_line_every_few_seconds(
        self, out: StringIO, err: StringIO, clock: Clock
    ) -> None:
        ui = PlainUi(out, err, clock=clock)
        for files in (256, 512):
            ui.scanning("photos", files)
        clock.now += 60
        ui.scanning("photos", 12_345)
        assert err.getvalue().splitlines() == [
            "Looking: 256 files in photos",
            "Looking: 12,345 files in photos",
        ]

    def test_results_on_stdout_and_the_rest_on_stderr(
        self, out: StringIO, err: StringIO, clock: Clock
    ) -> None:
        ui = PlainUi(out, err, clock=clock)
        ui.tor("Loading relay descriptors", 45)
        ui.note("Ready.")
        ui.warn("Mind the clock.")
        ui.result("ready", {"magnet": "x"}, "magnet:?x")
        ui.result("nothing for people", {}, "")
        ui.error(ExitCode.FAILED, "The disk is full.\x1b[2J")
        ui.close()
        assert out.getvalue() == "magnet:?x\n"
        assert err.getvalue() == (
            "Tor 45%: Loading relay descriptors\n"
            "Ready.\n"
            "Warning: Mind the clock.\n"
            "Error: The disk is full.\ufffd[2J\n"
        )

    def test_lines_about_one_thing_are_seconds_apart(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = PlainUi(out, err, clock=clock)
        for second in range(11):
            clock.now = 100.0 + second
            ui.progress(statistics(done=second * 1_000_000))
        assert [line.split(" of ")[0] for line in err.getvalue().splitlines()] == [
            "Fetching: 0%",
            "Fetching: 7%",
            "Fetching: 15%",
        ]

    def test_a_new_state_is_told_at_once_and_the_same_line_never_twice(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = PlainUi(out, err, clock=clock)
        ui.progress(statistics())
        ui.progress(statistics(state=TorrentState.SEEDING))
        clock.now += 60
        ui.progress(statistics(state=TorrentState.SEEDING))
        assert len(err.getvalue().splitlines()) == 2

    def test_tor_connected_is_told_at_once(
        self, out: StringIO, err: StringIO, clock: Clock
    ) -> None:
        ui = PlainUi(out, err, clock=clock)
        for percent in (0, 50, 100):
            ui.tor("Step", percent)
        ui.tor("a phase without numbers", None)
        assert err.getvalue() == "Tor 0%: Step\nTor 100%: Step\nTor: a phase without numbers\n"

    def test_quiet_leaves_results_warnings_and_errors(
        self, out: StringIO, err: StringIO, clock: Clock, statistics: Make
    ) -> None:
        ui = PlainUi(out, err, quiet=True, clock=clock)
        ui.tor("Loading", 100)
        ui.hashing(1, 1)
        ui.progress(statistics())
        ui.note("Ready.")
        ui.warn("Mind.")
        ui.result("complete", {}, "/tmp/x")
        assert (out.getvalue(), err.getvalue()) == ("/tmp/x\n", "Warning: Mind.\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "50% of 64.0 MB, 1.2 MB/s, 25 s left, 3 connections"),
        ({"download_rate": 0.0, "peers": 1}, "50% of 64.0 MB, 0 B/s, 1 connection"),
        (
            {"state": TorrentState.FETCHING_METADATA, "total": 0, "peers": 0},
            "what is in it, 0 connections",
        ),
        (
            {"state": TorrentState.CHECKING, "checked": 16_000_000},
            "what is on disk, 25% of 64.0 MB",
        ),
        (
            {"state": TorrentState.SEEDING, "uploaded": 5_000_000, "upload_rate": 1000.0},
            "3 connections, 1.0 kB/s, 5.0 MB sent",
        ),
        ({"state": TorrentState.FAILED, "error": "Full."}, "Full."),
        ({"state": TorrentState.STOPPED}, ""),
    ],
)
def test_transfer_words(changes: dict[str, object], words: str, statistics: Make) -> None:
    assert transfer_words(statistics(**changes)) == words


def test_transfer_words_are_short_even_when_everything_is_large(statistics: Make) -> None:
    huge = statistics(
        done=888_800_000_000_000, total=999_900_000_000_000, download_rate=888.8e6, peers=9999
    )
    assert len(transfer_words(huge)) < 70


def test_a_reader_that_is_gone_is_noticed() -> None:
    class Closed(StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    with pytest.raises(OutputClosed):
        write_line(Closed(), "x")


def test_the_output_suits_where_it_goes(
    monkeypatch: pytest.MonkeyPatch, terminal: StringIO
) -> None:
    assert type(choose_ui(OutputOptions(json=True))) is JsonUi
    assert type(choose_ui(OutputOptions())) is PlainUi
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert type(choose_ui(OutputOptions())).__name__ == "TerminalUi"
    for plain in (OutputOptions(quiet=True), OutputOptions(verbose=1)):
        assert type(choose_ui(plain)) is PlainUi
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose_ui(OutputOptions())) is PlainUi
