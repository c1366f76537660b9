"""Several torrents in one command."""

import json
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from tests.cli.conftest import FakeTerminal
from torrent_onion.cli.exit_codes import ExitCode, OutputClosed, SeveralFailed, explain
from torrent_onion.cli.fetch_options import FetchOptions
from torrent_onion.cli.getting import GetRequest, Unreadable, read_requests
from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.parts import parts_of, run_each
from torrent_onion.cli.program import program
from torrent_onion.cli.sources import fetch_source
from torrent_onion.cli.terminal import TerminalUi
from torrent_onion.cli.ui import PlainUi, Ui
from torrent_onion.engine.statistics import TorrentStatistics
from torrent_onion.errors import MagnetError, NoDataError, PathError, StorageError

PEER = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion:12345"
Statistics = Callable[..., TorrentStatistics]


async def wait(seconds: float, error: Exception | None, ui: Ui) -> None:
    await trio.sleep(seconds)
    if error is not None:
        raise error
    ui.result("complete", {"path": "/x"}, "/x")


async def test_one_that_fails_does_not_end_the_others(autojump_clock: MockClock) -> None:
    del autojump_clock
    out = StringIO()
    uis = parts_of(JsonUi(out, StringIO()), ["a", "b", "c"])
    works = [
        partial(wait, 1, NoDataError("Nobody.")),
        partial(wait, 2, None),
        partial(wait, 3, StorageError("Full.")),
    ]
    with pytest.raises(SeveralFailed) as raised:
        await run_each(works, uis)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"event": "error", "index": 0, "name": "a", "code": 4, "message": "Nobody."},
        {"event": "complete", "index": 1, "name": "b", "path": "/x"},
        {"event": "error", "index": 2, "name": "c", "code": 1, "message": "Full."},
    ]
    failure = explain(raised.value)
    assert (failure.code, failure.is_bug) == (ExitCode.FAILED, False)
    assert "2 of 3 failed" in failure.message


async def test_one_alone_is_as_if_there_were_no_parts() -> None:
    ui = JsonUi(StringIO(), StringIO())
    assert parts_of(ui, ["a"]) == [ui]
    with pytest.raises(StorageError):
        await run_each([partial(wait, 0, StorageError("Full."))], [ui])


@pytest.mark.parametrize("error", [ZeroDivisionError(), OutputClosed()])
async def test_a_bug_or_a_closed_output_ends_all(
    error: Exception, autojump_clock: MockClock
) -> None:
    del autojump_clock
    uis = parts_of(JsonUi(StringIO(), StringIO()), ["a", "b"])
    with pytest.RaisesGroup(type(error)):
        await run_each([partial(wait, 1, error), partial(wait, 99, None)], uis)


def test_each_has_its_own_progress(statistics: Statistics, terminal: FakeTerminal) -> None:
    out, err, live = StringIO(), StringIO(), terminal
    for ui in (
        JsonUi(out, StringIO()),
        PlainUi(StringIO(), err),
        TerminalUi(StringIO(), live, width=100),
    ):
        one, other = parts_of(ui, ["a\x1b", "b"])
        one.hashing(5, 10)
        one.progress(statistics())
        other.progress(statistics(done=64_000_000))
        other.note("Complete.")
        one.close()
        ui.close()
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(event["event"], event["index"], event["done"]) for event in events] == [
        ("hashing", 0, 5),
        ("progress", 0, 32_000_000),
        ("progress", 1, 64_000_000),
    ]
    for shown in (err.getvalue(), live.getvalue()):
        assert "a\ufffd: " in shown
        assert "b: " in shown
        assert "b: Complete." in shown


def test_what_cannot_be_read_is_one_failure_of_several() -> None:
    options = FetchOptions(folder=Path("there"), peers=(PEER,))
    link = f"magnet:?xt=urn:btih:{'ab' * 20}"
    texts = (link, "magnet:?xt=urn:btih:x", f"{link}&dn=again")
    first, second, third = read_requests([fetch_source(text) for text in texts], options)
    assert isinstance(first, GetRequest)
    assert isinstance(second, Unreadable)
    assert isinstance(second.error, MagnetError)
    assert isinstance(third, Unreadable)
    assert isinstance(third.error, PathError)
    assert [one.name for one in (first, second, third)] == ["ab" * 20, texts[1], "again"]
    with pytest.raises(MagnetError):
        read_requests([fetch_source(texts[1])], options)


def test_a_file_of_several_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "holidays.torrent"
    file.write_bytes(b"d")
    texts = (str(file), f"magnet:?xt=urn:btih:{'x' * 40}&tr={'y' * 40}")
    options = FetchOptions(folder=Path("there"), peers=(PEER,))
    readings = read_requests([fetch_source(text) for text in texts], options)
    assert [one.name for one in readings] == [str(file), texts[1][:60] + "…"]


@pytest.mark.parametrize("option", ["--output", "--key"])
def test_one_file_does_not_fit_several(option: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    arguments = ["seed", str(tmp_path / "a"), str(tmp_path / "b"), option, str(tmp_path / "c")]
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 2
    assert "go with one path" in result.stderr
