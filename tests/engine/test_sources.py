"""Torrents that know nobody but a tracker or a web seed."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, MemoryPeerStream, tree
from tests.engine.web import Answer, MemoryWeb, Request
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec

PIECE = 32768
TRACKER = "http://t.example/announce"
BOTH_HASHES = ("v1", "v2")
"""Of a hybrid torrent: each is announced."""
UDP = "udp://t.example:6969/announce"


class World(MemoryNetwork):
    """Peers and web servers, behind one ``dial``."""

    def __init__(self, web: MemoryWeb) -> None:
        super().__init__()
        self.web = web

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        if (host, port) in self.web.sites:
            return await self.web.dial(host, port, isolation)
        return await super().dial(host, port, isolation)


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return World(MemoryWeb(nursery))


class Tracker:
    """Knows some peers, and remembers the events that it hears of."""

    def __init__(self, peers: list[PeerAddress]) -> None:
        self.events: list[str] = []
        self.both_started = trio.Event()
        self._peers: list[Any] = [{b"ip": peer.host.encode(), b"port": peer.port} for peer in peers]

    def __call__(self, request: Request) -> Answer:
        query = parse_qs(urlsplit(request.target).query, encoding="latin-1")
        self.events.append(query.get("event", ["none"])[0])
        if self.events.count("started") == len(BOTH_HASHES):
            self.both_started.set()
        return Answer(encode({b"interval": 1800, b"peers": self._peers}))


async def test_a_swarm_that_only_its_tracker_knows(
    world: World, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    made = await create_torrent(content, piece_length=PIECE, torrent_format=TorrentFormat.HYBRID)
    address, listener = world.listen(1)
    tracker = Tracker([PeerAddress("198.51.100.9", 1), address])
    world.web.sites["t.example", 80] = tracker
    hashes = made.metainfo.info.info_hashes
    magnet = Magnet(info_hashes=hashes, trackers=(UDP, TRACKER))
    with trio.fail_after(60):
        async with open_session(dial=world.dial) as seeder:
            seeder.add(TorrentSpec(made.metainfo, content.parent, content), listener=listener)
            async with open_session(dial=world.dial) as getter:
                torrent = getter.add(TorrentSpec(magnet, tmp_path / "get"))
                await torrent.wait_complete()
                statistics = torrent.statistics()
                await tracker.both_started.wait()
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert [used.url for used in statistics.trackers] == [TRACKER]
    assert statistics.notices == (
        "Not used as trackers: udp://t.example:6969 (Tor carries no UDP).",
    )
    for event in ("started", "stopped"):
        assert tracker.events.count(event) == len(BOTH_HASHES)
    http = {isolation for host, _, isolation in world.web.dialled}
    peers = {isolation for _, isolation in world.dialled}
    assert len(http) == 1
    assert not http & peers


async def test_a_web_seed_alone(world: World, make_content: ContentMaker, tmp_path: Path) -> None:
    content = make_content(tmp_path / "seed")
    made = await create_torrent(content, piece_length=PIECE, torrent_format=TorrentFormat.HYBRID)

    def handle(request: Request) -> Answer:
        data = content.parent.joinpath(unquote(request.target).lstrip("/")).read_bytes()
        start, end = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        said = f"bytes {start}-{end}/{len(data)}"
        return Answer(data[start : end + 1], 206, (("Content-Range", said),))

    world.web.sites["m.example", 80] = handle
    source = replace(made.metainfo, web_seeds=("ftp://m.example/", "http://m.example/"))
    with trio.fail_after(60):
        async with open_session(dial=world.dial) as session:
            torrent = session.add(TorrentSpec(source, tmp_path / "get"))
            await torrent.wait_complete()
            statistics = torrent.statistics()
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert statistics.web_seeds[0].downloaded == statistics.downloaded
    assert statistics.notices == (
        "Not used as web seeds: ftp://m.example (only http and https are spoken).",
    )
