"""A tracker, a web server, a peer and a torrent that try everything, over a real Tor network.

Two witnesses: what came of each attempt is held against a table, and tor itself says which streams
it was asked for. It may not be asked for anything but the onion services of this test.
"""

import random
import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from integration.hostile_servers import (
    answer,
    drip,
    hostile_torrent,
    lying_peer,
    redirect,
    request_target,
    served,
)
from integration.stream_watch import watch_streams
from tor_control.config import TorConfig
from tor_control.controller import Tor, open_tor
from tor_control.private_network import PrivateNetwork
from tor_control.tor_stream import TorStream
from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.tracker_client import announce
from torrent_onion.errors import RemoteError
from torrent_onion.policy.peer_pool import Source
from torrent_onion.protocol.http import describe_dropped, parse_url, sort_out
from torrent_onion.protocol.tracker import AnnounceReply, AnnounceRequest

PATIENCE = 180.0
LIMIT = 1 << 20
"""Bytes of an answer."""
SECONDS = 5.0
"""For an answer that never ends."""

OTHER_ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"

REDIRECTS = {
    "http://127.0.0.1/": "to the clearnet",
    "http://192.168.1.1/": "to the clearnet",
    "http://[::1]/": "to the clearnet",
    "http://169.254.169.254/latest/meta-data": "to the clearnet",
    "http://t.example/": "to the clearnet",
    "https://t.example/": "to the clearnet",
    "//t.example/": "to the clearnet",
    f"http://{OTHER_ONION}.t.example/": "to the clearnet",
    f"http://someone@{OTHER_ONION}/": "a user name",
    f"http://{OTHER_ONION}:0/": "port is 0",
    f"http://{OTHER_ONION}:9050/": "port is never dialled",
    f"http://{OTHER_ONION.replace('p', 'q', 1)}/": "no onion key",
    "udp://127.0.0.1:6969/": "carries no UDP",
    "ftp://t.example/": "only http and https",
    "file:///etc/passwd": "only http and https",
    "gopher://127.0.0.1:9051/": "only http and https",
    "/again": "more than 5 times",
}
"""Where the server sends us, and what comes of it."""

NAMED_PEERS = (
    "127.0.0.1",
    "127.0.0.2",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.251",
    "255.255.255.255",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "localhost",
    "t.example",
    "router.lan",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    OTHER_ONION.replace("p", "q", 1),
)
"""Peers that the tracker names; none of them may be dialled."""


@pytest.fixture
async def tors(
    tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Tor, Tor]]:
    """The world's tor, and ours: as users have it, with private addresses refused."""
    state = tmp_path_factory.getbasetemp() / "hostile"
    config = TorConfig(where="launch", state=state, extra_torrc=tor_network.torrc)
    with trio.fail_after(PATIENCE):
        async with (
            open_tor(config, lambda _: None) as theirs,
            open_tor(config, lambda _: None) as ours,
        ):
            yield theirs, ours


def show(table: dict[str, str]) -> None:
    """For whoever reads the test's output."""
    for attempt, outcome in table.items():
        print(f"{attempt:<60} {outcome}")


def files_below(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if not one.is_dir() or one.is_symlink()]


async def test_servers_that_try_everything(tors: tuple[Tor, Tor]) -> None:
    theirs, ours = tors
    endless = b"HTTP/1.1 200 OK\r\n\r\n"

    async def serve(stream: TorStream) -> None:
        target = await request_target(stream)
        number = target.removeprefix("/redirect/")
        if number != target:
            await stream.send_all(redirect(list(REDIRECTS)[int(number)]))
        elif target == "/again":
            await stream.send_all(redirect("/again"))
        elif target == "/large":
            await drip(stream, endless, bytes(65536))
        elif target == "/slow":
            await drip(stream, endless, b"x")
        elif target == "/head":
            await drip(stream, b"HTTP/1.1 200 OK\r\n", b"X-More: more\r\n" * 100)
        elif target == "/two":
            both = b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            await stream.send_all(b"HTTP/1.1 200 OK\r\n" + both)
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")

    expected = dict(REDIRECTS)
    paths = {target: f"/redirect/{number}" for number, target in enumerate(REDIRECTS)}
    for path, outcome in {
        "/large": "too long",
        "/slow": "took longer",
        "/head": "HTTP properly",
        "/two": "two lengths",
        "/announced": "too long",
    }.items():
        expected[path] = outcome
        paths[path] = path
    client = HttpClient(ours.dial)
    table = {}
    async with served(theirs, serve) as onion:
        place = f"{onion.address}:{onion.port}"
        with watch_streams(ours) as watch:
            for attempt, path in paths.items():
                url = parse_url(f"http://{place}{path}")
                # Large and slow ones need their time; a lost circuit is tried again.
                seconds = SECONDS if path == "/slow" else 60.0
                with pytest.raises((RemoteError, OSError)) as refusal:
                    await client.fetch(url, "hostile", max_bytes=LIMIT, seconds=seconds)
                table[attempt] = str(refusal.value)
    show(table)
    missed = {attempt: said for attempt, said in table.items() if expected[attempt] not in said}
    assert missed == {}
    assert watch.targets == {place}


