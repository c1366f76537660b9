"""``tracker``: an onion service where peers of a torrent find each other, until Ctrl-C.

What could identify anybody is neither printed nor logged: only numbers are.
"""

import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from tor_control.config import TorConfig
from tor_control.onion_service import PowDefenses, ServiceLimits
from torrent_onion.cli import text
from torrent_onion.cli.lasting_key import open_key
from torrent_onion.cli.tor_session import open_tor_for
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import V1_HASH_LENGTH
from torrent_onion.engine.tracker_database import TrackerDatabase, open_database
from torrent_onion.engine.tracker_service import (
    ANNOUNCE_PATH,
    TrackerService,
    TrackerStatistics,
    open_tracker,
)
from torrent_onion.errors import LocalError
from torrent_onion.policy.swarm_registry import SwarmRegistry

PORT = 80
"""The service is what everybody expects behind this port, and its URL is the shorter for it."""

LIMITS = ServiceLimits(
    # A client has one connection at a time, or one for each of its torrents.
    max_streams=32,
    # Tor's own defaults: far more newcomers a second than we can answer.
    pow_defenses=PowDefenses(queue_rate=250, queue_burst=2500),
)

_MAX_ALLOW_FILE = 64 << 20
"""Bytes: a million info-hashes are 41 MB, or 65 of version 2."""
_ALLOWED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TrackerFiles:
    """What the tracker was given.

    Args:
        allow: The info-hashes that it serves; None: all.
        key: The key of a lasting address; None: a new one for this run.
        database: Where its memory is kept; None: nowhere.
    """

    allow: Path | None = None
    key: Path | None = None
    database: Path | None = None


async def track(files: TrackerFiles, config: TorConfig, ui: Ui) -> None:
    """Run a tracker until cancelled.

    Raises:
        TorError: Tor cannot be had, or the onion service cannot be published.
        LocalError: A file cannot be used.
    """
    allowed = read_allow_list(files.allow) if files.allow else None
    registry = SwarmRegistry(allowed, keep_changes=files.database is not None)
    with open_key(files.key, PORT) as lasting:
        port = lasting.port if lasting else PORT
        key = lasting.key if lasting else None
        async with (
            open_tor_for(config, ui) as tor,
            _open_memory(files.database, registry) as database,  # strangers' bytes: guarded by now
            tor.publish(key=key, port=port, limits=LIMITS) as onion,
        ):
            url = announce_url(onion.address, onion.port)
            async with open_tracker(url, onion.listener, registry, database=database) as tracker:
                announce_ready(ui, url)
                await report(tracker, ui)


@asynccontextmanager
async def _open_memory(
    path: Path | None, registry: SwarmRegistry
) -> AsyncIterator[TrackerDatabase | None]:
    """Open the database, if there is to be one, and fill the registry from it."""
    if path is None:
        yield None
        return
    async with open_database(path) as database:
        await database.load(registry)
        yield database


def read_allow_list(path: Path) -> frozenset[bytes]:
    """Read info-hashes in hex, one a line; those of version 2 are cut to their 20 bytes.

    Args:
        path: A text file. Empty lines and what follows a # are left out.

    Raises:
        LocalError: It cannot be read, or a line is something else.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            content = file.read(_MAX_ALLOW_FILE + 1)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    if len(content) > _MAX_ALLOW_FILE:
        raise LocalError(f"{path} is too long to be a list of info-hashes. Check the path.")
    hashes = set()
    for number, line in enumerate(content.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry and not _ALLOWED.fullmatch(entry):
            raise LocalError(
                f"Line {number} of {path} is no info-hash. "
                "Write one a line, in 40 or 64 hexadecimal digits."
            )
        if entry:
            hashes.add(bytes.fromhex(entry)[:V1_HASH_LENGTH])
    return frozenset(hashes)


def announce_url(host: str, port: int) -> str:
    """The URL by which the tracker is named in torrents and links."""
    place = host if port == PORT else f"{host}:{port}"
    return f"http://{place}{ANNOUNCE_PATH}"


def announce_ready(ui: Ui, url: str) -> None:
    """Print how to use the tracker. Only call it once it answers."""
    argument = f"--tracker {shlex.quote(url)}"
    ui.note("Ready. Its announce URL, and the same as an argument of `seed` and `create`:")
    ui.result("ready", {"announce": url, "argument": argument}, f"{url}\n{argument}")
    ui.note("Ctrl-C ends the tracker.")


async def report(tracker: TrackerService, ui: Ui) -> None:
    """Tell how the tracker stands, in numbers, until cancelled."""
    while True:
        statistics = tracker.statistics()
        ui.tracking(asdict(statistics), in_words(statistics))
        await trio.sleep(ui.interval)


def in_words(statistics: TrackerStatistics) -> str:
    """How a tracker stands, for people."""
    return ", ".join(
        (
            text.count(statistics.torrents, "torrent"),
            text.count(statistics.onions, "onion peer"),
            text.count(statistics.counted, "other peer"),
            text.count(statistics.announces, "announce"),
        )
    )
