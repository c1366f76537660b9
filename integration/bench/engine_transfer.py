"""The engine alone: two processes over a Unix socket, beside libtorrent's two over loopback."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import trio

from integration.bench.figures import Row
from integration.bench.processes import MEGABYTE, make_content, run_peer, serving_peer
from torrent_onion.engine.creation import create_torrent

PIECE = 1 << 20


def measure(folder: Path, megabytes: int, runs: int) -> Iterator[Row]:
    content = make_content(folder / "engine.bin", megabytes * MEGABYTE)
    torrent = make_torrent(content, folder / "engine.torrent")
    ours, theirs = [], []
    with (
        serving_peer("seed", torrent, content, "unix") as (_, place),
        serving_peer("libtorrent-seed", torrent, folder) as (_, peer),
    ):
        for _ in range(runs):
            result = run_peer("get", torrent, folder / "got", "-", place, 1)
            ours.append(megabytes / result["seconds"])
            shutil.rmtree(folder / "got")
            result = run_peer("libtorrent-get", torrent, folder / "got", peer)
            theirs.append(megabytes / result["seconds"])
            shutil.rmtree(folder / "got")
    content.unlink()
    yield Row(
        f"engine alone, {megabytes} MB, v1",
        "libtorrent to libtorrent, loopback",
        "MB/s",
        ours,
        theirs,
        1.2,
    )


def make_torrent(content: Path, torrent: Path) -> Path:
    async def make() -> bytes:
        return (await create_torrent(content, piece_length=PIECE)).metainfo.encode()

    torrent.write_bytes(trio.run(make))
    return torrent
