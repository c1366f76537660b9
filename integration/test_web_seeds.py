"""nginx seeds torrents alone, through the exit and as an onion; one that lies is found out."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from integration.running_tor import OtherTor
from integration.stock_servers import STATUSES, needs, nginx
from integration.trees import assert_same_tree, make_tree
from tor_control.config import TorConfig
from tor_control.controller import open_tor
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.statistics import TorrentStatistics
from torrent_onion.engine.torrent_spec import TorrentSpec

PATIENCE = 180.0
"""Seconds for a whole test, a tor of its own included."""
MIB = 1 << 20
OK, PARTIAL = "200", "206"

pytestmark = needs("nginx")


async def fetch(
    common_config: TorConfig,
    content: Path,
    folder: Path,
    urls: tuple[str, ...],
    *,
    form: TorrentFormat = TorrentFormat.HYBRID,
) -> TorrentStatistics:
    """Fetch a torrent that knows nobody but these web seeds; return how it was in the end."""
    made = await create_torrent(content, torrent_format=form)
    source = replace(made.metainfo, web_seeds=urls)
    with trio.fail_after(PATIENCE):
        async with (
            open_tor(common_config, lambda _: None) as tor,
            open_session(dial=tor.dial) as session,
        ):
            torrent = session.add(TorrentSpec(source, folder))
            await torrent.wait_complete()
            assert_same_tree(content, folder / content.name)
            return torrent.statistics()


def statuses(folder: Path) -> set[str]:
    """What nginx has answered with; its files are in this folder."""
    return set((folder / "nginx" / STATUSES).read_text().split())


@pytest.mark.parametrize("form", TorrentFormat)
async def test_through_the_exit(
    common_config: TorConfig, tmp_path: Path, form: TorrentFormat
) -> None:
    content = make_tree(tmp_path / "content", big=8 * MIB)
    with nginx(tmp_path, tmp_path / "nginx") as port:
        urls = (f"http://127.0.0.1:{port}/",)
        statistics = await fetch(common_config, content, tmp_path / "get", urls, form=form)
    (seed,) = statistics.web_seeds
    assert statuses(tmp_path) == {PARTIAL}
    assert seed.error is None
    assert seed.downloaded == statistics.downloaded


async def test_as_an_onion(common_config: TorConfig, outside: OtherTor, tmp_path: Path) -> None:
    content = make_tree(tmp_path / "content", big=8 * MIB)
    with nginx(tmp_path, tmp_path / "nginx") as port:
        onion = await trio.to_thread.run_sync(outside.publish, port)
        statistics = await fetch(common_config, content, tmp_path / "get", (f"http://{onion}/",))
    assert statuses(tmp_path) == {PARTIAL}
    assert statistics.web_seeds[0].error is None


async def test_without_ranges(common_config: TorConfig, tmp_path: Path) -> None:
    content = make_tree(tmp_path / "content", big=8 * MIB)
    with nginx(tmp_path, tmp_path / "nginx", has_ranges=False) as port:
        await fetch(common_config, content, tmp_path / "get", (f"http://127.0.0.1:{port}/",))
    assert statuses(tmp_path) == {OK}


async def test_one_that_lies_is_found_out(common_config: TorConfig, tmp_path: Path) -> None:
    content = make_tree(tmp_path / "content", big=8 * MIB)
    liar = make_tree(tmp_path / "liar" / "content", big=8 * MIB)
    with (liar / "big" / "big.bin").open("r+b") as file:
        for place in range(0, 8 * MIB, MIB):
            file.seek(place)
            file.write(b"lie")
    with (
        nginx(tmp_path, tmp_path / "nginx1") as good,
        nginx(tmp_path / "liar", tmp_path / "nginx2") as bad,
    ):
        urls = (f"http://127.0.0.1:{bad}/", f"http://127.0.0.1:{good}/")
        statistics = await fetch(common_config, content, tmp_path / "get", urls)
    lied, helped = statistics.web_seeds
    assert "wrong data" in (lied.error or "")
    assert helped.error is None
