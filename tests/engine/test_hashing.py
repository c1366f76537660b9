"""Content is hashed part after part: no piece is in memory as a whole."""

import hashlib
import os
import random
import tracemalloc
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, tree
from torrent_onion.core.merkle import piece_root, root_of_piece_layer
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.engine import scan as scan_module
from torrent_onion.engine.checking import no_progress
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.parallel import CHUNK
from torrent_onion.engine.scan import REPORT_EVERY
from torrent_onion.engine.verifying import check_data

PIECE = 2 * CHUNK
LENGTH = 2 * PIECE + CHUNK + BLOCK_SIZE + 1
DATA = random.Random(6).randbytes(LENGTH)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(DATA)
    return path


def damage(path: Path, place: int) -> None:
    data = bytearray(DATA)
    data[place] ^= 1
    path.write_bytes(data)


def many_files(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / str(number % 3) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


async def test_a_scan_tells_how_many_files_it_has_found(tmp_path: Path) -> None:
    told: list[int] = []
    many = many_files(tmp_path / "many", 3 * REPORT_EVERY)
    await create_torrent(many, scanned=told.append)
    assert told == sorted(told)
    assert told[0] <= REPORT_EVERY
    assert told[-1] > 2 * REPORT_EVERY - 5, "less the folders, which it looks at as well"
    told.clear()
    await create_torrent(many_files(tmp_path / "few", REPORT_EVERY // 2), scanned=told.append)
    assert not told


@pytest.mark.parametrize("turn", ["before hashing", "after hashing"])
async def test_a_scan_ends_at_once_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: str
) -> None:
    many = many_files(tmp_path / "many", 3 * REPORT_EVERY)
    looked_at: list[str] = []
    size = scan_module._size

    def cancelling(entry: os.DirEntry[str]) -> int:
        if not looked_at:
            trio.from_thread.run_sync(scope.cancel)
        looked_at.append(entry.name)
        return size(entry)

    def hashed(done: int, total: int) -> None:
        if done == total:
            monkeypatch.setattr(scan_module, "_size", cancelling)

    if turn == "before hashing":
        monkeypatch.setattr(scan_module, "_size", cancelling)
    with trio.CancelScope() as scope:
        await create_torrent(many, progress=hashed)
    assert scope.cancelled_caught
    assert 0 < len(looked_at) <= REPORT_EVERY


async def test_a_piece_longer_than_the_buffer_is_hashed_whole(content: Path) -> None:
    made = await create_torrent(content, torrent_format=TorrentFormat.HYBRID, piece_length=PIECE)
    pieces = [DATA[begin : begin + PIECE] for begin in range(0, LENGTH, PIECE)]
    info = made.metainfo.info
    assert info.piece_hashes == b"".join(hashlib.sha1(piece).digest() for piece in pieces)
    layer = b"".join(
        piece_root(
            b"".join(
                hashlib.sha256(piece[begin : begin + BLOCK_SIZE]).digest()
                for begin in range(0, len(piece), BLOCK_SIZE)
            ),
            file_length=LENGTH,
            piece_length=PIECE,
        )
        for piece in pieces
    )
    assert info.files[0].pieces_root == root_of_piece_layer(layer, PIECE)


async def test_memory_is_bounded_whatever_the_length_of_a_piece(tmp_path: Path) -> None:
    path, piece = tmp_path / "sparse", 64 * CHUNK
    with path.open("wb") as file:
        file.truncate(2 * piece)
    tracemalloc.start()
    try:
        made = await create_torrent(path, torrent_format=TorrentFormat.HYBRID, piece_length=piece)
        check = await check_data(made.metainfo, path, progress=no_progress)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not check.bad
    assert peak < piece / 4


@pytest.mark.parametrize("torrent_format", TorrentFormat)
@pytest.mark.parametrize("place", [0, CHUNK, PIECE - 1, LENGTH - 1])
async def test_one_wrong_byte_is_found_wherever_it_is(
    content: Path, torrent_format: TorrentFormat, place: int
) -> None:
    made = await create_torrent(content, torrent_format=torrent_format, piece_length=PIECE)
    assert not (await check_data(made.metainfo, content, progress=no_progress)).bad
    damage(content, place)
    assert (await check_data(made.metainfo, content, progress=no_progress)).bad == (content,)


@pytest.mark.parametrize("torrent_format", TorrentFormat)
async def test_progress_counts_bytes_of_files_and_no_padding(
    make_content: ContentMaker, tmp_path: Path, torrent_format: TorrentFormat
) -> None:
    """That of a hybrid with many small files is many times what they hold."""
    content = make_content(tmp_path)
    told: list[tuple[int, int]] = []
    made = await create_torrent(
        content,
        torrent_format=torrent_format,
        piece_length=PIECE,
        progress=lambda done, total: told.append((done, total)),
    )
    size = sum(map(len, tree(content).values()))
    assert told[-1] == (size, size)
    told.clear()
    await check_data(
        made.metainfo, content, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (size, size)
