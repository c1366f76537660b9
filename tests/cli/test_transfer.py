"""Watching a torrent, giving up, and the link that is printed, with a torrent that only talks."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.limit_options import LimitOptions
from torrent_onion.cli.transfer import (
    announce_ready,
    give_up_when_silent,
    goals,
    say_when_silent,
    serve,
    settings,
    watch,
)
from torrent_onion.cli.ui import PlainUi
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.core.magnet import Magnet, parse_magnet
from torrent_onion.engine.settings import NO_GOALS, Goals, Settings
from torrent_onion.engine.source_statistics import TrackerStatistics
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import NoDataError, StorageError

OWN = PeerAddress.parse("aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion:12345")


class FakeTorrent:
    """What the watchers see of a torrent."""

    def __init__(self, now: TorrentStatistics) -> None:
        self.now = now
        self.error: Exception | None = None
        self.info_hashes = InfoHashes(v1=bytes(20), v2=None)
        self.name = ""
        self.spec = TorrentSpec(Magnet(self.info_hashes), Path())

    def statistics(self) -> TorrentStatistics:
        return self.now


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


@pytest.fixture
def fake(statistics: Callable[..., TorrentStatistics]) -> FakeTorrent:
    return FakeTorrent(statistics())


async def test_watching_reports_until_the_torrent_fails(
    fake: FakeTorrent, autojump_clock: MockClock
) -> None:
    del autojump_clock
    out = StringIO()
    ui = JsonUi(out, StringIO(), clock=trio.current_time)

    async def fail() -> None:
        await trio.sleep(25.5)
        fake.error = StorageError("Full.")

    with pytest.RaisesGroup(pytest.RaisesExc(StorageError, match="Full")):
        await together(fail, partial(watch, cast("Torrent", fake), ui))
    assert len(out.getvalue().splitlines()) == 3  # the first, and two heartbeats


async def test_a_reached_goal_ends_serving_without_an_error(
    fake: FakeTorrent,
    statistics: Callable[..., TorrentStatistics],
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    fake.now = statistics(state=TorrentState.SEEDING)
    out = StringIO()

    async def reach() -> None:
        await trio.sleep(5)
        fake.now = statistics(state=TorrentState.STOPPED)

    ui = JsonUi(out, StringIO(), clock=trio.current_time)
    await together(reach, partial(serve, cast("Torrent", fake), ui))
    assert json.loads(out.getvalue().splitlines()[-1])["state"] == "stopped"


def test_limits_in_the_words_of_the_engine() -> None:
    limits = LimitOptions(
        max_up=1, max_down=2, max_connections=9, until_ratio=3, until=4, until_copies=5
    )
    assert settings(limits) == Settings(max_upload=1, max_download=2, max_connections=9)
    assert settings(LimitOptions()) == Settings()
    assert settings(limits, 1).circuits == 1
    assert goals(limits) == Goals(ratio=3, seconds=4, copies=5)
    assert goals(LimitOptions()) == NO_GOALS


async def test_each_notice_is_told_once(
    fake: FakeTorrent,
    statistics: Callable[..., TorrentStatistics],
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    tracker = TrackerStatistics("https://tracker.example/key", error="It is \x1b full.")
    fake.now = statistics(notices=("One tracker is left out.",), trackers=(tracker,))
    err = StringIO()
    ui = PlainUi(StringIO(), err, quiet=True, clock=trio.current_time)
    with trio.move_on_after(30):
        await watch(cast("Torrent", fake), ui)
    assert err.getvalue() == (
        "Warning: One tracker is left out.\nWarning: tracker.example: It is \ufffd full.\n"
    )


class TestGivingUp:
    async def test_after_so_long_without_anything(
        self, fake: FakeTorrent, autojump_clock: MockClock
    ) -> None:
        del autojump_clock
        began = trio.current_time()
        with pytest.raises(NoDataError, match="Nothing has arrived for 30 s"):
            await give_up_when_silent(cast("Torrent", fake), 30)
        assert 30 <= trio.current_time() - began <= 32

    @pytest.mark.parametrize(
        ("state", "is_told"), [(TorrentState.DOWNLOADING, True), (TorrentState.CHECKING, False)]
    )
    async def test_people_are_told_once(
        self,
        fake: FakeTorrent,
        statistics: Callable[..., TorrentStatistics],
        autojump_clock: MockClock,
        *,
        state: TorrentState,
        is_told: bool,
    ) -> None:
        del autojump_clock
        fake.now = statistics(state=state)
        err = StringIO()
        with trio.move_on_after(300):
            await say_when_silent(cast("Torrent", fake), PlainUi(StringIO(), err))
        assert err.getvalue().count("Nobody has answered for 20 s") == is_told

    async def test_a_silence_in_the_middle_is_told_as_well(
        self,
        fake: FakeTorrent,
        statistics: Callable[..., TorrentStatistics],
        autojump_clock: MockClock,
    ) -> None:
        del autojump_clock
        err = StringIO()

        async def arrive() -> None:
            for downloaded in (40_000_000, 41_000_000, 42_000_000):
                await trio.sleep(15)
                fake.now = statistics(downloaded=downloaded)

        with trio.move_on_after(300):
            ui = PlainUi(StringIO(), err)
            await together(arrive, partial(say_when_silent, cast("Torrent", fake), ui))
        assert err.getvalue().count("Warning") == 1
        assert "Nothing has arrived for 20 s. This goes on by itself" in err.getvalue()

    @pytest.mark.parametrize(
        "changes",
        [
            {"downloaded": 32_000_001},
            {"state": TorrentState.SEEDING},
            {"total": 1},
        ],
    )
    async def test_whatever_arrives_starts_the_time_anew(
        self,
        changes: dict[str, object],
        fake: FakeTorrent,
        statistics: Callable[..., TorrentStatistics],
        autojump_clock: MockClock,
    ) -> None:
        del autojump_clock
        began = trio.current_time()

        async def arrive() -> None:
            await trio.sleep(20)
            fake.now = statistics(**changes)

        with pytest.RaisesGroup(NoDataError):
            await together(arrive, partial(give_up_when_silent, cast("Torrent", fake), 30))
        assert 49 <= trio.current_time() - began <= 52

    async def test_checking_the_disk_is_no_silence(
        self,
        fake: FakeTorrent,
        statistics: Callable[..., TorrentStatistics],
        autojump_clock: MockClock,
    ) -> None:
        del autojump_clock
        fake.now = statistics(state=TorrentState.CHECKING)
        with trio.move_on_after(500) as scope:
            await give_up_when_silent(cast("Torrent", fake), 30)
        assert scope.cancelled_caught

    async def test_peers_that_send_nothing_do_not_count(
        self,
        fake: FakeTorrent,
        statistics: Callable[..., TorrentStatistics],
        autojump_clock: MockClock,
    ) -> None:
        del autojump_clock

        async def come_and_go() -> None:
            for peers in range(1000):
                await trio.sleep(1)
                fake.now = statistics(peers=peers)

        began = trio.current_time()
        with pytest.RaisesGroup(NoDataError):
            await together(come_and_go, partial(give_up_when_silent, cast("Torrent", fake), 30))
        assert trio.current_time() - began <= 32


def test_ready_names_everything_others_need(fake: FakeTorrent) -> None:
    out = StringIO()
    hashes = InfoHashes(v1=bytes(20), v2=bytes(32))
    source = Magnet(hashes, trackers=("http://a/", "http://b/"), web_seeds=("http://w/",))
    fake.info_hashes, fake.name, fake.spec = hashes, "żółć & co", TorrentSpec(source, Path())
    ui = JsonUi(out, StringIO())
    announce_ready(ui, cast("Torrent", fake), OWN, torrent_file=Path("/tmp/x.torrent"))
    event = json.loads(out.getvalue())
    magnet = parse_magnet(event.pop("magnet"))
    assert magnet == replace(source, name="żółć & co", peers=(OWN,))
    assert event == {
        "event": "ready",
        "info_hash": "00" * 20,
        "info_hash_v2": "00" * 32,
        "onion": OWN.host,
        "port": 12345,
        "torrent": "/tmp/x.torrent",
    }


def test_a_tor_of_others_is_spared() -> None:
    limits = LimitOptions()
    of_others, ours = settings(limits), settings(limits, is_tor_ours=True)
    assert of_others.max_dials_alone < ours.max_dials_alone <= ours.max_dials_of_all
