"""Every byte of our announces and requests to web servers, against a golden file.

Two torrents in two runs: whatever is neither random nor the torrent's own is the same in all four,
and equals the file, so that no new parameter or header appears unnoticed. No random field repeats.
"""

import random
import re
import string
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

import trio
import trio.testing
from nacl.signing import SigningKey

from tests.engine.web import Answer, MemoryWeb, Request
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.engine.announcer import Announcer
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.tracker_client import scrape
from torrent_onion.errors import TrackerError
from torrent_onion.protocol.http import parse_url

GOLDEN = Path(__file__).parents[1] / "golden" / "http.txt"
TRACKER_ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
CLEARNET, ONION = "http://t.example/announce", f"http://{TRACKER_ONION}/announce"
WEB_SEED = "http://w.example/file.bin"
RUN_SECONDS = 2000.0
"""Longer than the interval, so that announces in turn are among them."""

REPLY = Answer(
    encode(
        {
            b"external ip": b"\xc0\x00\x02\x07",
            b"interval": 1800,
            b"peers": b"",
            b"tracker id": b"given",
        }
    )
)
RANDOM = ("peer_id", "key", "onion_sig")


@dataclass
class OneTorrent:
    """As much of a torrent as an announcer looks at."""

    info_hashes: InfoHashes
    has_metadata: trio.Event
    all_verified: trio.Event

    @property
    def wants_peers(self) -> bool:
        return not self.all_verified.is_set()

    def statistics(self) -> TorrentStatistics:
        return TorrentStatistics(
            state=TorrentState.DOWNLOADING,
            done=40,
            total=100,
            checked=0,
            downloaded=40,
            uploaded=7,
            download_rate=0,
            upload_rate=0,
            peers=1,
            seeds=0,
            last_block=None,
            error=None,
            path=None,
        )

    def add_candidates(self, addresses: list[PeerAddress], source: str) -> None:
        del addresses, source


async def announce_for_a_while(name: str) -> list[Request]:
    """One run of one torrent: two trackers, one scrape, one part of a file of a web seed."""
    key = SigningKey.generate()  # as for every start
    own = PeerAddress.from_compact_onion(bytes(key.verify_key) + b"\x30\x39")
    info_hash = sha1(name.encode()).digest()
    torrent = OneTorrent(InfoHashes(v1=info_hash, v2=None), trio.Event(), trio.Event())
    torrent.has_metadata.set()
    async with trio.open_nursery() as nursery:
        web = MemoryWeb(nursery)
        for host in ("t.example", TRACKER_ONION, "w.example"):
            web.sites[host, 80] = lambda _: REPLY
        client = HttpClient(web.dial)
        announcer = Announcer(
            torrent,
            [[CLEARNET], [ONION]],
            http=client,
            rng=random.Random(name),
            own_address=own,
            sign=lambda message: key.sign(message).signature,
        )
        async with trio.open_nursery() as inner:
            inner.start_soon(announcer.run)
            await trio.sleep(RUN_SECONDS)
            torrent.all_verified.set()
            await trio.sleep(10)
            inner.cancel_scope.cancel()
        with suppress(TrackerError):  # the answer is of no interest
            await scrape(client, parse_url(CLEARNET), info_hash, "scrape")
        response = await client.open(
            parse_url(WEB_SEED), "seed", byte_range=range(16384, 32768), seconds=60
        )
        await response.aclose()
        nursery.cancel_scope.cancel()
    for request in web.requests:  # before it is only a name in the golden file
        assert request.raw.count(info_hash) == 0
    return web.requests


def fields(request: Request) -> dict[str, str]:
    return dict(re.findall(r"[?&](\w+)=([^& ]*)", request.target))


def described(request: Request, info_hash: bytes) -> str:
    """The request, with what is random and the torrent's own replaced by names."""
    text = request.raw.decode("ascii")
    for name in (*RANDOM, "info_hash"):
        text = re.sub(rf"([?&]{name}=)[^& ]*", rf"\1{name.upper()}", text)
    own = fields(request).get("ip")
    if own is not None:
        text = text.replace(own, "OWN_ONION")
    assert fields(request).get("info_hash") in (None, percent(info_hash))
    return text.replace("\r\n", "\n")


def percent(data: bytes) -> str:
    plain = string.ascii_letters + string.digits + "_.-~"
    return "".join(chr(one) if chr(one) in plain else f"%{one:02X}" for one in data)


async def test_nothing_in_our_requests_tells_us_apart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said: list[str] = []
    drawn: list[tuple[str, str]] = []
    isolations: list[set[tuple[str, str]]] = []
    for name in ("one", "two"):
        for _ in range(2):
            requests = await announce_for_a_while(name)
            by_host = sorted(requests, key=lambda request: request.host)
            said.append("\n".join(described(one, sha1(name.encode()).digest()) for one in by_host))
            # Each tracker keeps its own for a run, and a proof is new for each minute.
            drawn += {
                (field, value)
                for request in requests
                for field, value in fields(request).items()
                if field in ("peer_id", "key")
            }
            isolations.append({(one.host, one.isolation) for one in requests})
    assert len(set(said)) == 1
    assert said[0] == GOLDEN.read_text()
    assert len(set(drawn)) == len(drawn) == 2 * 2 * (2 * 2)
    tokens = [token for run in isolations for host, token in run if host != "w.example"]
    announcing = [token for token in tokens if token != "scrape"]
    assert len(set(announcing)) == len(announcing) == 2 * 2 * 2
