"""Files with the same content are fetched once, or not at all (BEP 52 "pieces root")."""

import errno
import os
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryNetwork, tree, until
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Info, Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk import Disk
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import StorageError

PIECE = 16384
LONG = 5 * PIECE + 77
OTHER = 2 * PIECE
ALL = 3 * LONG + OTHER

WITH_ROOTS = [TorrentFormat.V2, TorrentFormat.HYBRID]


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """Three files with the same bytes, one of them the last, and one with others."""
    rng = random.Random(11)
    same, folder = rng.randbytes(LONG), tmp_path / "seed" / "documents"
    (folder / "copies").mkdir(parents=True)
    for name in ("a", "copies/b", "z"):
        (folder / name).write_bytes(same)
    (folder / "other").write_bytes(rng.randbytes(OTHER))
    return folder


@pytest.fixture(params=TorrentFormat)
async def torrent_format(request: pytest.FixtureRequest) -> TorrentFormat:
    assert isinstance(request.param, TorrentFormat)
    return request.param


@pytest.fixture
async def seeded(
    network: MemoryNetwork, content: Path, torrent_format: TorrentFormat
) -> AsyncIterator[tuple[Metainfo, PeerAddress]]:
    made = await create_torrent(content, piece_length=PIECE, torrent_format=torrent_format)
    address, listener = network.listen(1)
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(made.metainfo, content.parent, shared_path=content)
        await session.add(spec, listener=listener).wait_complete()
        yield made.metainfo, address


async def fetch(network: MemoryNetwork, spec: TorrentSpec, disk: Disk | None = None) -> int:
    """Returns the bytes of files that came in, padding not counted."""
    with trio.fail_after(60):
        async with open_session(dial=network.dial, disk=disk or Disk()) as session:
            torrent = session.add(spec)
            await torrent.wait_complete()
            return torrent.statistics().downloaded


def padding(metainfo: Metainfo) -> int:
    """Bytes of padding after each file: they come with its last piece, or do not."""
    return sum(entry.length for entry in metainfo.info.files if entry.is_pad)


async def test_files_of_one_content_are_fetched_once(
    network: MemoryNetwork,
    seeded: tuple[Metainfo, PeerAddress],
    content: Path,
    tmp_path: Path,
    torrent_format: TorrentFormat,
) -> None:
    metainfo, address = seeded
    came = await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
    expected = LONG + OTHER if torrent_format in WITH_ROOTS else ALL
    assert expected <= came <= expected + padding(metainfo)
    assert tree(tmp_path / "get" / content.name) == tree(content)


async def test_only_a_copy_is_wanted(
    network: MemoryNetwork, seeded: tuple[Metainfo, PeerAddress], content: Path, tmp_path: Path
) -> None:
    metainfo, address = seeded

    def select(info: Info) -> frozenset[int]:
        return frozenset(
            file for file, entry in enumerate(info.files) if entry.path in {("copies", "b"), ("z",)}
        )

    spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,), select=select)
    await fetch(network, spec)
    whole = tree(content)
    assert tree(tmp_path / "get" / content.name) == {n: whole[n] for n in ("copies/b", "z")}


async def test_what_a_file_has_is_copied_to_the_others_at_the_start(
    network: MemoryNetwork,
    seeded: tuple[Metainfo, PeerAddress],
    content: Path,
    tmp_path: Path,
    torrent_format: TorrentFormat,
) -> None:
    metainfo, address = seeded
    there = tmp_path / "get" / content.name
    there.mkdir(parents=True)
    (there / "a").write_bytes((content / "a").read_bytes())
    came = await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
    assert tree(there) == tree(content)
    if torrent_format in WITH_ROOTS:
        assert came == OTHER


@pytest.mark.parametrize("damaged", [False, True])
async def test_files_elsewhere_are_reused_when_the_user_says_so(
    network: MemoryNetwork,
    seeded: tuple[Metainfo, PeerAddress],
    content: Path,
    tmp_path: Path,
    torrent_format: TorrentFormat,
    damaged: bool,
) -> None:
    metainfo, address = seeded
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    data = bytearray((content / "a").read_bytes())
    if damaged:
        data[3 * PIECE] ^= 1
    (elsewhere / "deep" / "renamed").write_bytes(data)
    (elsewhere / "link").symlink_to(content / "other")
    (elsewhere / "same length").write_bytes(bytes(OTHER))
    before = tree(elsewhere)
    spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,), reuse=(elsewhere,))
    came = await fetch(network, spec)
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert tree(elsewhere) == before
    if torrent_format in WITH_ROOTS:
        expected = OTHER + (LONG - 3 * PIECE if damaged else 0)
        assert expected <= came <= expected + padding(metainfo)
    else:
        assert came == ALL