async def test_a_tracker_that_points_at_us(tors: tuple[Tor, Tor], tmp_path: Path) -> None:
    """Whatever it names is left out, or refused by the dialer before tor hears of it."""
    theirs, ours = tors
    compact = b"".join(
        bytes([*address, port >> 8, port & 255])
        for address in ((127, 0, 0, 1), (192, 168, 1, 1), (0, 0, 0, 0))
        for port in (22, 0, 9051)
    )
    replies: tuple[dict[bytes, Encodable], ...] = (
        {b"peers": [{b"ip": one.encode(), b"port": 22} for one in NAMED_PEERS]},
        {b"peers": compact, b"peers6": bytes(15) + b"\1\0\x16"},
    )
    asked: list[str] = []

    async def serve(stream: TorStream) -> None:
        asked.append(await request_target(stream))
        always: dict[bytes, Encodable] = {
            b"external ip": b"\xc0\x00\x02\x01",
            b"interval": 1,
            b"tracker id": b"you",
        }
        await stream.send_all(answer(encode({**always, **replies[len(asked) - 1]})))

    named: list[PeerAddress] = []
    dialled: dict[str, str] = {}
    all_tried = trio.Event()

    async def dial(host: str, port: int, isolation: str) -> TorStream:
        try:
            return await ours.dial(host, port, isolation)
        except OSError as error:
            dialled[f"{host}:{port}"] = type(error).__name__
            if named and len(dialled) == len(set(named)):
                all_tried.set()
            raise

    metainfo = hostile_torrent(bytes(100))
    async with served(theirs, serve) as onion:
        with watch_streams(ours) as watch:
            url = parse_url(f"http://{onion.address}:{onion.port}/announce")
            for _ in replies:
                request = AnnounceRequest(
                    info_hash=metainfo.info.info_hashes.primary,
                    peer_id=PeerId(secrets.token_bytes(20)),
                    key=secrets.token_bytes(4),
                )
                reply = await announce(HttpClient(ours.dial), url, request, "tracker")
                assert isinstance(reply, AnnounceReply)
                assert b"192.0.2.1" not in repr(reply).encode()
                named += reply.peers
            async with open_session(dial=dial) as session:
                torrent = session.add(TorrentSpec(metainfo, tmp_path))
                torrent.add_candidates(named, f"{Source.TRACKER}:{url}")
                await all_tried.wait()
    left_out = {one: "left out" for one in NAMED_PEERS if one not in {each.host for each in named}}
    show(left_out | dialled)
    assert {"localhost", "t.example", "router.lan", "2130706433"} <= left_out.keys()
    assert len(dialled) >= 10
    assert set(dialled.values()) == {"AddressRefused"}
    assert watch.targets == {f"{onion.address}:{onion.port}"}


async def test_a_torrent_and_a_peer_that_lie(tors: tuple[Tor, Tor], tmp_path: Path) -> None:
    """It is fetched, below the chosen folder, and only the peer is ever connected to."""
    theirs, ours = tors
    data = random.Random(1).randbytes(16384)
    metainfo = hostile_torrent(data)
    folder = tmp_path / "a" / "b" / "get"
    folder.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    usable, dropped = sort_out(url for tier in metainfo.trackers for url in tier)
    said = describe_dropped("trackers", dropped)
    assert usable == ()
    assert said is not None
    assert len(said.splitlines()) == 1
    assert "udp://127.0.0.1:6969 (Tor carries no UDP)" in said
    peer = partial(lying_peer, metainfo=metainfo, data=data)
    async with served(theirs, peer) as onion:
        with watch_streams(ours) as watch:
            async with open_session(dial=ours.dial) as session:
                address = PeerAddress(onion.address, onion.port)
                torrent = session.add(TorrentSpec(metainfo, folder, peers=(address,)))
                await torrent.wait_complete()
                path = torrent.statistics().path
    assert watch.targets == {str(address)}
    assert path is not None
    assert path.parent == folder
    found = files_below(tmp_path)
    show({one.name: str(one.relative_to(tmp_path)) for one in found})
    assert all(path in one.parents for one in found)
    assert not any(one.is_symlink() for one in found)
    assert len(found) == 8
    assert b"".join(one.read_bytes() for one in found if one.stat().st_size)
    assert sum(one.stat().st_size for one in found) == len(data)
