"""What nobody wants anything of costs nothing: no timer runs for it."""

from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Goals
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent_spec import TorrentSpec

SETTLED = 15.0
"""Seconds: longer than anything that a start or a visit leaves behind."""


@pytest.fixture
def content(make_content: ContentMaker, tmp_path: Path) -> Path:
    return make_content(tmp_path / "seed")


@pytest.fixture
async def metainfo(content: Path) -> Metainfo:
    return (await create_torrent(content)).metainfo


async def next_timer() -> float:
    """Seconds until anything in this process wakes up by itself."""
    await trio.testing.wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().seconds_to_next_deadline


async def test_a_torrent_without_visitors_has_no_timer_and_is_there_when_one_comes(
    network: MemoryNetwork,
    content: Path,
    metainfo: Metainfo,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
) -> None:
    address, listener = network.listen(1)
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(metainfo, content.parent, shared_path=content)
        torrent = session.add(spec, listener=listener)
        await torrent.wait_complete()
        await trio.sleep(SETTLED)
        assert await next_timer() == inf
        async with open_session(dial=network.dial) as getting:
            visitor = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
            await getting.add(visitor).wait_complete()
            assert await next_timer() < inf
        assert tree(tmp_path / "get" / content.name) == tree(content)
        await trio.sleep(SETTLED)
        assert await next_timer() == inf


async def test_serving_for_a_time_ends_without_visitors(
    network: MemoryNetwork,
    content: Path,
    metainfo: Metainfo,
    autojump_clock: trio.testing.MockClock,
) -> None:
    _, listener = network.listen(1)
    async with open_session(dial=network.dial) as session:
        goals = Goals(seconds=3600)
        spec = TorrentSpec(metainfo, content.parent, shared_path=content, goals=goals)
        torrent = session.add(spec, listener=listener)
        await torrent.wait_complete()
        began = trio.current_time()
        await torrent.ended.wait()
        assert 3600 <= trio.current_time() - began < 3602
        assert torrent.statistics().state is TorrentState.STOPPED
