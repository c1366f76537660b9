"""Web servers and a whole torrent that mean harm, over a real Tor network and through its exit.

As in test_hostile_world.py there are two witnesses: what we say came of each attempt, and what tor
was asked for.
"""

import random
import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from integration.conftest import StartCli
from integration.hostile_servers import (
    answer,
    drip,
    hostile_torrent,
    lying_peer,
    redirect,
    request_target,
    served,
)
from integration.stock_servers import fixed_answer
from integration.stream_watch import watch_streams
from tor_control.config import TorConfig
from tor_control.controller import open_tor
from tor_control.private_network import PrivateNetwork
from tor_control.tor_stream import TorStream
from torrent_onion.core.bencoding import encode
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import RemoteError
from torrent_onion.protocol.http import parse_url

PATIENCE = 180.0
SIZE = 1 << 18
_RANGE = re.compile(rb"Range: bytes=(\d+)-(\d+)")

WEB_SEEDS = {
    "/lies/": "wrong data",
    "/home/": "clearnet",
    "/local-file/": "only http and https",
    "/circle/": "more than 5 times",
    "/gone/": "404",
}
"""What each seed does, and what is said of it in the end."""

REDIRECTS_OF_AN_EXIT = {
    "udp://127.0.0.1:6969/": "carries no UDP",
    "ftp://t.example/": "only http and https",
    "file:///etc/passwd": "only http and https",
    "http://someone@t.example/": "a user name",
    "http://192.88.98.1:0/": "port is 0",
    "http://192.88.98.1:9051/": "port is never dialled",
}
"""Where a server of the ordinary web sends us, and what comes of it."""


@pytest.fixture
def config(tor_network: PrivateNetwork, tmp_path: Path) -> TorConfig:
    """As users have it: private addresses are refused."""
    return TorConfig(where="launch", state=tmp_path / "state", extra_torrc=tor_network.torrc)


def part(data: bytes, request: bytes) -> bytes:
    """The answer of a server that knows ranges."""
    match = _RANGE.search(request)
    assert match
    start, end = int(match[1]), int(match[2]) + 1
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{len(data)}\r\n"
        f"Content-Length: {end - start}\r\n\r\n"
    )
    return head.encode() + data[start:end]


async def test_web_seeds_that_lie_and_mislead(config: TorConfig, tmp_path: Path) -> None:
    """Each is found out and left; the honest one, asked last, gives everything."""
    content = tmp_path / "file.bin"
    content.write_bytes(random.Random(5).randbytes(SIZE))
    data = content.read_bytes()
    created = (await create_torrent(content, piece_length=65536)).metainfo
    all_met = trio.Event()
    met: set[str] = set()

    async def serve(stream: TorStream) -> None:
        request = await stream.receive_some(65536)
        place = f"/{request.split(b'/')[1].decode()}/"
        if place == "/honest/":
            await all_met.wait()
            await stream.send_all(part(data, request))
        elif place == "/lies/":
            await stream.send_all(part(bytes(SIZE), request))
        elif place == "/home/":
            await stream.send_all(redirect("http://192.168.1.1/"))
        elif place == "/local-file/":
            await stream.send_all(redirect("file:///etc/passwd"))
        elif place == "/circle/":
            await stream.send_all(redirect("/circle/"))
        else:
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with trio.fail_after(PATIENCE):
        async with (
            open_tor(config, lambda _: None) as theirs,
            open_tor(config, lambda _: None) as ours,
            served(theirs, serve) as onion,
        ):
            place = f"{onion.address}:{onion.port}"
            seeds = tuple(f"http://{place}{path}" for path in ("/honest/", *WEB_SEEDS))
            metainfo = replace(created, web_seeds=seeds)
            with watch_streams(ours) as watch:
                async with open_session(dial=ours.dial) as session:
                    torrent = session.add(TorrentSpec(metainfo, tmp_path / "get"))
                    while met < WEB_SEEDS.keys():
                        await trio.sleep(0.1)
                        met |= {
                            "/" + each.url.rsplit("/", 2)[1] + "/"
                            for each in torrent.statistics().web_seeds
                            if each.error
                        }
                    all_met.set()
                    await torrent.wait_complete()
                    said = {each.url: each.error or "" for each in torrent.statistics().web_seeds}
    for url, words in said.items():
        print(f"{url.partition('.onion')[2]:<30} {words or 'used'}")
    outcome = {"/" + url.rsplit("/", 2)[1] + "/": words for url, words in said.items()}
    assert outcome.pop("/honest/") == ""
    assert {one: words for one, words in outcome.items() if WEB_SEEDS[one] not in words} == {}
    assert (tmp_path / "get" / "file.bin").read_bytes() == data
    assert watch.targets == {place}


