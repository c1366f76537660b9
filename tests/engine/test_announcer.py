"""Announces to trackers in memory: who is told what, when, and over which circuit."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import trio
import trio.testing
from nacl.signing import SigningKey

from tests.engine.web import Answer, MemoryWeb, Request, Script, never_ending, send_raw, silence
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.engine.announcer import FAREWELL_SECONDS, MAX_TIERS, Announcer, Sign
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.tracker_client import scrape
from torrent_onion.errors import TrackerError
from torrent_onion.protocol.http import HttpError, parse_url
from torrent_onion.protocol.tracker import Refusal, ScrapeReply, onion_proof_message

Autojump = trio.testing.MockClock

SEED = SigningKey(bytes(range(32)))
OWN = PeerAddress.from_compact_onion(bytes(SEED.verify_key) + (12345).to_bytes(2, "big"))
TRACKER_ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
CLEARNET = "http://t.example/announce"
ONION = f"http://{TRACKER_ONION}/announce"
V1, V2 = b"1" * 20, b"2" * 32
NOW = 1_700_000_000.0


class FakeTorrent:
    def __init__(self, v1: bytes | None = V1, v2: bytes | None = None) -> None:
        self.info_hashes = InfoHashes(v1=v1, v2=v2)
        self.has_metadata = trio.Event()
        self.all_verified = trio.Event()
        self.candidates: list[tuple[PeerAddress, str]] = []
        self.numbers = TorrentStatistics(
            state=TorrentState.DOWNLOADING,
            done=0,
            total=0,
            checked=0,
            downloaded=0,
            uploaded=0,
            download_rate=0,
            upload_rate=0,
            peers=1,
            seeds=0,
            last_block=None,
            error=None,
            path=Path(),
        )

    @property
    def wants_peers(self) -> bool:
        return not self.all_verified.is_set()

    def statistics(self) -> TorrentStatistics:
        return self.numbers

    def add_candidates(self, addresses: list[PeerAddress], source: str) -> None:
        self.candidates += [(address, source) for address in addresses]


@pytest.fixture
def web(nursery: trio.Nursery) -> MemoryWeb:
    return MemoryWeb(nursery)


@pytest.fixture
def torrent() -> FakeTorrent:
    return FakeTorrent()


def reply(**more: Any) -> Answer:
    return Answer(encode({b"interval": 1800} | {key.encode(): more[key] for key in more}))


def tracker(web: MemoryWeb, url: str, *answers: Answer | Script) -> None:
    """Serve a tracker that gives these answers, the last of them from then on."""
    parts = urlsplit(url)
    left: list[Answer | Script] = list(answers) or [reply()]

    def handle(_: Request) -> Answer | Script:
        return left.pop(0) if len(left) > 1 else left[0]

    web.sites[parts.hostname or "", parts.port or 80] = handle


def make(
    torrent: FakeTorrent,
    web: MemoryWeb,
    tiers: Sequence[Sequence[str]],
    *,
    own_address: PeerAddress | None = None,
    sign: Sign | None = None,
) -> Announcer:
    return Announcer(
        torrent,
        tiers,
        http=HttpClient(web.dial),
        rng=random.Random(1),
        own_address=own_address,
        sign=sign,
        clock=lambda: NOW,
    )


@asynccontextmanager
async def announcing(announcer: Announcer) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        yield
        nursery.cancel_scope.cancel()


def query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.target).query, encoding="latin-1"))


def events(web: MemoryWeb) -> list[tuple[str, str | None]]:
    return [(request.host, query(request).get("event")) for request in web.requests]


class TestConversation:
    async def test_a_whole_life(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        hidden, peer = b"\xc0\x00\x02\x06\x00\x01", b"\xc0\x00\x02\x07\x1a\xe1"
        tracker(web, CLEARNET, reply(peers=hidden + peer))
        announcer = make(torrent, web, [[CLEARNET]])
        async with announcing(announcer):
            await trio.sleep(10)
            torrent.has_metadata.set()
            torrent.numbers = replace(torrent.numbers, total=100, done=40, downloaded=50)
            await trio.sleep(2000)
            torrent.numbers = replace(torrent.numbers, done=100, downloaded=110, uploaded=7)
            torrent.all_verified.set()
            await trio.sleep(10)
        sent = [query(request) for request in web.requests]
        assert [one.get("event") for one in sent] == ["started", None, "completed", "stopped"]
        assert [one["left"] for one in sent] == ["16384", "60", "0", "0"]
        assert [one["downloaded"] for one in sent] == ["0", "50", "110", "110"]
        assert [one["uploaded"] for one in sent] == ["0", "0", "7", "7"]
        assert torrent.candidates[0] == (
            PeerAddress("192.0.2.7", 6881),
            f"tracker:{CLEARNET}",
        )

    async def test_a_seed_says_that_it_is_one_and_never_that_it_completed(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        torrent.has_metadata.set()
        torrent.all_verified.set()
        torrent.numbers = replace(torrent.numbers, total=100, done=100)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(2000)
        assert [query(one).get("event") for one in web.requests] == ["started", None, "stopped"]
        assert query(web.requests[0])["left"] == "0"

    async def test_a_part_of_a_torrent_is_no_seed(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        torrent.has_metadata.set()
        torrent.numbers = replace(torrent.numbers, total=100, done=30, downloaded=30)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(10)
            torrent.all_verified.set()
            await trio.sleep(2000)
        sent = [query(request) for request in web.requests]
        assert [one.get("event") for one in sent] == ["started", "paused", "stopped"]
        assert {one["left"] for one in sent} == {"70"}

    async def test_both_hashes_of_a_hybrid(self, web: MemoryWeb, autojump_clock: Autojump) -> None:
        tracker(web, CLEARNET)
        torrent = FakeTorrent(V1)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(5)
            torrent.info_hashes = InfoHashes(v1=V1, v2=V2)
            torrent.has_metadata.set()
            await trio.sleep(5)
        assert [
            (query(one)["info_hash"].encode("latin-1"), query(one)["event"]) for one in web.requests
        ][:2] == [(V1, "started"), (V2[:20], "started")]
        assert sorted(query(one)["event"] for one in web.requests[2:]) == ["stopped"] * 2

    async def test_who_has_nobody_asks_again_soon(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        torrent.numbers = replace(torrent.numbers, peers=0)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(75)
            assert len(web.requests) == 2
            torrent.numbers = replace(torrent.numbers, peers=1)
            await trio.sleep(1000)
            assert len(web.requests) == 2
            torrent.numbers = replace(torrent.numbers, peers=0)
            await trio.sleep(120)
            assert len(web.requests) == 3


class TestPrivacy:
    async def test_no_two_trackers_and_no_two_runs_share_anything(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        urls = ["http://a.example/announce", "http://b.example/announce", ONION]
        for url in urls:
            tracker(web, url)
        for _ in range(2):
            announcer = make(torrent, web, [[url] for url in urls], own_address=OWN)
            async with announcing(announcer):
                await trio.sleep(4000)
        assert len(web.requests) == 2 * 3 * 4
        for of in (
            lambda one: query(one)["peer_id"],
            lambda one: query(one)["key"],
            lambda one: one.isolation,
        ):
            values = [(one.host, of(one)) for one in web.requests]
            assert len({value for _, value in values}) == 6
            assert len(set(values)) == 6  # and each is kept for one tracker and run
        assert all(len(one.isolation) >= 32 for one in web.requests)

    async def test_only_an_onion_learns_our_onion_and_gets_a_proof(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        tracker(web, ONION)
        signed: list[bytes] = []

        def sign(message: bytes) -> bytes:
            signed.append(message)
            return SEED.sign(message).signature

        announcer = make(torrent, web, [[CLEARNET], [ONION]], own_address=OWN, sign=sign)
        async with announcing(announcer):
            await trio.sleep(10)
        by_host = {request.host: query(request) for request in web.requests}
        clearnet, onion = by_host["t.example"], by_host[TRACKER_ONION]
        assert clearnet["port"] == "1"
        assert not {"ip", "ipv4", "ipv6", "onion_sig"} & clearnet.keys()
        assert (onion["ip"], onion["port"]) == (OWN.host, "12345")
        message = onion_proof_message(V1, ONION, int(NOW) // 60)
        SEED.verify_key.verify(message, onion["onion_sig"].encode("latin-1"))
        assert set(signed) == {message}

    async def test_an_address_that_is_no_onion_is_never_announced(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, ONION)
        own = PeerAddress("192.0.2.1", 6881)
        async with announcing(make(torrent, web, [[ONION]], own_address=own)):
            await trio.sleep(10)
        assert {query(request)["port"] for request in web.requests} == {"1"}
        assert all("ip" not in query(request) for request in web.requests)

    async def test_what_is_no_http_is_never_dialled_and_told(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        udp, socket = "udp://u.example:6969/announce", "wss://w.example"
        announcer = make(torrent, web, [[udp], [socket, CLEARNET], [CLEARNET]])
        assert [dropped.url for dropped in announcer.dropped] == [udp, socket]
        async with announcing(announcer):
            await trio.sleep(10)
        assert {host for host, _, _ in web.dialled} == {"t.example"}
        assert len(announcer.statistics()) == 1

    async def test_a_torrent_full_of_trackers(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        urls = [f"http://t{number}.example/announce" for number in range(MAX_TIERS + 5)]
        announcer = make(torrent, web, [[url] for url in urls])
        assert [dropped.url for dropped in announcer.dropped] == urls[MAX_TIERS:]
        async with announcing(announcer):
            await trio.sleep(10)
        assert {host for host, _, _ in web.dialled} == {f"t{n}.example" for n in range(MAX_TIERS)}

    async def test_nothing_to_announce_to(self, web: MemoryWeb, torrent: FakeTorrent) -> None:
        await make(torrent, web, [["udp://u.example:1"], []]).run()
        assert web.dialled == []


class TestFailure:
    async def test_a_stand_in_takes_over_and_the_circuit_is_changed(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        urls = ["http://a.example/announce", "http://b.example/announce"]
        announcer = make(torrent, web, [urls])
        async with announcing(announcer):
            await trio.sleep(1000)
            assert web.requests == []
            tracker(web, urls[0])
            await trio.sleep(3000)
            first, second = announcer.statistics()
            assert first.error is None
            assert first.last_answer is not None
            assert "nobody" in (second.error or "")
        assert len(web.dialled) == len({token for _, _, token in web.dialled[:-2]}) + 2

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (reply(**{"failure reason": b"unregistered"}), "unregistered"),
            (Answer(encode({b"failure reason": b"bad key"}), 400), "bad key"),
            (Answer(b"<html>", 404), "HTTP status 404"),
            (Answer(b"", 503, (("Retry-After", "60"),)), "HTTP status 503"),
            (Answer(b"<html>"), "cannot be read"),
            (Answer(b"d1:a" + b"l" * 5000 + b"e" * 5001), "cannot be read"),
            (Answer(b"l" * 500_000), "cannot be read"),
            (reply(peers=bytes(6) * 1_000_000), "too long"),
            (reply(peers=[{b"ip": b"192.0.2.1", b"port": 1}] * 100_000), "too long"),
            (never_ending(b"HTTP/1.1 200 OK\r\n\r\nd5:peers", bytes(9999)), "too long"),
            (never_ending(b"HTTP/1.1 200 OK\r\n\r\n", b"d", pause=1), "longer than 90 seconds"),
            (silence, "longer than 90 seconds"),
            (send_raw(b"\x00\x00\x04\x17\x27\x10\x19\x80"), "speak HTTP"),
            (Answer(b"", 302, (("Location", "udp://u.example:1"),)), "no UDP"),
            (Answer(b"", 302, (("Location", "/announce"),)), "more than 5 times"),
            (Answer(b"", 302, (("Location", "http://127.0.0.1:9051/"),)), "nobody"),
        ],
    )
    async def test_whatever_a_tracker_does_is_a_text_and_a_pause(
        self,
        web: MemoryWeb,
        torrent: FakeTorrent,
        autojump_clock: Autojump,
        answer: Answer | Script,
        text: str,
    ) -> None:
        tracker(web, CLEARNET, answer)
        announcer = make(torrent, web, [[CLEARNET]])
        async with announcing(announcer):
            await trio.sleep(95)
            (statistics,) = announcer.statistics()
            assert text in (statistics.error or "")
            assert torrent.candidates == []
        assert "stopped" not in [event for _, event in events(web)]
        assert len(web.requests) <= 3 * 6

    async def test_warnings_and_numbers_are_shown(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET, reply(**{"warning message": b"moving", "complete": 3}))
        announcer = make(torrent, web, [[CLEARNET]])
        async with announcing(announcer):
            await trio.sleep(10)
            (statistics,) = announcer.statistics()
        assert (statistics.warning, statistics.seeds, statistics.error) == ("moving", 3, None)

    async def test_never_means_never(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET, reply(**{"failure reason": b"banned", "retry in": b"never"}))
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(80_000)
        assert len(web.requests) == 1

    async def test_who_lacks_peers_from_a_million_takes_a_bounded_number(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        many = b"".join(number.to_bytes(4, "big") + b"\x1a\xe1" for number in range(100_000))
        tracker(web, CLEARNET, reply(peers=many))
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(10)
        assert len(torrent.candidates) == 1024


class TestFarewell:
    @pytest.mark.parametrize("ending", [silence, never_ending(b"", b"H", pause=0.5)])
    async def test_leaving_is_never_held_up(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump, ending: Script
    ) -> None:
        urls = [f"http://t{number}.example/announce" for number in range(10)]
        for url in urls:
            tracker(web, url, reply(), ending)
        with trio.CancelScope() as scope:
            async with announcing(make(torrent, web, [[url] for url in urls])):
                await trio.sleep(10)
                scope.cancel()
                start = trio.current_time()
        assert trio.current_time() - start == pytest.approx(FAREWELL_SECONDS)

    async def test_who_leaves_with_the_last_byte_says_that_it_completed(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET)
        torrent.has_metadata.set()
        torrent.numbers = replace(torrent.numbers, total=100)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(10)
            torrent.numbers = replace(torrent.numbers, done=100, downloaded=100)
            torrent.all_verified.set()
        assert [event for _, event in events(web)] == ["started", "completed", "stopped"]
        assert [query(request)["left"] for request in web.requests] == ["100", "0", "0"]

    async def test_a_tracker_that_does_not_answer_hears_that_we_are_gone_all_the_same(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        tracker(web, CLEARNET, reply(), silence)
        torrent.numbers = replace(torrent.numbers, total=100)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(10)
            torrent.numbers = replace(torrent.numbers, done=100, downloaded=100)
            torrent.all_verified.set()
            left = trio.current_time()
        assert [event for _, event in events(web)] == ["started", "completed", "stopped"]
        assert trio.current_time() - left == pytest.approx(FAREWELL_SECONDS)

    async def test_a_slow_tracker_hears_both(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        heard: list[str] = []

        def handle(request: Request) -> Answer:
            heard.append(query(request)["event"])
            return reply()

        web.sites["t.example", 80] = handle
        web.dial_seconds = 1.4  # circuit, and perhaps TLS
        torrent.numbers = replace(torrent.numbers, total=100)
        async with announcing(make(torrent, web, [[CLEARNET]])):
            await trio.sleep(10)
            torrent.numbers = replace(torrent.numbers, done=100, downloaded=100)
            torrent.all_verified.set()
        assert heard == ["started", "completed", "stopped"]

    async def test_farewells_are_spread_and_go_to_those_who_answered(
        self, web: MemoryWeb, torrent: FakeTorrent, autojump_clock: Autojump
    ) -> None:
        urls = [f"http://t{number}.example/announce" for number in range(5)]
        times: list[float] = []

        def handle(request: Request) -> Answer:
            if query(request)["event"] == "stopped":
                times.append(trio.current_time())
                assert query(request)["numwant"] == "0"
            return reply()

        for number in range(4):
            web.sites[f"t{number}.example", 80] = handle
        async with announcing(make(torrent, web, [[url] for url in urls])):
            await trio.sleep(10)
            before = len(web.dialled)
        assert len(times) == len(set(times)) == 4
        assert len(web.dialled) == before + 4
        assert trio.current_time() - min(times) < FAREWELL_SECONDS


class TestScrape:
    async def ask(self, web: MemoryWeb, url: str = CLEARNET) -> ScrapeReply | Refusal | None:
        return await scrape(HttpClient(web.dial), parse_url(url), V1, "token")

    async def test_numbers(self, web: MemoryWeb) -> None:
        tracker(web, CLEARNET, reply(files={V1: {b"complete": 1, b"incomplete": 2}}))
        assert await self.ask(web) == ScrapeReply(1, 2, 0)
        assert web.requests[0].target.startswith("/scrape?info_hash=1111")

    async def test_what_is_not_there(self, web: MemoryWeb) -> None:
        assert await self.ask(web, "http://t.example/tracker") is None
        tracker(web, CLEARNET, reply(files={}), Answer(b"", 404), Answer(b"", 500, (("X", "y"),)))
        for error in (TrackerError, TrackerError, TrackerError):
            with pytest.raises(error):
                await self.ask(web)
        tracker(web, CLEARNET, reply(**{"failure reason": b"no"}), silence)
        assert await self.ask(web) == Refusal("no")

    async def test_a_tracker_that_hangs(self, web: MemoryWeb, autojump_clock: Autojump) -> None:
        tracker(web, CLEARNET, silence)
        with pytest.raises(HttpError, match="longer"):
            await self.ask(web)
