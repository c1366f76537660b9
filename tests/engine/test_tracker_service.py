"""The tracker as a whole: who announces, who is given to whom, and what is kept."""

import logging
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import h11
import pytest
import trio
from nacl.signing import SigningKey

from tests.engine.helpers import MemoryListener, stream_pair
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.engine.tracker_database import open_database
from torrent_onion.engine.tracker_service import (
    SAVE_SECONDS,
    Tracker,
    TrackerService,
    TrackerStatistics,
    open_tracker,
)
from torrent_onion.errors import StorageError
from torrent_onion.policy.swarm_registry import (
    LIFETIME_MINUTES,
    RegistryLimits,
    SwarmPeer,
    SwarmRegistry,
)
from torrent_onion.protocol.tracker import (
    AnnounceEvent,
    AnnounceReply,
    AnnounceRequest,
    Refusal,
    ScrapeReply,
    onion_proof_message,
    parse_announce_reply,
    parse_scrape_reply,
    scrape_url,
)
from torrent_onion.protocol.tracker_server import INTERVAL, LONELY_INTERVAL

URL = "http://trackertracker.onion/announce"
HASH = b"h" * 20
OTHER_HASH = b"o" * 20
WALL = 1_700_000_000.0


@dataclass
class Member:
    """Somebody who announces as our own client does."""

    number: int
    has_onion: bool = True

    @property
    def key(self) -> SigningKey:
        return SigningKey(self.number.to_bytes(32, "big"))

    @property
    def address(self) -> PeerAddress:
        port = (1000 + self.number).to_bytes(2, "big")
        return PeerAddress.from_compact_onion(bytes(self.key.verify_key) + port)

    def request(
        self, *, info_hash: bytes = HASH, tracker: str = URL, at: float = WALL, **changes: object
    ) -> AnnounceRequest:
        message = onion_proof_message(info_hash, tracker, int(at // 60))
        request = AnnounceRequest(
            info_hash=info_hash,
            peer_id=PeerId(self.number.to_bytes(20, "big")),
            key=bytes(4),
            own_address=self.address if self.has_onion else None,
            onion_sig=self.key.sign(message).signature if self.has_onion else None,
        )
        return replace(request, **changes)  # type: ignore[arg-type]  # any field of it


class Clock:
    """Both clocks of a tracker; time passes when a test says so."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 5000.0 + self.passed

    def wall(self) -> float:
        return WALL + self.passed


class Rig:
    """A tracker without HTTP."""

    def __init__(self, registry: SwarmRegistry | None = None) -> None:
        self.clock = Clock()
        self.registry = registry or SwarmRegistry()
        self.tracker = Tracker(
            URL,
            self.registry,
            rng=Random(1),
            clock=self.clock.monotonic,
            wall_clock=self.clock.wall,
        )

    def ask(self, request: AnnounceRequest) -> AnnounceReply | Refusal:
        answer = self.tracker.respond(target_of(request.url(URL)))
        assert answer.status == 200
        return parse_announce_reply(answer.body)

    def announce(self, request: AnnounceRequest) -> AnnounceReply:
        reply = self.ask(request)
        assert isinstance(reply, AnnounceReply), reply
        return reply

    def scrape(self, info_hash: bytes = HASH) -> ScrapeReply:
        url = scrape_url(URL, info_hash)
        assert url is not None
        reply = parse_scrape_reply(self.tracker.respond(target_of(url)).body, info_hash)
        assert isinstance(reply, ScrapeReply)
        return reply


def target_of(url: str) -> bytes:
    return url.removeprefix("http://trackertracker.onion").encode()


def some_onion(number: int) -> SwarmPeer:
    """As the registry knows it; no point on the curve."""
    return SwarmPeer(Random(number).randbytes(34), is_proven=True)


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestAnnounce:
    def test_members_find_each_other(self, rig: Rig) -> None:
        seed, first, second = Member(1), Member(2), Member(3)
        assert rig.announce(seed.request(left=0)).peers == ()
        assert rig.announce(first.request(left=5)).peers == (seed.address,)
        reply = rig.announce(second.request(left=5))
        assert set(reply.peers) == {seed.address, first.address}
        assert (reply.seeds, reply.leechers) == (1, 2)
        assert set(rig.announce(seed.request(left=0)).peers) == {first.address, second.address}

    def test_who_has_no_onion_is_given_them_too(self, rig: Rig) -> None:
        rig.announce(Member(1).request(left=0))
        reply = rig.announce(Member(2, has_onion=False).request(left=5))
        assert reply.peers == (Member(1).address,)
        assert reply.warning is None
        assert (reply.seeds, reply.leechers) == (1, 1)

    @pytest.mark.parametrize(
        "forged",
        [
            Member(1).request(onion_sig=None),
            Member(1).request(onion_sig=bytes(64)),
            Member(1).request(onion_sig=b"x" * 63),
            Member(1).request(onion_sig=Member(2).request().onion_sig),
            Member(1).request(tracker="http://another.onion/announce"),
            Member(1)
            .request(info_hash=OTHER_HASH, at=WALL)
            .__class__(
                info_hash=HASH,
                peer_id=PeerId(bytes(20)),
                key=bytes(4),
                own_address=Member(1).address,
                onion_sig=Member(1).request(info_hash=OTHER_HASH).onion_sig,
            ),
            Member(1).request(at=WALL - 10 * 60),
            Member(1).request(at=WALL + 10 * 60),
        ],
        ids=["none", "zeros", "short", "other key", "other host", "other torrent", "old", "future"],
    )
    def test_an_onion_without_its_owners_proof_is_counted_and_not_given_out(
        self, rig: Rig, forged: AnnounceRequest
    ) -> None:
        reply = rig.announce(forged)
        assert (reply.seeds, reply.leechers) == (0, 1)
        assert (reply.warning is None) == (forged.onion_sig is None or len(forged.onion_sig) != 64)
        for member in (Member(5), Member(6, has_onion=False)):
            assert Member(1).address not in rig.announce(member.request()).peers
        assert rig.registry.statistics().onions == 1

    def test_an_onion_off_the_curve_is_not_given_out(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even if somebody could sign for it: tor would refuse it, and so would our clients."""
        monkeypatch.setattr("torrent_onion.engine.tracker_service.is_proven", lambda *_: True)
        name = "a" * 56 + ".onion"
        request = Member(1).request(own_address=PeerAddress(name, 80))
        assert rig.announce(request).warning is not None
        assert rig.registry.statistics().onions == 0

    def test_nobody_is_taken_out_by_somebody_else(self, rig: Rig) -> None:
        rig.announce(Member(1).request(left=0))
        stop = Member(2).request(event=AnnounceEvent.STOPPED)
        rig.announce(replace(stop, own_address=Member(1).address))
        rig.announce(replace(stop, own_address=Member(1).address, onion_sig=None))
        assert rig.announce(Member(3).request()).peers == (Member(1).address,)

    def test_who_stops_is_gone_and_gets_nobody(self, rig: Rig) -> None:
        rig.announce(Member(1).request(left=0))
        rig.announce(Member(2, has_onion=False).request())
        for member in (Member(1), Member(2, has_onion=False)):
            assert rig.announce(member.request(event=AnnounceEvent.STOPPED)).peers == ()
        assert rig.registry.statistics().torrents == 0

    def test_who_proves_its_onion_later_is_counted_once(self, rig: Rig) -> None:
        rig.announce(Member(1).request(at=WALL - 600))
        reply = rig.announce(Member(1).request())
        assert (reply.seeds, reply.leechers) == (0, 1)

    def test_completions_are_counted(self, rig: Rig) -> None:
        rig.announce(Member(1).request(left=5))
        rig.announce(Member(1).request(left=0, event=AnnounceEvent.COMPLETED))
        assert rig.scrape() == ScrapeReply(seeds=1, leechers=0, downloaded=1)

    def test_who_is_alone_may_come_back_soon(self, rig: Rig) -> None:
        assert rig.announce(Member(1).request(left=5)).interval == LONELY_INTERVAL
        assert rig.announce(Member(2).request(left=0)).interval == INTERVAL
        assert rig.announce(Member(1).request(left=5)).interval == INTERVAL

    def test_a_proof_is_for_its_time(self, rig: Rig) -> None:
        request = Member(1).request(left=0)
        rig.announce(request)
        rig.clock.passed = (LIFETIME_MINUTES + 5) * 60
        for _ in range(3):
            rig.registry.expire(rig.clock.monotonic())
        assert rig.announce(request).warning is not None
        assert rig.registry.statistics().onions == 0

    def test_a_full_tracker_still_answers(self) -> None:
        rig = Rig(SwarmRegistry(limits=RegistryLimits(peers_of_torrent=1)))
        rig.announce(Member(1).request(left=0))
        reply = rig.announce(Member(2).request())
        assert reply.peers == (Member(1).address,)
        assert reply.warning is not None
        assert "full" in reply.warning

    def test_torrents_are_apart(self, rig: Rig) -> None:
        rig.announce(Member(1).request())
        assert rig.announce(Member(2).request(info_hash=OTHER_HASH)).peers == ()

    def test_a_large_swarm_is_given_in_random_parts(self, rig: Rig) -> None:
        for number in range(300):
            rig.registry.join(HASH, some_onion(number), 5000.0, is_seed=False)
        bodies = set()
        for _ in range(3):
            answer = rig.tracker.respond(target_of(Member(1).request().url(URL)))
            assert b"11:peers_onion6800:" in answer.body
            bodies.add(answer.body)
        assert len(bodies) == 3


class TestRefusals:
    def test_what_is_not_on_the_list_is_not_served(self) -> None:
        rig = Rig(SwarmRegistry(allowed=[HASH]))
        rig.announce(Member(1).request())
        refused = rig.ask(Member(1).request(info_hash=OTHER_HASH))
        assert refused == Refusal("This tracker does not serve this torrent.", is_final=True)
        assert rig.registry.statistics().torrents == 1

    def test_a_scrape_tells_of_known_torrents_only(self, rig: Rig) -> None:
        rig.announce(Member(1).request(left=0))
        target = b"/scrape?info_hash=" + OTHER_HASH + b"&info_hash=" + HASH
        body = rig.tracker.respond(target).body
        assert body.startswith(b"d5:filesd20:" + HASH)
        assert OTHER_HASH not in body
        assert rig.tracker.respond(b"/scrape").body.startswith(b"d14:failure reason")

    @pytest.mark.parametrize(
        "target",
        [
            b"/announce",
            b"/announce?",
            b"/announce?info_hash=%",
            b"/announce?info_hash=%zz&peer_id=",
            b"/announce?" + b"info_hash=a&" * 500,
            b"/announce?" + b"%41" * 3000,
            b"/announce?" + b"&" * 9000,
            b"/scrape?info_hash=short",
        ],
    )
    def test_what_cannot_be_read_gets_a_reason(self, rig: Rig, target: bytes) -> None:
        answer = rig.tracker.respond(target)
        assert isinstance(parse_announce_reply(answer.body), Refusal)
        assert rig.tracker.refused == 1

    @pytest.mark.parametrize(
        "target",
        [b"/", b"*", b"", b"/stats", b"/announce/", b"/ANNOUNCE?x", b"//announce", b"/%61"],
    )
    def test_there_is_nothing_else(self, rig: Rig, target: bytes) -> None:
        assert rig.tracker.respond(target).status == 404

    def test_a_whole_url_is_understood(self, rig: Rig) -> None:
        target = Member(1).request().url("HTTP://elsewhere.onion:8080/announce").encode()
        assert rig.tracker.respond(target).status == 200
        assert rig.registry.statistics().torrents == 1
        assert rig.tracker.respond(b"http://elsewhere.onion").status == 404


@asynccontextmanager
async def serving(
    registry: SwarmRegistry, path: Path | None = None
) -> AsyncIterator[tuple[TrackerService, MemoryListener]]:
    listener = MemoryListener()
    if path is None:
        async with open_tracker(URL, listener, registry) as service:
            yield service, listener
        return
    async with open_database(path, wall_clock=lambda: WALL) as database:
        await database.load(registry)
        async with open_tracker(URL, listener, registry, database=database) as service:
            yield service, listener


async def fetch(listener: MemoryListener, target: bytes) -> bytes:
    """The body of an answer, as h11 reads it."""
    client = h11.Connection(h11.CLIENT)
    request = client.send(h11.Request(method="GET", target=target, headers=[("Host", "x.onion")]))
    assert request is not None
    client.send(h11.EndOfMessage())
    ours, theirs = stream_pair()
    await listener.send.send(theirs)
    await ours.send_buffers([request])
    buffer, body = memoryview(bytearray(65536)), b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            client.receive_data(bytes(buffer[: await ours.receive_into(buffer)]))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    await ours.aclose()
    return body


class TestService:
    async def test_over_http(self) -> None:
        async with serving(SwarmRegistry()) as (service, listener):
            for number in (1, 2):
                # The service has the real clock.
                target = target_of(Member(number, has_onion=False).request().url(URL))
                reply = parse_announce_reply(await fetch(listener, target))
                assert isinstance(reply, AnnounceReply)
                assert reply.leechers == number
            await fetch(listener, b"/scrape?info_hash=" + HASH)
            await fetch(listener, b"/favicon.ico")
            await trio.testing.wait_all_tasks_blocked()
            assert service.statistics() == TrackerStatistics(
                torrents=1, onions=0, counted=2, announces=2, scrapes=1, refused=1, connections=0
            )

    async def test_the_silent_are_forgotten(self, autojump_clock: trio.testing.MockClock) -> None:
        del autojump_clock
        registry = SwarmRegistry()
        async with serving(registry) as (service, listener):
            await fetch(listener, target_of(Member(1, has_onion=False).request().url(URL)))
            await trio.sleep(LIFETIME_MINUTES * 60 - 10)
            assert service.statistics().counted == 1
            await trio.sleep(130)
            assert service.statistics().counted == 0

    async def test_nobody_is_named_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            async with serving(SwarmRegistry()) as (_, listener):
                await fetch(listener, target_of(Member(1).request().url(URL)))
                await fetch(listener, b"/announce?info_hash=%")
        assert [one for one in caplog.records if one.name.startswith("torrent_onion")] == []


class TestDatabase:
    async def test_onions_survive_a_restart(self, tmp_path: Path) -> None:
        path = tmp_path / "tracker.db"
        registry = SwarmRegistry(keep_changes=True)
        async with serving(registry, path):
            for number in range(3):
                now = trio.current_time()
                registry.join(HASH, some_onion(number), now, is_seed=number == 2)
        again = SwarmRegistry(keep_changes=True)
        async with serving(again, path):
            numbers = again.numbers(HASH)
            assert (numbers.complete, numbers.incomplete) == (1, 2)
            for number in range(3):
                again.leave(HASH, some_onion(number))
        empty = SwarmRegistry(keep_changes=True)
        async with serving(empty, path):
            assert empty.statistics().torrents == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert some_onion(2).record not in path.read_bytes()  # overwritten, not only unlinked

    async def test_it_is_written_to_now_and_then(
        self, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        path = tmp_path / "tracker.db"
        registry = SwarmRegistry(keep_changes=True)
        async with serving(registry, path):
            registry.join(HASH, some_onion(1), trio.current_time(), is_seed=True)
            await trio.sleep(SAVE_SECONDS + 1)
            assert registry.take_changes(1, trio.current_time()) == []

    async def test_two_trackers_do_not_share_one(self, tmp_path: Path) -> None:
        path = tmp_path / "tracker.db"
        async with open_database(path):
            with pytest.raises(StorageError, match=r"in use by another program\."):
                async with open_database(path):
                    pass

    @pytest.mark.parametrize(
        "content", [b"x" * 5000, b"SQLite format 3\x00" + bytes(5000)], ids=["text", "broken"]
    )
    async def test_another_file_is_left_alone(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"not a tracker's database\."):
            async with open_database(path):
                pass
        assert path.read_bytes() == content

    async def test_another_database_is_left_alone(
        self, tmp_path: Path, run_sql: Callable[[Path, str], None]
    ) -> None:
        path = tmp_path / "other.db"
        run_sql(path, "CREATE TABLE bookmarks (url TEXT);")
        with pytest.raises(StorageError, match=r"not a tracker's database\."):
            async with open_database(path):
                pass

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE torrent SET onions = x'00';",
            "UPDATE torrent SET onions = 7;",
            "UPDATE torrent SET num_fetching = 9;",
            "UPDATE torrent SET saved = 'yesterday';",
        ],
    )
    async def test_rows_that_make_no_sense(
        self, tmp_path: Path, run_sql: Callable[[Path, str], None], sql: str
    ) -> None:
        path = tmp_path / "tracker.db"
        registry = SwarmRegistry(keep_changes=True)
        async with serving(registry, path):
            registry.join(HASH, some_onion(1), trio.current_time(), is_seed=True)
        run_sql(path, sql)
        async with open_database(path) as database:
            with pytest.raises(StorageError, match=r"not a tracker's database\."):
                await database.load(SwarmRegistry())

    async def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="is gone"):
            async with open_database(tmp_path / "x" / "tracker.db"):
                pass

    async def test_a_disk_that_is_full_ends_the_tracker_with_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
    ) -> None:
        del autojump_clock
        monkeypatch.setattr(
            "torrent_onion.engine.tracker_database._SET_UP", "PRAGMA max_page_count = 4;"
        )
        with pytest.raises(StorageError, match=r"no space left"):
            await fill(tmp_path / "tracker.db")


async def fill(path: Path) -> None:
    registry = SwarmRegistry(keep_changes=True)
    async with serving(registry, path):
        for number in range(2000):
            registry.join(HASH, some_onion(number), trio.current_time(), is_seed=True)
        await trio.sleep(SAVE_SECONDS + 1)


@pytest.fixture
def run_sql() -> Callable[[Path, str], None]:
    def run(path: Path, sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)

    return run
