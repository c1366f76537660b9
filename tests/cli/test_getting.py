"""What `get` refuses, before and after it has opened Tor."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
import trio
from click.testing import CliRunner

from tests.cli.conftest import FakeGuard
from tor_control.config import TorConfig
from tor_control.events import Connected, TorEvent
from torrent_onion.cli.content_options import Tiers
from torrent_onion.cli.fetch_options import FetchOptions
from torrent_onion.cli.getting import GetRequest, read_request
from torrent_onion.cli.program import program
from torrent_onion.cli.sources import fetch_source
from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import AddressError, MetainfoError, NoDataError

OTHER = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion:80"
OWN = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion:12345"
CONNECTED = Connected(
    "0.4.9.11", is_launched=True, place="x", endpoints=frozenset(), listens_on_loopback=False
)
LINK = f"magnet:?xt=urn:btih:{'ab' * 20}"


@pytest.fixture
def torrent(tmp_path: Path) -> Path:
    (tmp_path / "one.txt").write_text("x")
    path = tmp_path / "one.torrent"
    arguments = ["create", str(tmp_path / "one.txt"), "--output", str(path)]
    assert CliRunner().invoke(program, arguments).exit_code == 0
    return path


def request(source: str, *peers: str, trackers: Tiers = ()) -> GetRequest:
    options = FetchOptions(folder=Path("there"), peers=peers, trackers=trackers)
    return read_request(fetch_source(source), options)


@pytest.mark.parametrize("trackers", ["", "&tr=udp%3A%2F%2Ftracker.example%3A1"])
def test_a_link_that_names_nobody_is_refused(trackers: str) -> None:
    with pytest.raises(NoDataError, match="This link names nobody"):
        request(LINK + trackers)


def test_a_tracker_that_tor_can_reach_is_enough() -> None:
    assert request(f"{LINK}&tr=http%3A%2F%2Ftracker.example%2F").peers == ()


def test_a_torrent_file_that_names_nobody_is_refused(torrent: Path) -> None:
    with pytest.raises(NoDataError, match="--peer"):
        request(str(torrent))


def test_peers_come_from_the_link_and_the_options(torrent: Path) -> None:
    both = request(f"{LINK}&x.pe={OWN}", OTHER)
    assert both.peers == (PeerAddress.parse(OTHER), PeerAddress.parse(OWN))
    assert request(str(torrent), OTHER).peers == (PeerAddress.parse(OTHER),)


def test_trackers_come_from_the_options_too(torrent: Path) -> None:
    tiers = (("http://a/", "http://b/"), ("http://c/",))
    named = request(f"{LINK}&tr=http%3A%2F%2Fz%2F", trackers=tiers)
    assert named.source.trackers == ("http://z/", "http://a/", "http://b/", "http://c/")
    assert request(str(torrent), trackers=tiers).source.trackers == tiers


@pytest.mark.parametrize(
    "arguments",
    [
        ["--circuits", "0"],
        ["--circuits", "9"],
        ["--until", "2h"],
        ["--max-down", "much"],
        ["--tracker", "udp://tracker.example:1"],
    ],
)
def test_options_that_make_no_sense_are_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(program, ["get", LINK, *arguments])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_peer_that_cannot_be_one_is_refused(torrent: Path) -> None:
    with pytest.raises(AddressError):
        request(str(torrent), "x.onion:0")


def test_a_folder_that_cannot_be_made_is_a_sentence(torrent: Path) -> None:
    folder = str(torrent / "below a file")
    result = CliRunner().invoke(program, ["get", f"{LINK}&x.pe={OWN}", "--dir", folder])
    assert result.exit_code == 1
    assert "--dir" in result.stderr


def test_a_folder_that_cannot_be_written_is_told_before_anything_begins(
    tmp_path: Path, guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)  # root may write everywhere
    result = CliRunner().invoke(program, ["get", f"{LINK}&x.pe={OWN}", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "No permission" in result.stderr
    assert guard.done == []


def test_a_file_that_is_not_there_is_told_before_anything_begins(
    tmp_path: Path, guard: FakeGuard
) -> None:
    folder = tmp_path / "new"
    result = CliRunner().invoke(
        program, ["get", str(tmp_path / "no.torrent"), "--dir", str(folder)]
    )
    assert result.exit_code == 1
    assert "There is no file" in result.stderr
    assert not folder.exists()
    assert guard.done == []


def test_nothing_of_a_stranger_is_looked_into_before_the_guard_is_armed(
    tmp_path: Path, guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_: object) -> NoReturn:
        assert guard.done == ["confined", "armed"]
        raise MetainfoError("It was read.")

    @asynccontextmanager
    async def open_tor(
        config: TorConfig, on_event: Callable[[TorEvent], None]
    ) -> AsyncIterator[None]:
        assert config.keeper is not None
        assert guard.done == ["confined"]
        await trio.lowlevel.checkpoint()
        on_event(CONNECTED)
        yield  # not reached: the event ends it all

    monkeypatch.setattr("torrent_onion.cli.sources.parse_metainfo", parse)
    monkeypatch.setattr("torrent_onion.cli.sources.parse_magnet", parse)
    monkeypatch.setattr("torrent_onion.cli.tor_session.open_tor", open_tor)
    file = tmp_path / "some.torrent"
    file.write_bytes(b"d8:")
    state = str(tmp_path / "state")
    for source in (str(file), LINK):
        guard.done.clear()
        arguments = ["get", source, "--dir", str(tmp_path / "new"), "--state", state]
        result = CliRunner().invoke(program, arguments)
        assert "It was read." in result.stderr
        assert result.exit_code == 1
        assert guard.folders == [tmp_path / "new", tmp_path / "state"]
