"""Files are read one after another: every byte once, the same errors, nothing left open."""

import errno
import os
import random
from pathlib import Path, PurePosixPath

import pytest

from tests.engine.test_file_handles import CountingDisk
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.core.piece_layout import BLOCK_SIZE, FileSpan
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.scan import scan
from torrent_onion.engine.sequential_reader import SequentialReader
from torrent_onion.errors import StorageError

FILES = 40
LENGTH = 3 * BLOCK_SIZE + 5
NAMES = tuple(
    PurePosixPath("top", f"folder {number // 10}", str(number)) for number in range(FILES)
)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
def buffer() -> memoryview:
    return memoryview(bytearray(2 * BLOCK_SIZE))


@pytest.fixture
def contents(tmp_path: Path) -> list[bytes]:
    rng = random.Random(7)
    contents = [rng.randbytes(LENGTH) for _ in NAMES]
    for name, data in zip(NAMES, contents, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return contents


def test_parts_come_in_order_and_each_folder_is_entered_once(
    tmp_path: Path, contents: list[bytes], disk: CountingDisk, buffer: memoryview
) -> None:
    cut = BLOCK_SIZE + 1
    spans = [
        FileSpan(file, offset, length)
        for file in range(FILES)
        for offset, length in ((0, cut), (cut, LENGTH - cut))
    ]
    with SequentialReader(Placement(tmp_path, NAMES), buffer, disk) as reader:
        for span in spans:
            parts = [bytes(part) for part in reader.parts([span])]
            assert b"".join(parts) == contents[span.file][span.offset :][: span.length]
            assert all(len(part) % BLOCK_SIZE == 0 for part in parts[:-1])
            assert len(disk.is_open) == 2  # this file and its folder
    assert not disk.is_open
    assert disk.folders_opened == (FILES // 10) * len(NAMES[0].parts)


def test_padding_is_zeros_and_no_file(tmp_path: Path, buffer: memoryview) -> None:
    with SequentialReader(Placement(tmp_path, (None,)), buffer) as reader:
        assert b"".join(reader.parts([FileSpan(0, 0, 3 << 20)])) == bytes(3 << 20)


class ShortReads(CountingDisk):
    """Gives a part at a time, as a disk may."""

    def read(self, descriptor: int, into: memoryview, offset: int) -> int:
        return super().read(descriptor, into[:1000], offset)


def test_a_disk_may_give_a_part_at_a_time(
    tmp_path: Path, contents: list[bytes], buffer: memoryview
) -> None:
    with SequentialReader(Placement(tmp_path, NAMES), buffer, ShortReads()) as reader:
        parts = reader.parts([FileSpan(3, 0, LENGTH)])
        assert b"".join(bytes(part) for part in parts) == contents[3]


class BrokenDisk(CountingDisk):
    """Cannot be read."""

    def read(self, descriptor: int, into: memoryview, offset: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def _nothing(_path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("break_it", "words", "is_broken"),
    [
        (Path.unlink, "is gone", False),
        (lambda path: os.truncate(path, 100), "is shorter than it was", False),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "symbolic link", False),
        (_nothing, "input/output error", True),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_stays_open(
    tmp_path: Path,
    contents: list[bytes],
    buffer: memoryview,
    break_it: object,
    words: str,
    is_broken: bool,
) -> None:
    path = tmp_path / NAMES[5]
    assert callable(break_it)
    break_it(path)
    disk = BrokenDisk() if is_broken else CountingDisk()
    with (
        pytest.raises(StorageError, match=words) as caught,
        SequentialReader(Placement(tmp_path, NAMES), buffer, disk) as reader,
    ):
        list(reader.parts([FileSpan(5, 0, LENGTH)]))
    assert str(path) in str(caught.value)
    assert not disk.is_open


def test_a_link_where_a_folder_should_be_is_not_followed(
    tmp_path: Path, contents: list[bytes], disk: CountingDisk, buffer: memoryview
) -> None:
    (tmp_path / "top" / "link").symlink_to(tmp_path / "top" / "folder 0")
    names = (PurePosixPath("top", "link", "0"),)
    with (
        pytest.raises(StorageError),
        SequentialReader(Placement(tmp_path, names), buffer, disk) as reader,
    ):
        list(reader.parts([FileSpan(0, 0, LENGTH)]))
    assert not disk.is_open


@pytest.mark.parametrize("torrent_format", TorrentFormat)
async def test_a_file_that_shrinks_while_it_is_hashed_ends_creation(
    tmp_path: Path,
    contents: list[bytes],
    torrent_format: TorrentFormat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    victim = tmp_path / NAMES[-1]

    def look(*args: object, **options: object) -> object:
        found = scan(*args, **options)  # type: ignore[arg-type]
        os.truncate(victim, LENGTH - 1)
        return found

    monkeypatch.setattr("torrent_onion.engine.creation.scan", look)
    with pytest.raises(StorageError, match="shorter than it was") as caught:
        await create_torrent(tmp_path / "top", torrent_format=torrent_format)
    assert str(victim) in str(caught.value)
