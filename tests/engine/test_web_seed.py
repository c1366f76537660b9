"""Whole downloads from web servers in memory, honest ones and others."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
import trio
import trio.testing

from tests.engine.helpers import ContentMaker
from tests.engine.web import Answer, Handler, MemoryWeb, Request, Script, never_ending, silence
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info, TorrentFormat
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine import web_seed_reader
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.source_statistics import WebSeedStatistics
from torrent_onion.engine.web_seeds import MAX_WEB_SEEDS, WebSeeds
from torrent_onion.policy.picker_results import UnaskedBlock
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.piece_picker import PiecePicker

Autojump = trio.testing.MockClock

HOST = "m.example"
BASE = f"http://{HOST}/pub/"
PIECE = 32768
BIG = 40 * PIECE + 77
"""Bytes of one file of 41 pieces."""


@dataclass(frozen=True)
class Shared:
    """A torrent, and the folder that its files are in."""

    root: Path
    info: Info


@pytest.fixture
def web(nursery: trio.Nursery) -> MemoryWeb:
    return MemoryWeb(nursery)


async def share(path: Path, form: TorrentFormat = TorrentFormat.V1) -> Shared:
    made = await create_torrent(path, piece_length=PIECE, torrent_format=form)
    return Shared(path.parent, made.metainfo.info)


@pytest.fixture
async def big(tmp_path: Path) -> Shared:
    return await share(_write(tmp_path / "seed" / "big file.bin", random.Random(8).randbytes(BIG)))


def _write(path: Path, data: bytes | bytearray) -> Path:
    path.parent.mkdir()
    path.write_bytes(data)
    return path


def read(root: Path, request: Request) -> bytes | None:
    path = root / unquote(request.target).removeprefix("/pub/")
    return path.read_bytes() if path.is_file() else None


def static(root: Path) -> Handler:
    """A web server as they are, with ranges."""

    def handle(request: Request) -> Answer:
        data = read(root, request)
        if data is None:
            return Answer(b"<html>", 404)
        start, end = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        said = f"bytes {start}-{end}/{len(data)}"
        return Answer(data[start : end + 1], 206, (("Content-Range", said),))

    return handle


def whole_files(root: Path) -> Handler:
    """A web server that knows no ranges."""

    def handle(request: Request) -> Answer:
        data = read(root, request)
        return Answer(b"", 404) if data is None else Answer(data)

    return handle


def slow(root: Path) -> Handler:
    """A web server with ranges that takes its time."""
    fast = static(root)

    def handle(request: Request) -> Script:
        answer = fast(request)
        assert isinstance(answer, Answer)

        async def script(stream: trio.abc.Stream) -> None:
            await trio.sleep(5)
            head = f"HTTP/1.1 206 Part\r\nContent-Length: {len(answer.body)}\r\n"
            said = dict(answer.headers)["Content-Range"]
            await stream.send_all(f"{head}Content-Range: {said}\r\n\r\n".encode())
            for start in range(0, len(answer.body), 1 << 14):
                await trio.sleep(1)
                await stream.send_all(answer.body[start : start + (1 << 14)])

        return script

    return handle


class FakeTorrent:
    """A torrent without peers, disk and threads: the picker is the real one."""

    def __init__(self, shared: Shared, have: Iterable[int]) -> None:
        info = self.info = shared.info
        self.downloads = self  # small enough to be its own taking side
        self.all_verified = trio.Event()
        self.bans: dict[PeerKey, Callable[[], None]] = {}
        self.unasked = 0
        self.admitted = 0
        self.limit = math.inf
        self._content = [_content(shared, file) for file in range(len(info.files))]
        bits = Bitfield(info.layout.num_pieces)
        for index in have:
            bits.set(index)
        self.picker = PiecePicker(info.layout, bits, rng=random.Random(1))

    def expected(self, index: int) -> bytes:
        spans = self.info.layout.spans(index, 0, self.info.layout.piece_size(index))
        return b"".join(
            self._content[span.file][span.offset : span.offset + span.length] for span in spans
        )

    def source_block_received(
        self, key: PeerKey, block: Block, data: memoryview, now: float
    ) -> None:
        picker = self.picker
        try:
            received = picker.block_received(key, block.piece, block.begin, data)
        except UnaskedBlock:
            self.unasked += 1
            return
        if received.complete is None:
            return
        if received.complete.buffer == self.expected(block.piece):
            guilty = picker.piece_verified(block.piece)
        else:
            guilty = picker.piece_failed(block.piece)
            guilty = guilty if len(guilty) == 1 else frozenset()
        for liar in guilty:
            self.bans[liar]()
        if picker.is_done:
            self.all_verified.set()

    async def admit(self, size: int) -> None:
        self.admitted += size
        await trio.sleep(size / self.limit)

    def ask_everybody(self) -> None:
        pass


def _content(shared: Shared, file: int) -> bytes:
    entry = shared.info.files[file]
    if entry.is_pad:
        return bytes(entry.length)
    path = () if shared.info.is_single_file else entry.path
    return shared.root.joinpath(shared.info.name, *path).read_bytes()


class Download:
    """One torrent that has nobody but web seeds."""

    def __init__(self, web: MemoryWeb) -> None:
        self._web = web
        self.statistics: tuple[WebSeedStatistics, ...] = ()
        self.torrent: FakeTorrent | None = None

    @property
    def picker(self) -> PiecePicker:
        """What is missing in the end."""
        assert self.torrent is not None
        return self.torrent.downloads.picker

    @property
    def error(self) -> str:
        """Why the first web seed is not asked."""
        return self.statistics[0].error or ""

    async def run(
        self,
        shared: Shared,
        urls: Sequence[str] = (BASE,),
        *,
        seconds: float = 7200,
        have: Iterable[int] = (),
    ) -> bool:
        """Say whether it was completed in time."""
        self.torrent = FakeTorrent(shared, have)
        client = HttpClient(self._web.dial)
        seeds = WebSeeds(self.torrent, urls, http=client, rng=random.Random(1))
        with trio.move_on_after(seconds):
            await seeds.run()
        self.statistics = seeds.statistics()
        return self.picker.is_done


@pytest.fixture
def download(web: MemoryWeb) -> Download:
    return Download(web)


class TestHonestServers:
    @pytest.mark.parametrize("form", TorrentFormat)
    async def test_a_folder(
        self,
        web: MemoryWeb,
        download: Download,
        autojump_clock: Autojump,
        tmp_path: Path,
        make_content: ContentMaker,
        form: TorrentFormat,
    ) -> None:
        shared = await share(make_content(tmp_path / "seed"), form)
        web.sites[HOST, 80] = static(shared.root)
        assert await download.run(shared)
        assert not any(".pad" in request.target for request in web.requests)
        assert download.statistics[0].downloaded >= shared.info.total_length
        assert download.statistics[0].error is None

    @pytest.mark.parametrize("url", [BASE, f"{BASE}big%20file.bin"])
    async def test_a_file_in_few_requests_each_byte_once(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump, url: str
    ) -> None:
        web.sites[HOST, 80] = static(big.root)
        assert await download.run(big, [url])
        assert len(web.requests) <= 6
        assert download.statistics[0].downloaded == BIG
        assert {request.target for request in web.requests} == {"/pub/big%20file.bin"}
        assert web.open_connections == 0

    async def test_every_seed_has_a_circuit_of_its_own(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        hosts = ["a.example", "b.example", "c.example"]
        for host in hosts:
            web.sites[host, 80] = slow(big.root)
        assert await download.run(big, [f"http://{host}/pub/" for host in hosts])
        used = {(request.host, request.isolation) for request in web.requests}
        assert len(used) == len({isolation for _, isolation in used}) == 3

    async def test_the_same_headers_for_all(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        web.sites[HOST, 80] = static(big.root)
        await download.run(big)
        for request in web.requests:
            head = b"GET /pub/big%20file.bin HTTP/1.1\r\nHost: m.example\r\n"
            rest = b"Accept-Encoding: identity\r\nConnection: close\r\nRange: "
            assert request.raw.startswith(head + rest)
            assert request.raw.count(b"\r\n") == 6

    async def test_redirects_are_followed_once_a_file(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        there = f"http://mirror.example/pub/{quote(big.info.name)}"
        web.sites[HOST, 80] = lambda _: Answer(b"", 302, (("Location", there),))
        web.sites["mirror.example", 80] = static(big.root)
        assert await download.run(big, have=range(0, 40, 4))
        asked = [request.host for request in web.requests]
        assert asked.count(HOST) <= 2 < asked.count("mirror.example")

    async def test_a_mirror_that_forgets_is_asked_for_again(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        good, mirrors, used = static(big.root), count(), set()

        def redirect(_: Request) -> Answer:
            host = f"mirror{next(mirrors)}.example"
            web.sites[host, 80] = only_once
            return Answer(b"", 302, (("Location", f"http://{host}/pub/{quote(big.info.name)}"),))

        def only_once(request: Request) -> Answer | Script:
            if request.host in used:
                return Answer(b"", 403)
            used.add(request.host)
            return good(request)

        web.sites[HOST, 80] = redirect
        assert await download.run(big, have=range(0, 40, 4))
        assert download.statistics[0].error is None

    async def test_what_is_here_already_is_not_fetched(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        web.sites[HOST, 80] = static(big.root)
        assert await download.run(big, have={*range(41)} - {10, 11, 12, 30})
        assert download.statistics[0].downloaded == 4 * PIECE
        assert {request.headers["range"] for request in web.requests} == {
            f"bytes={10 * PIECE}-{13 * PIECE - 1}",
            f"bytes={30 * PIECE}-{31 * PIECE - 1}",
        }

    async def test_together_they_share_the_work(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        hosts = ["a.example", "b.example"]
        for host in hosts:
            web.sites[host, 80] = slow(big.root)
        assert await download.run(big, [f"http://{host}/pub/" for host in hosts])
        one, two = (seed.downloaded for seed in download.statistics)
        assert min(one, two) > 0
        assert (
            one + two < 1.7 * BIG
        )  # what was asked for twice at the end is much of so small a file


class TestServersWithoutRanges:
    async def test_their_files_are_read_in_order(
        self,
        web: MemoryWeb,
        download: Download,
        autojump_clock: Autojump,
        tmp_path: Path,
        make_content: ContentMaker,
    ) -> None:
        shared = await share(make_content(tmp_path / "seed"))
        web.sites[HOST, 80] = whole_files(shared.root)
        assert await download.run(shared)

    async def test_a_large_file_is_read_once(
        self,
        web: MemoryWeb,
        big: Shared,
        download: Download,
        autojump_clock: Autojump,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(web_seed_reader, "MAX_SKIP", PIECE)
        web.sites[HOST, 80] = whole_files(big.root)
        assert await download.run(big)
        assert len(web.requests) <= 2  # one that was too far in, one from the beginning

    async def test_what_is_here_already_is_skipped(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        web.sites[HOST, 80] = whole_files(big.root)
        assert await download.run(big, have=range(0, 41, 2))
        assert download.statistics[0].downloaded == 20 * PIECE
        assert len(web.requests) <= 2

    async def test_what_is_too_deep_inside_is_left_to_others(
        self,
        web: MemoryWeb,
        big: Shared,
        download: Download,
        autojump_clock: Autojump,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(web_seed_reader, "MAX_SKIP", PIECE)
        web.sites[HOST, 80] = whole_files(big.root)
        assert not await download.run(big, have=range(30))
        assert "whole files only" in download.error
        assert len(web.requests) == 1
        assert download.picker.statistics().requested == 0


class TestLiars:
    @pytest.mark.parametrize("handler", ["static", "whole_files"])
    async def test_a_seed_that_lies_is_found_out_and_left(
        self,
        web: MemoryWeb,
        big: Shared,
        download: Download,
        autojump_clock: Autojump,
        tmp_path: Path,
        handler: str,
    ) -> None:
        data = bytearray((big.root / big.info.name).read_bytes())
        for piece in range(0, 40, 3):
            data[piece * PIECE + 5] ^= 1
        liar = _write(tmp_path / "liar" / big.info.name, data)
        serve = static if handler == "static" else whole_files
        web.sites["liar.example", 80] = serve(liar.parent)
        assert not await download.run(big, ["http://liar.example/pub/"])
        assert "wrong data" in download.error
        assert len(web.requests) <= 4
        assert download.picker.availability(0) == 0
        web.sites[HOST, 80] = static(big.root)
        assert await download.run(big, ["http://liar.example/pub/", BASE])
        assert "wrong data" in download.error

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Answer(b"x" * 100), "another file"),
            (Answer(b"x" * 100, 206, (("Content-Range", "bytes 0-99/100"),)), "another file"),
            (Answer(b"x", 206), "another file"),
            (Answer(b"", 404), "HTTP status 404"),
            (Answer(b"", 416), "HTTP status 416"),
        ],
    )
    async def test_another_file_of_this_name(
        self,
        web: MemoryWeb,
        big: Shared,
        download: Download,
        autojump_clock: Autojump,
        answer: Answer,
        reason: str,
    ) -> None:
        web.sites[HOST, 80] = lambda _: answer
        assert not await download.run(big, seconds=80_000)
        assert reason in download.error
        assert len(web.requests) == 1

    @pytest.mark.parametrize(
        ("answer", "reason", "most"),
        [
            (Answer(b"", 503, (("Retry-After", "3600"),)), "HTTP status 503", 3),
            (Answer(b"", 500), "HTTP status 500", 16),
            (Answer(b"", 302, (("Location", "udp://x.example:1"),)), "no UDP", 16),
            (Answer(b"", 302, (("Location", "/pub/"),)), "more than 5 times", 96),
            (Answer(b"x", headers=(("Content-Encoding", "gzip"),)), "compresses", 16),
            (silence, "longer than 150 seconds", 16),
            (never_ending(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause=1), "longer than", 16),
            (never_ending(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=1), "too slowly", 16),
            (never_ending(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99), "wrong data", 16),
        ],
    )
    async def test_what_fails_is_tried_again_ever_more_seldom(
        self,
        web: MemoryWeb,
        big: Shared,
        download: Download,
        autojump_clock: Autojump,
        answer: Answer | Script,
        reason: str,
        most: int,
    ) -> None:
        web.sites[HOST, 80] = lambda _: answer
        assert not await download.run(big)
        assert reason in download.error
        assert len(web.requests) <= most
        if "wrong data" not in reason:
            assert len({request.isolation for request in web.requests}) >= 2

    async def test_a_seed_that_comes_back_is_used_again(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        good, tries = static(big.root), count()

        def flaky(request: Request) -> Answer:
            answer = good(request)
            assert isinstance(answer, Answer)
            length = ("Content-Length", str(len(answer.body)))
            cut = Answer(answer.body[:-5], 206, (*answer.headers, length))
            return answer if next(tries) % 3 == 2 else cut

        web.sites[HOST, 80] = flaky
        assert await download.run(big, seconds=80_000)

    async def test_a_seed_that_lacks_a_file_gives_the_others(
        self,
        web: MemoryWeb,
        download: Download,
        autojump_clock: Autojump,
        tmp_path: Path,
        make_content: ContentMaker,
    ) -> None:
        shared = await share(make_content(tmp_path / "seed"), TorrentFormat.HYBRID)
        half = make_content(tmp_path / "half")
        (half / "a" / "deeper" / "second.bin").unlink()
        web.sites["half.example", 80] = static(half.parent)
        assert not await download.run(shared, ["http://half.example/pub/"])
        assert "HTTP status 404" in download.error
        assert download.picker.statistics().wanted_missing == -(-300_001 // PIECE)
        web.sites[HOST, 80] = static(shared.root)
        assert await download.run(shared, ["http://half.example/pub/", BASE])

    async def test_a_torrent_that_names_another_place(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        hosts = ["127.0.0.1", "10.0.0.1"]
        urls = [f"http://{host}:{port}/" for host in hosts for port in (80, 9051)]
        assert not await download.run(big, urls)
        assert web.requests == []  # asked for, and refused by the dialer


async def test_a_limit_is_kept_and_the_server_not_blamed_for_it(
    web: MemoryWeb, big: Shared, autojump_clock: Autojump
) -> None:
    web.sites[HOST, 80] = static(big.root)
    torrent = FakeTorrent(big, have=())
    torrent.limit = 1000
    seeds = WebSeeds(torrent, [BASE], http=HttpClient(web.dial), rng=random.Random(1))
    start = trio.current_time()
    await seeds.run()
    assert trio.current_time() - start >= (BIG - PIECE) / 2 / torrent.limit
    assert torrent.admitted >= BIG - 2 * PIECE
    assert seeds.statistics()[0].error is None


class TestMany:
    async def test_what_is_no_http_or_too_many_is_told_and_never_dialled(
        self, web: MemoryWeb, big: Shared, autojump_clock: Autojump
    ) -> None:
        urls = ["ftp://m.example/", "udp://m.example:1"]
        urls += [f"http://m{number}.example/" for number in range(MAX_WEB_SEEDS + 2)]
        torrent = FakeTorrent(big, have=())
        seeds = WebSeeds(torrent, urls, http=HttpClient(web.dial), rng=random.Random(1))
        assert [dropped.url for dropped in seeds.dropped] == urls[:2] + urls[-2:]
        with trio.move_on_after(5):
            await seeds.run()
        assert {host for host, _, _ in web.dialled} == {
            f"m{number}.example" for number in range(MAX_WEB_SEEDS)
        }

    async def test_pieces_that_others_are_at_are_left_to_them_until_the_end(
        self, web: MemoryWeb, big: Shared, download: Download, autojump_clock: Autojump
    ) -> None:
        web.sites[HOST, 80] = static(big.root)
        torrent = FakeTorrent(big, have=())
        torrent.downloads.picker.add_peer(5, Bitfield.full(41))
        asked = torrent.downloads.picker.pick(5, 20)
        seeds = WebSeeds(torrent, [BASE], http=HttpClient(web.dial), rng=random.Random(1))
        await seeds.run()
        assert torrent.downloads.picker.is_done
        assert seeds.statistics()[0].downloaded == BIG
        ranges = [request.headers["range"] for request in web.requests]
        first = asked[0].piece * PIECE
        assert not any(f"={first}-" in one for one in ranges[:2])
