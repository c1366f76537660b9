"""Disks that fail at random: a sentence for that torrent, others go on, nothing is lost."""

import errno
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.engine.broken_disks import FailingDisk
from tests.engine.helpers import ContentMaker, MemoryNetwork, tree, until
from tests.examples import examples
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk import DISK, Disk, write_all
from torrent_onion.engine.session import open_session
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import StorageError, TorrentOnionError

PIECE = 32768
WORDS = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "quota is used up",
    errno.EROFS: "read-only disk",
    errno.EIO: "input/output error",
}
REFUSALS = WORDS | {errno.ENAMETOOLONG: "too long for this disk"}

Seeded = tuple[Metainfo, PeerAddress, Path]


@pytest.fixture
async def seeded(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> AsyncIterator[Seeded]:
    """Somebody who has it."""
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    address, listener = network.listen(1)
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(metainfo, content.parent, shared_path=content)
        await session.add(spec, listener=listener).wait_complete()
        yield metainfo, address, content


@pytest.mark.parametrize("seed", range(examples(24)))
async def test_a_torrent_fails_alone_and_is_whole_in_the_end(
    network: MemoryNetwork, seeded: Seeded, tmp_path: Path, seed: int
) -> None:
    metainfo, address, content = seeded
    rng = random.Random(seed)
    bad, good = tmp_path / "bad", tmp_path / "good"
    disk = FailingDisk(bad, rng, rng.choice([0.02, 0.1, 0.3]), tuple(WORDS))
    with trio.fail_after(60):
        async with open_session(dial=network.dial, disk=disk) as session:
            failing = session.add(TorrentSpec(metainfo, bad, peers=(address,)))
            other = session.add(TorrentSpec(metainfo, good, peers=(address,)))
            await other.wait_complete()
            with suppress(TorrentOnionError):
                await failing.wait_complete()
            if failing.error is not None:
                assert isinstance(failing.error, StorageError)
                assert str(bad) in str(failing.error)
                assert any(words in str(failing.error) for words in WORDS.values())
                assert disk.failed
                assert failing.state is TorrentState.FAILED
            assert other.state is TorrentState.SEEDING
        async with open_session(dial=network.dial) as session:
            await session.add(TorrentSpec(metainfo, bad, peers=(address,))).wait_complete()
    for folder in (bad, good):
        assert tree(folder / content.name) == tree(content)
        assert [path.name for path in folder.iterdir()] == [content.name]


class OneError(Disk):
    """Says one thing of one kind of call, from the first to the last."""

    def __init__(self, call: str, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder

        def fail(*_: object, **__: object) -> int:
            raise OSError(self.number, "")

        setattr(self, call, fail)


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("call", ["write", "sync", "rename", "make_folder"])
async def test_every_refusal_is_a_sentence_about_that_torrent(
    network: MemoryNetwork, seeded: Seeded, tmp_path: Path, number: int, call: str
) -> None:
    metainfo, address, _ = seeded
    (tmp_path / "get").mkdir()
    disk = OneError(call, number, tmp_path / "get")
    with trio.fail_after(20):
        async with open_session(dial=network.dial, disk=disk) as session:
            torrent = session.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
            with pytest.raises(StorageError, match=REFUSALS[number]) as caught:
                await torrent.wait_complete()
    assert str(tmp_path / "get") in str(caught.value)


@pytest.mark.parametrize("broken", ["EIO", "shorter", "gone"])
async def test_what_cannot_be_read_any_more_ends_its_torrent_only(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, broken: str
) -> None:
    """While it is shared: the disk fails, or somebody changes the files under us."""
    content, other = make_content(tmp_path / "one"), make_content(tmp_path / "other")
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    kept_metainfo = (await create_torrent(other, piece_length=2 * PIECE)).metainfo
    address, listener = network.listen(1)
    disk = OneError("read", errno.EIO, content) if broken == "EIO" else DISK
    victim = content / "a" / "deeper" / "second.bin"
    words = {"EIO": "input/output error", "shorter": "shorter than it was", "gone": "is gone"}
    async with (
        open_session(dial=network.dial, disk=disk) as seeding,
        open_session(dial=network.dial) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        torrent = seeding.add(shared, listener=listener)
        kept = seeding.add(TorrentSpec(kept_metainfo, other.parent, shared_path=other))
        await torrent.wait_complete()
        await kept.wait_complete()
        if broken == "shorter":
            victim.write_bytes(victim.read_bytes()[:1000])
        elif broken == "gone":
            victim.unlink()
        getting.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        with trio.fail_after(20):
            await torrent.ended.wait()
        assert torrent.state is TorrentState.FAILED
        assert words[broken] in (torrent.statistics().error or "")
        assert kept.state is TorrentState.SEEDING


async def test_a_sync_that_failed_is_never_taken_for_done(
    network: MemoryNetwork, seeded: Seeded, tmp_path: Path
) -> None:
    """The system reports it once, and may have thrown the data away."""
    metainfo, address, _ = seeded

    class FailsOnce(Disk):
        failures = 0

        def sync(self, descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.name == "second.bin" and not self.failures:
                self.failures += 1
                raise OSError(errno.EIO, "")
            super().sync(descriptor)

    disk = FailsOnce()
    with trio.fail_after(20):
        async with open_session(dial=network.dial, disk=disk) as session:
            torrent = session.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
            await until(lambda: torrent.storage is not None and torrent.statistics().done > 0)
            with pytest.raises(StorageError, match="input/output error"):
                await torrent.wait_complete()
            with pytest.raises(StorageError, match="input/output error"):
                torrent.open_storage.sync_now()
    assert disk.failures == 1


async def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    network: MemoryNetwork, seeded: Seeded, tmp_path: Path
) -> None:
    metainfo, address, _ = seeded
    needed = f"{metainfo.info.total_length:,} more bytes are needed"  # padding needs none

    class Small(Disk):
        def free(self, path: Path) -> int:
            return metainfo.info.total_length - 1

    async with open_session(dial=network.dial, disk=Small()) as session:
        torrent = session.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        with pytest.raises(StorageError, match=needed):
            await torrent.wait_complete()
        assert torrent.statistics().downloaded == 0
    assert list((tmp_path / "get").iterdir()) == []


@pytest.mark.parametrize("is_right", [True, False])
async def test_room_that_verified_data_takes_is_not_counted_as_free(
    network: MemoryNetwork, tmp_path: Path, is_right: bool
) -> None:
    """What is there and wrong will be written over."""
    content = tmp_path / "seed" / "file"
    content.parent.mkdir()
    content.write_bytes(random.Random(4).randbytes(10 * PIECE))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    spec = TorrentSpec(metainfo, tmp_path / "get")
    async with open_session(dial=network.dial) as session:
        torrent = session.add(spec)
        await until(lambda: torrent.have is not None)
    here = (
        content.read_bytes()[: 9 * PIECE] if is_right else bytes(range(256)) * (10 * PIECE // 256)
    )
    (tmp_path / "get" / "file.part").write_bytes(here)

    class Full(Disk):
        def free(self, path: Path) -> int:
            return 0

    with trio.fail_after(60):
        async with open_session(dial=network.dial, disk=Full()) as session:
            torrent = session.add(spec)
            await until(lambda: torrent.have is not None or torrent.ended.is_set())
            if is_right:
                assert f"{PIECE:,} more bytes are needed" in str(torrent.error)
            else:
                assert torrent.error is None


def test_a_disk_that_takes_nothing_is_no_endless_loop(tmp_path: Path) -> None:
    class TakesNothing(Disk):
        def write(self, descriptor: int, data: memoryview, offset: int) -> int:
            return 0

    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="takes nothing"):
        write_all(TakesNothing(), file.fileno(), memoryview(b"data"), 0)
