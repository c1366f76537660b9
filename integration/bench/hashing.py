"""Creating and verifying torrents, beside libtorrent and mktorrent."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libtorrent as lt
import trio

from integration.bench.figures import Row
from integration.bench.processes import MEGABYTE, make_content
from integration.stock_client import StockClient
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.checking import no_progress
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.verifying import check_data

PIECE_POWER = 21
"""2 MiB: what a few gigabytes get."""
SMALL_FILE = 100_000
SMALL_FILES_SHARE = 2
"""Half of the content once more in small files: 20,000 of them for 4 GB."""


def measure(folder: Path, megabytes: int, runs: int) -> Iterator[Row]:
    content = make_content(folder / "hashed.bin", megabytes * MEGABYTE)
    yield from _measure_one(content, megabytes, runs)
    content.unlink()
    small = folder / "small"
    count = megabytes * MEGABYTE // SMALL_FILES_SHARE // SMALL_FILE
    for number in range(count):
        path = small / f"{number // 1000}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_content(path, SMALL_FILE)
    title = f"create hybrid, {count} files of 100 KB"
    yield _hybrid(title, small, runs)
    shutil.rmtree(small)


def _measure_one(content: Path, megabytes: int, runs: int) -> Iterator[Row]:
    yield _hybrid(f"create hybrid, one file of {megabytes} MB", content, runs)
    made: list[Metainfo] = []
    ours = [_timed(lambda: made.append(_create(content, TorrentFormat.V1))) for _ in range(runs)]
    if shutil.which("mktorrent"):
        theirs = [_timed(lambda: _mktorrent(content)) for _ in range(runs)]
        yield Row("create v1", "mktorrent -t 2", "1/s", _rates(ours), _rates(theirs), 0.95)
    else:
        print("Left out for want of mktorrent (apt install mktorrent).")
    torrent = content.with_suffix(".torrent")
    torrent.write_bytes(made[0].encode())
    checks = [_timed(lambda: _verify(made[0], content)) for _ in range(runs)]
    theirs = [_libtorrent_check(torrent, content.parent) for _ in range(runs)]
    title = f"verify {megabytes} MB"
    yield Row(title, "libtorrent's check", "1/s", _rates(checks), _rates(theirs), 1.0)


def _hybrid(title: str, content: Path, runs: int) -> Row:
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(_timed(lambda: _create(content, TorrentFormat.HYBRID)))
        theirs.append(_timed(lambda: _libtorrent_create(content)))
    return Row(title, "libtorrent set_piece_hashes", "1/s", _rates(ours), _rates(theirs), 1.3)


def _rates(seconds: list[float]) -> list[float]:
    return [1 / each for each in seconds]


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _create(content: Path, torrent_format: TorrentFormat) -> Metainfo:
    async def create() -> Metainfo:
        made = await create_torrent(
            content, torrent_format=torrent_format, piece_length=1 << PIECE_POWER
        )
        return made.metainfo

    return trio.run(create)


def _libtorrent_create(content: Path) -> None:
    creation = lt.create_torrent(lt.list_files(str(content)), 1 << PIECE_POWER, 0)
    lt.set_piece_hashes(creation, str(content.parent))
    lt.bencode(creation.generate())


def _mktorrent(content: Path) -> None:
    output = content.with_suffix(".mktorrent")
    command = ["mktorrent", "-t", "2", "-l", str(PIECE_POWER), "-o", str(output), str(content)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    output.unlink()


def _verify(metainfo: Metainfo, content: Path) -> None:
    async def verify() -> None:
        found = await check_data(metainfo, content, progress=no_progress)
        assert not found.bad
        assert not found.missing

    trio.run(verify)


def _libtorrent_check(torrent: Path, folder: Path) -> float:
    with StockClient() as client:
        began = time.monotonic()
        handle = client.add(torrent, folder)
        while not handle.status().is_seeding:
            time.sleep(0.005)
        return time.monotonic() - began
