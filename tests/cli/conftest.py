import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator
from io import StringIO
from pathlib import Path

import pytest

from tor_control.endpoints import Endpoint
from tor_control.guard import GuardStatistics, LayerStatus
from torrent_onion.cli import guarding
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeTerminal(StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    """One that can move its cursor, whatever these tests run in."""
    monkeypatch.setenv("TERM", "xterm-256color")
    return FakeTerminal()


@pytest.fixture
def statistics() -> Callable[..., TorrentStatistics]:
    """Statistics of a download at half; keyword arguments change what they name."""
    half = TorrentStatistics(
        state=TorrentState.DOWNLOADING,
        done=32_000_000,
        total=64_000_000,
        checked=0,
        downloaded=32_000_000,
        uploaded=0,
        download_rate=1_234_567.8,
        upload_rate=0.0,
        peers=3,
        seeds=1,
        last_block=None,
        error=None,
        path=None,
    )

    def make(**changes: object) -> TorrentStatistics:
        return dataclasses.replace(half, **changes)  # type: ignore[arg-type]  # any field of it

    return make


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Commands set up the log of the whole process; other tests are not to notice."""
    loggers = [logging.getLogger(name) for name in ("", "torrent_onion", "tor_control")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


class FakeGuard:
    """Remembers what it was asked for; the real one would hold the tests themselves."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.folders: list[Path] = []
        self.endpoints: frozenset[Endpoint] = frozenset()
        self.listens_on_loopback: bool | None = None
        self.layers: tuple[LayerStatus, ...] = ()
        self.refused = 0

    def confine_writes(self, folders: Collection[Path]) -> None:
        self.done.append("confined")
        self.folders = list(folders)

    def arm(self, endpoints: frozenset[Endpoint], *, listens_on_loopback: bool) -> None:
        self.done.append("armed")
        self.endpoints = endpoints
        self.listens_on_loopback = listens_on_loopback

    def statistics(self) -> GuardStatistics:
        return GuardStatistics(self.layers, self.refused)


@pytest.fixture(autouse=True)
def guard(monkeypatch: pytest.MonkeyPatch) -> FakeGuard:
    fake = FakeGuard()
    monkeypatch.setattr(guarding, "GUARD", fake)
    return fake