async def test_where_a_server_behind_the_exit_sends_us(config: TorConfig) -> None:
    """The stand-in for the ordinary web is on loopback, so private addresses are allowed here."""
    table = {}
    with ExitStack() as stack, trio.fail_after(PATIENCE):
        ports = {
            stack.enter_context(fixed_answer(b"", status=302, headers={"Location": to})): to
            for to in REDIRECTS_OF_AN_EXIT
        }
        async with open_tor(replace(config, allow_private_addresses=True)) as tor:
            client = HttpClient(tor.dial)
            with watch_streams(tor) as watch:
                for port, to in ports.items():
                    url = parse_url(f"http://127.0.0.1:{port}/")
                    with pytest.raises((RemoteError, OSError)) as refusal:
                        await client.fetch(url, "hostile", max_bytes=1000, seconds=60)
                    table[to] = str(refusal.value)
    for to, words in table.items():
        print(f"{to:<40} {words}")
    assert {to for to, said in table.items() if REDIRECTS_OF_AN_EXIT[to] not in said} == set()
    assert watch.targets == {f"127.0.0.1:{port}" for port in ports}


async def test_all_of_it_through_the_command(
    config: TorConfig, start_cli: StartCli, tmp_path: Path
) -> None:
    """A torrent whose names, trackers, seeds and only peer are hostile: fetched, and held."""
    data = random.Random(1).randbytes(16384)
    bare = hostile_torrent(data)

    async def serve(stream: TorStream) -> None:
        target = await request_target(stream)
        if "announce" in target:
            named = [{b"ip": ip, b"port": 22} for ip in (b"127.0.0.1", b"10.0.0.1", b"t.example")]
            body = encode({b"interval": 1, b"external ip": b"\xc0\0\2\1", b"peers": named})
            await stream.send_all(answer(body))
        else:
            await drip(stream, b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000))

    with trio.fail_after(PATIENCE):
        async with (
            open_tor(config, lambda _: None) as theirs,
            served(theirs, serve) as web,
            served(theirs, partial(lying_peer, metainfo=bare, data=data)) as peer,
        ):
            place = f"http://{web.address}:{web.port}"
            metainfo = replace(
                bare,
                trackers=(*bare.trackers, (f"{place}/announce",)),
                web_seeds=(f"{place}/endless/", "ftp://t.example/", "http://127.0.0.1/"),
            )
            torrent = tmp_path / "hostile.torrent"
            torrent.write_bytes(metainfo.encode())
            folder = tmp_path / "a" / "b" / "get"
            folder.parent.mkdir(parents=True)
            getter = await trio.to_thread.run_sync(
                lambda: start_cli(
                    *("get", str(torrent), "--dir", str(folder)),
                    *("--peer", f"{peer.address}:{peer.port}"),
                )
            )
            path = await trio.to_thread.run_sync(getter.complete)
            assert await trio.to_thread.run_sync(getter.wait) == 0
    assert path.parent == folder
    found = [one for one in (tmp_path / "a").rglob("*") if one.is_symlink() or one.is_file()]
    assert len(found) == 8
    assert all(path in one.parents and not one.is_symlink() for one in found)
    assert sum(one.stat().st_size for one in found) == len(data)
    said = getter.stderr()
    assert "Tor carries no UDP" in said
    assert "the guard refused 0 calls" in said
