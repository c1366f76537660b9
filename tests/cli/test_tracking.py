"""``tracker`` without Tor: its files, what it prints, and what it asks of Tor."""

import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from tests.engine.helpers import MemoryListener, stream_pair
from tor_control.config import TorConfig
from tor_control.errors import TorError, TorNotFound
from tor_control.onion_address import OnionKey
from tor_control.onion_service import ServiceLimits
from torrent_onion.cli import tracking
from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.program import program
from torrent_onion.cli.terminal import TerminalUi
from torrent_onion.cli.tracking import TrackerFiles, read_allow_list, track
from torrent_onion.cli.ui import PlainUi, Ui
from torrent_onion.errors import LocalError

HASH = "0123456789abcdef0123456789ABCDEF01234567"
V2 = "89" * 32


@dataclass
class FakeOnion:
    address: str
    port: int
    listener: MemoryListener = field(default_factory=MemoryListener)


@dataclass
class FakeTor:
    """Publishes without a network, and remembers what was asked of it."""

    onions: list[FakeOnion] = field(default_factory=list)
    limits: ServiceLimits | None = None
    error: TorError | None = None

    @asynccontextmanager
    async def publish(
        self, *, key: OnionKey | None, port: int, limits: ServiceLimits
    ) -> AsyncIterator[FakeOnion]:
        self.limits = limits
        key = key or OnionKey.from_seed(bytes([len(self.onions)]) * 32)
        self.onions.append(FakeOnion(key.address, port))
        yield self.onions[-1]


@pytest.fixture
def tor(monkeypatch: pytest.MonkeyPatch) -> FakeTor:
    fake = FakeTor()

    @asynccontextmanager
    async def open_tor_for(config: TorConfig, ui: Ui) -> AsyncIterator[FakeTor]:
        del config, ui
        if fake.error is not None:
            raise fake.error
        yield fake

    monkeypatch.setattr(tracking, "open_tor_for", open_tor_for)
    return fake


async def run_for(seconds: float, files: TrackerFiles, ui: Ui) -> None:
    with trio.move_on_after(seconds):
        await track(files, TorConfig(state=Path()), ui)


