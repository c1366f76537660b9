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
from torrent_onion.core.metainfo_build import choose_piece_length
from torrent_onion.engine.checking import no_progress
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.verifying import check_data

SMALL_FILE = 100_000
SMALL_FILES_SHARE = 2
"""Half of the content once more in small files: 20,000 of them for 4 GB."""


def measure(folder: Path, megabytes: int, runs: int) -> Iterator[Row]:
    """Measure; all pieces are as long as ``create`` chooses, unless a title says otherwise."""
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
    piece = choose_piece_length([SMALL_FILE] * count, TorrentFormat.HYBRID)
    yield _hybrid(f"{title}, pieces as each chooses", small, piece, runs, theirs=0)
    yield _hybrid(f"{title}, pieces of {piece >> 10} KiB", small, piece, runs)
    shutil.rmtree(small)


def _measure_one(content: Path, megabytes: int, runs: int) -> Iterator[Row]:
    piece = choose_piece_length([megabytes * MEGABYTE], TorrentFormat.V1)
    yield _hybrid(f"create hybrid, one file of {megabytes} MB", content, piece, runs)
    made = _create(content, TorrentFormat.V1, piece)
    if shutil.which("mktorrent"):
        ours, theirs = _in_turn(
            lambda: _timed(lambda: _create(content, TorrentFormat.V1, piece)),
            lambda: _timed(lambda: _mktorrent(content, piece)),
            runs,
        )
        title = f"create v1, one file of {megabytes} MB"
        yield Row(title, "mktorrent -t 2", "1/s", ours, theirs, 0.95)
    else:
        print("Left out for want of mktorrent (apt install mktorrent).")
    torrent = content.with_suffix(".torrent")
    torrent.write_bytes(made.encode())
    ours, theirs = _in_turn(
        lambda: _timed(lambda: _verify(made, content)),
        lambda: _libtorrent_check(torrent, content.parent),
        runs,
    )
    yield Row(f"verify {megabytes} MB", "libtorrent's check", "1/s", ours, theirs, 1.0)


def _hybrid(title: str, content: Path, piece: int, runs: int, theirs: int | None = None) -> Row:
    """Create beside libtorrent, with its own pieces where ``theirs`` is given; 0: as it chooses."""
    their_piece = piece if theirs is None else theirs
    rates = _in_turn(
        lambda: _timed(lambda: _create(content, TorrentFormat.HYBRID, piece)),
        lambda: _timed(lambda: _libtorrent_create(content, their_piece)),
        runs,
    )
    return Row(title, "libtorrent set_piece_hashes", "1/s", *rates, 1.3)


def _in_turn(
    ours: Callable[[], float], theirs: Callable[[], float], runs: int
) -> tuple[list[float], list[float]]:
    """How often a second each could be done, by its seconds."""
    seconds = [(ours(), theirs()) for _ in range(runs)]
    return [1 / each for each, _ in seconds], [1 / each for _, each in seconds]


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _create(content: Path, torrent_format: TorrentFormat, piece: int) -> Metainfo:
    async def create() -> Metainfo:
        made = await create_torrent(content, torrent_format=torrent_format, piece_length=piece)
        return made.metainfo

    return trio.run(create)


def _libtorrent_create(content: Path, piece: int) -> None:
    creation = lt.create_torrent(lt.list_files(str(content)), piece, 0)
    lt.set_piece_hashes(creation, str(content.parent))
    lt.bencode(creation.generate())


def _mktorrent(content: Path, piece: int) -> None:
    output = content.with_suffix(".mktorrent")
    power = str(piece.bit_length() - 1)
    command = ["mktorrent", "-t", "2", "-l", power, "-o", str(output), str(content)]
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
