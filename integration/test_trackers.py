"""Trackers through a real Tor: opentracker, a stand-in for BiglyBT's, and our own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import libtorrent as lt
import trio

from integration.conftest import StartCli
from integration.running_tor import OtherTor
from integration.stock_client import StockClient, make_torrent
from integration.stock_servers import fixed_answer, needs, opentracker
from integration.trees import assert_same_tree, make_tree
from tor_control.config import TorConfig
from tor_control.controller import Tor, open_tor
from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, parse_metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.tracker_client import scrape
from torrent_onion.protocol.http import parse_url
from torrent_onion.protocol.tracker import ScrapeReply

PATIENCE = 180.0
"""Seconds for a whole test, a tor of its own included."""
ANSWER_SECONDS = 120.0
"""Seconds of that for all trackers to answer."""


@asynccontextmanager
async def seeding(tor: Tor, metainfo: Metainfo, content: Path) -> AsyncIterator[PeerAddress]:
    """Share a folder over an onion of its own, with whatever trackers the torrent names."""
    async with tor.publish() as onion, open_session(dial=tor.dial) as session:
        own = PeerAddress.of(onion.address, onion.port)
        spec = TorrentSpec(metainfo, content.parent, content, own_address=own, sign=onion.sign)
        torrent = session.add(spec, listener=onion.listener)
        await torrent.wait_complete()
        await announced(torrent)
        yield own


async def announced(torrent: Torrent) -> None:
    """Wait until every tracker has answered."""
    for _ in range(int(ANSWER_SECONDS * 10)):
        if all(tracker.last_answer for tracker in torrent.statistics().trackers):
            return
        await trio.sleep(0.1)
    raise AssertionError(f"no answer: {torrent.statistics().trackers}")


async def fetch(tor: Tor, source: Metainfo | Magnet, folder: Path, content: Path) -> Torrent:
    async with open_session(dial=tor.dial) as session:
        torrent = session.add(TorrentSpec(source, folder))
        await torrent.wait_complete()
        await announced(torrent)
        assert [tracker.error for tracker in torrent.statistics().trackers if tracker.error] == []
        assert_same_tree(content, folder / content.name)
    return torrent


@needs("opentracker")
async def test_opentracker_through_the_exit_and_as_an_onion(
    common_config: TorConfig, outside: OtherTor, tmp_path: Path
) -> None:
    content = make_tree(tmp_path / "content")
    file = tmp_path / "stock.torrent"
    make_torrent(content, file, lt.create_torrent.v1_only)
    stock = parse_metainfo(file.read_bytes())
    info_hash = stock.info.info_hashes.primary
    with (
        opentracker(tmp_path / "opentracker", info_hash) as port,
        StockClient() as client,
        trio.fail_after(PATIENCE),
    ):
        onion = await trio.to_thread.run_sync(outside.publish, port)
        clearnet = f"http://127.0.0.1:{port}/announce"
        urls = (clearnet, f"http://{onion}/announce")
        file.write_bytes(replace(stock, trackers=((clearnet,),)).encode())
        await trio.to_thread.run_sync(client.seed, file, content.parent)
        async with open_tor(common_config, lambda _: None) as tor:
            source = replace(stock, trackers=tuple((url,) for url in (*urls, "udp://x.org:1")))
            torrent = await fetch(tor, source, tmp_path / "get", content)
            assert torrent.statistics().notices == (
                "Not used as trackers: udp://x.org:1 (Tor carries no UDP).",
            )
            for url in urls:
                numbers = await scrape(HttpClient(tor.dial), parse_url(url), info_hash, "scrape")
                assert isinstance(numbers, ScrapeReply), numbers
                assert numbers.seeds == 1  # libtorrent alone: we have said goodbye
                assert numbers.downloaded >= 1


async def test_onions_that_a_tracker_like_biglybts_names_are_used(
    common_config: TorConfig, tmp_path: Path
) -> None:
    content = make_tree(tmp_path / "content")
    metainfo = (await create_torrent(content)).metainfo
    with trio.fail_after(PATIENCE):
        async with (
            open_tor(common_config, lambda _: None) as tor,
            seeding(tor, metainfo, content) as own,
        ):
            peer: Encodable = {b"ip": own.host.encode(), b"peer id": bytes(20), b"port": own.port}
            answer: Encodable = {
                b"complete": 1,
                b"incomplete": 0,
                b"interval": 1800,
                b"peers": [peer],
            }
            with fixed_answer(encode(answer)) as port:
                tiers = ((f"http://127.0.0.1:{port}/announce",),)
                await fetch(tor, replace(metainfo, trackers=tiers), tmp_path / "get", content)


async def test_a_link_with_nothing_but_our_own_tracker(
    common_config: TorConfig, start_cli: StartCli, tmp_path: Path
) -> None:
    content = make_tree(tmp_path / "content")
    tracker = start_cli("tracker")
    with trio.fail_after(PATIENCE):
        url = (await trio.to_thread.run_sync(tracker.wait_event, "ready"))["announce"]
        assert (urlsplit(url).hostname or "").endswith(".onion")
        metainfo = (await create_torrent(content, trackers=[[url]])).metainfo
        async with open_tor(common_config, lambda _: None) as tor, seeding(tor, metainfo, content):
            link = Magnet(info_hashes=metainfo.info.info_hashes, trackers=(url,))
            await fetch(tor, link, tmp_path / "get", content)