def events(out: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


class TestReady:
    async def test_programs_read_the_url_in_an_event(
        self, tor: FakeTor, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        out = StringIO()
        await run_for(5, TrackerFiles(), JsonUi(out, StringIO(), clock=trio.current_time))
        ready, first, *_ = events(out)
        url = f"http://{tor.onions[0].address}/announce"
        assert ready == {"event": "ready", "announce": url, "argument": f"--tracker {url}"}
        assert first == {
            "event": "tracker",
            "torrents": 0,
            "onions": 0,
            "counted": 0,
            "announces": 0,
            "scrapes": 0,
            "refused": 0,
            "connections": 0,
        }

    async def test_people_read_the_url_and_an_argument(
        self, tor: FakeTor, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        out, err = StringIO(), StringIO()
        await run_for(20, TrackerFiles(), PlainUi(out, err, clock=trio.current_time))
        url = f"http://{tor.onions[0].address}/announce"
        assert out.getvalue() == f"{url}\n--tracker {url}\n"
        assert "Tracking: 0 torrents, 0 onion peers, 0 other peers, 0 announces" in err.getvalue()

    async def test_a_terminal_shows_one_row(
        self,
        tor: FakeTor,
        terminal: StringIO,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        del autojump_clock
        out = StringIO()
        ui = TerminalUi(out, terminal, width=80)
        await run_for(2, TrackerFiles(), ui)
        ui.close()
        assert tor.onions[0].address in out.getvalue()
        assert "Tracking" in terminal.getvalue()

    async def test_it_answers_as_soon_as_it_says_that_it_is_ready(
        self, tor: FakeTor, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        bodies: list[bytes] = []

        class AskingUi(JsonUi):
            def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
                super().result(event, fields, words)
                nursery.start_soon(ask)

        async def ask() -> None:
            ours, theirs = stream_pair()
            await tor.onions[0].listener.send.send(theirs)
            await ours.send_buffers([b"GET /scrape HTTP/1.0\r\n\r\n"])
            buffer = memoryview(bytearray(4096))
            bodies.append(bytes(buffer[: await ours.receive_into(buffer)]))

        async with trio.open_nursery() as nursery:
            await run_for(5, TrackerFiles(), AskingUi(StringIO(), StringIO()))
        assert b"failure reason" in bodies[0]

    async def test_a_service_for_many_defends_itself(
        self, tor: FakeTor, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        await run_for(1, TrackerFiles(), JsonUi(StringIO(), StringIO()))
        assert tor.limits is not None
        assert tor.limits.max_streams
        assert tor.limits.pow_defenses


class TestFiles:
    async def test_the_address_lasts_with_a_key(
        self, tor: FakeTor, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        files = TrackerFiles(key=tmp_path / "key")
        for _ in range(2):
            await run_for(1, files, JsonUi(StringIO(), StringIO()))
        await run_for(1, TrackerFiles(), JsonUi(StringIO(), StringIO()))
        first, again, other = tor.onions
        assert (first.address, first.port) == (again.address, again.port)
        assert other.address != first.address
        assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600

    async def test_a_key_that_others_may_read_is_refused_before_tor_is_opened(
        self, tor: FakeTor, tmp_path: Path
    ) -> None:
        files = TrackerFiles(key=tmp_path / "key")
        (tmp_path / "key").touch(0o644)
        with pytest.raises(LocalError, match="chmod 600"):
            await track(files, TorConfig(state=Path()), JsonUi(StringIO(), StringIO()))
        assert tor.onions == []

    async def test_a_key_that_another_tracker_uses_is_refused_before_tor_is_opened(
        self, tor: FakeTor, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        files = TrackerFiles(key=tmp_path / "key")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_for, 10, files, JsonUi(StringIO(), StringIO()))
            await trio.sleep(1)
            with pytest.raises(LocalError, match="in use by another torrent-onion"):
                await run_for(1, files, JsonUi(StringIO(), StringIO()))
        assert len(tor.onions) == 1

    async def test_a_database_is_made(
        self, tor: FakeTor, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        del tor, autojump_clock
        for _ in range(2):
            files = TrackerFiles(database=tmp_path / "db")
            await run_for(1, files, JsonUi(StringIO(), StringIO()))
        assert names(tmp_path) == ["db"]

    async def test_a_database_is_read_only_after_tor_is_there_and_with_it_the_guard(
        self, tor: FakeTor, tmp_path: Path
    ) -> None:
        """Its bytes are strangers': tor is refused here, so nothing may have touched it."""
        tor.error = TorNotFound()
        with pytest.raises(TorNotFound):
            await track(
                TrackerFiles(database=tmp_path / "db"),
                TorConfig(state=Path()),
                JsonUi(StringIO(), StringIO()),
            )
        assert names(tmp_path) == []


class TestAllowList:
    def test_hashes_in_hex_with_comments(self, tmp_path: Path) -> None:
        path = tmp_path / "allowed"
        path.write_text(f"# what we serve\n\n{HASH}  # v1\r\n  {V2}\n{HASH.lower()}")
        assert read_allow_list(path) == {bytes.fromhex(HASH), bytes.fromhex(V2)[:20]}

    def test_an_empty_list_allows_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "allowed").touch()
        assert read_allow_list(tmp_path / "allowed") == frozenset()

    @pytest.mark.parametrize(
        "line", ["x", HASH[:-1], HASH + "0", f"urn:btih:{HASH}", "\x00", "é" * 40, f"{HASH},{HASH}"]
    )
    def test_what_is_no_hash_is_named_by_its_line(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "allowed"
        path.write_text(f"{HASH}\n{line}\n")
        with pytest.raises(LocalError, match=r"^Line 2 of .* is no info-hash\."):
            read_allow_list(path)

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(LocalError, match="cannot be read"):
            read_allow_list(tmp_path)

    def test_a_file_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracking, "_MAX_ALLOW_FILE", 50)
        (tmp_path / "allowed").write_text("\n" * 51)
        with pytest.raises(LocalError, match="too long"):
            read_allow_list(tmp_path / "allowed")


def test_another_port_is_in_the_url() -> None:
    assert tracking.announce_url("x.onion", 80) == "http://x.onion/announce"
    assert tracking.announce_url("x.onion", 8080) == "http://x.onion:8080/announce"


@pytest.mark.parametrize(
    "option", ["--allow", "--key", "--database", "--tor ", "--torrc", "--json"]
)
def test_help_names_every_option(option: str) -> None:
    assert option in CliRunner().invoke(program, ["tracker", "--help"]).stdout


def test_a_list_that_is_not_there_is_a_wrong_usage() -> None:
    result = CliRunner().invoke(program, ["tracker", "--allow", "/nonexistent"])
    assert result.exit_code == 2