@pytest.mark.parametrize("form", WITH_ROOTS)
async def test_each_file_elsewhere_is_read_once(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: TorrentFormat
) -> None:
    """However many files of its length are looked for."""
    rng, files = random.Random(12), 30
    content, elsewhere = tmp_path / "seed" / "many", tmp_path / "elsewhere"
    for folder in (content, elsewhere):
        folder.mkdir(parents=True)
        for number in range(files):
            (folder / f"{number}").write_bytes(rng.randbytes(PIECE))
    (elsewhere / "7").write_bytes((content / "3").read_bytes())
    made = await create_torrent(content, piece_length=PIECE, torrent_format=form)
    opened: list[str] = []
    read = os.open

    def count(path: str | Path, flags: int, *more: int, **options: int | None) -> int:
        if not flags & os.O_DIRECTORY and not flags & os.O_CREAT:
            opened.append(os.fspath(path))
        return read(path, flags, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", count)
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(made.metainfo, tmp_path / "get", reuse=(elsewhere,))
        torrent = session.add(spec)
        await until(lambda: torrent.have is not None)
        assert torrent.statistics().done == PIECE
    names = [f"{number}" for number in range(files)]
    assert sum(opened.count(name) for name in names) <= files + 2


async def test_a_search_elsewhere_can_be_interrupted(
    network: MemoryNetwork, content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the folder that is being listed."""
    made = await create_torrent(content, piece_length=PIECE, torrent_format=TorrentFormat.HYBRID)
    elsewhere = tmp_path / "elsewhere"
    for number in range(50):
        (elsewhere / f"{number}").mkdir(parents=True)
    listed: list[str] = []
    scandir = os.scandir

    with trio.fail_after(60):
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(made.metainfo, tmp_path / "get", reuse=(elsewhere,))
            torrent = session.add(spec)

            def list_and_stop(path: str) -> object:
                if str(path).startswith(str(elsewhere)):
                    listed.append(path)
                    if len(listed) == 3:
                        trio.from_thread.run_sync(torrent.end)
                return scandir(path)

            monkeypatch.setattr(os, "scandir", list_and_stop)
            await torrent.ended.wait()
    assert len(listed) == 3


async def test_nothing_is_looked_for_where_the_user_has_not_said_so(
    network: MemoryNetwork, seeded: tuple[Metainfo, PeerAddress], content: Path, tmp_path: Path
) -> None:
    """Else a torrent could ask whether a file is anywhere on this disk."""
    metainfo, address = seeded
    near = tmp_path / "get" / "other of the user"
    near.parent.mkdir()
    near.write_bytes((content / "other").read_bytes())
    inside = tmp_path / "get" / content.name / "renamed"
    inside.parent.mkdir()
    inside.write_bytes((content / "other").read_bytes())
    came = await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
    assert came >= LONG + OTHER
    theirs = {"renamed": (content / "other").read_bytes()}
    assert tree(tmp_path / "get" / content.name) == tree(content) | theirs


async def test_room_is_reserved_before_anything_is_fetched(
    network: MemoryNetwork, seeded: tuple[Metainfo, PeerAddress], content: Path, tmp_path: Path
) -> None:
    metainfo, address = seeded
    reserved: list[tuple[str, int]] = []

    class Counting(Disk):
        def allocate(self, descriptor: int, offset: int, length: int) -> None:
            super().allocate(descriptor, offset, length)
            name = Path(f"/proc/self/fd/{descriptor}").readlink().name
            reserved.append((name, length))
            assert os.fstat(descriptor).st_blocks * 512 >= length

        def write(self, descriptor: int, data: memoryview, offset: int) -> int:
            if len(data) > 1000:  # no record
                assert len(reserved) == 4
            return super().write(descriptor, data, offset)

    spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,), preallocate=True)
    await fetch(network, spec, Counting())
    assert sorted(reserved) == [("a", LONG), ("b", LONG), ("other", OTHER), ("z", LONG)]
    assert tree(tmp_path / "get" / content.name) == tree(content)


async def test_room_that_is_not_there_is_given_back(
    network: MemoryNetwork, seeded: tuple[Metainfo, PeerAddress], tmp_path: Path
) -> None:
    metainfo, address = seeded

    class Full(Disk):
        left = 2

        def allocate(self, descriptor: int, offset: int, length: int) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "")
            super().allocate(descriptor, offset, length)

        def unlink(self, path: Path) -> None:
            assert threading.current_thread() is not threading.main_thread()
            super().unlink(path)

        def remove_folder(self, path: Path) -> None:
            assert threading.current_thread() is not threading.main_thread()
            super().remove_folder(path)

    spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,), preallocate=True)
    async with open_session(dial=network.dial, disk=Full()) as session:
        torrent = session.add(spec)
        with pytest.raises(StorageError, match="no space left"):
            await torrent.wait_complete()
        assert torrent.statistics().downloaded == 0
    assert list((tmp_path / "get").rglob("*")) == []
    assert await fetch(network, spec) > 0


@pytest.mark.parametrize("stops", [True, False])
async def test_room_is_reserved_in_slices_between_which_one_can_stop(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """Where the room must be written, that of a large file takes minutes."""
    monkeypatch.setattr("torrent_onion.engine.storage._FIRST_SLICE", 1000)
    content = tmp_path / "seed" / "large"
    content.parent.mkdir()
    content.write_bytes(bytes(PIECE))
    made = await create_torrent(content, piece_length=PIECE)
    asked: list[tuple[int, int]] = []

    class Slow(Disk):
        def allocate(self, descriptor: int, offset: int, length: int) -> None:
            asked.append((offset, length))
            if stops and len(asked) == 2:
                trio.from_thread.run_sync(torrent.end)

    with trio.fail_after(60):
        async with open_session(dial=network.dial, disk=Slow()) as session:
            spec = TorrentSpec(made.metainfo, tmp_path / "get", preallocate=True)
            torrent = session.add(spec)
            if stops:
                await torrent.ended.wait()
            else:
                await until(lambda: torrent.have is not None)
    assert len(asked) == 2 if stops else len(asked) > 2
    ends = [offset + length for offset, length in asked]
    assert [offset for offset, _ in asked] == [0, *ends[:-1]]
    assert stops or ends[-1] == PIECE


async def test_a_file_system_that_reserves_nothing_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "file").open("wb") as file:
        Disk().allocate(file.fileno(), 0, 1000)
    monkeypatch.delattr(os, "posix_fallocate")
    with (tmp_path / "file").open("wb") as file:
        Disk().allocate(file.fileno(), 0, 1000)
