"""Whole transfers between sessions of ours over a network in memory."""

import errno
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree, until
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk import Disk
from torrent_onion.engine.downloads import SPARE_SECONDS
from torrent_onion.engine.resume import RESUME_SUFFIX, UNKNOWN_STAMP, Resume, save_resume
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import PeerStream
from torrent_onion.errors import StorageError
from torrent_onion.policy.peer_pool import Source

PIECE = 32768


@asynccontextmanager
async def seeding(
    network: MemoryNetwork, content: Path, number: int = 1, form: TorrentFormat = TorrentFormat.V1
) -> AsyncIterator[tuple[Metainfo, PeerAddress, Session]]:
    """A session that seeds a folder at an address of the network."""
    made = await create_torrent(content, piece_length=PIECE, torrent_format=form)
    metainfo = made.metainfo
    address, listener = network.listen(number)
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(metainfo, content.parent, shared_path=content, own_address=address)
        await session.add(spec, listener=listener).wait_complete()
        yield metainfo, address, session


async def fetch(network: MemoryNetwork, spec: TorrentSpec) -> None:
    with trio.fail_after(60):
        async with open_session(dial=network.dial) as session:
            await session.add(spec).wait_complete()


async def test_a_folder_arrives_whole(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    async with seeding(network, content) as (metainfo, address, _):
        await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert [path.name for path in (tmp_path / "get").iterdir()] == [content.name]


async def test_a_single_file_by_magnet_link_alone(network: MemoryNetwork, tmp_path: Path) -> None:
    content = tmp_path / "seed" / "one file.bin"
    content.parent.mkdir()
    content.write_bytes(random.Random(3).randbytes(3 * PIECE + 1))
    async with seeding(network, content) as (metainfo, address, _):
        magnet = Magnet(info_hashes=metainfo.info.info_hashes, peers=(address,))
        await fetch(network, TorrentSpec(magnet, tmp_path / "get", peers=magnet.peers))
    assert (tmp_path / "get" / "one file.bin").read_bytes() == content.read_bytes()


async def test_padding_is_not_fetched(network: MemoryNetwork, tmp_path: Path) -> None:
    """Small files in pieces of two blocks, so that most of what the pieces hold is padding."""
    content = tmp_path / "seed" / "small files"
    content.mkdir(parents=True)
    for number in range(30):
        (content / f"{number:02}").write_bytes(random.Random(number).randbytes(1 + 900 * number))
    hybrid = TorrentFormat.HYBRID
    async with seeding(network, content, form=hybrid) as (metainfo, address, session):
        assert any(entry.is_pad for entry in metainfo.info.files)
        await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        assert session.torrents[0].statistics().uploaded == metainfo.info.total_length
    assert tree(tmp_path / "get" / content.name) == tree(content)


async def test_a_second_run_goes_on_where_the_first_ended(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    async with seeding(network, content) as (metainfo, address, session):
        spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
        async with open_session(dial=network.dial) as first:
            torrent = first.add(spec)
            await until(lambda: torrent.statistics().done >= 5 * PIECE)
        assert not (tmp_path / "get" / content.name).exists()
        sent_at_first = session.torrents[0].statistics().uploaded
        await fetch(network, spec)
        sent = session.torrents[0].statistics().uploaded
        total = metainfo.info.total_length
        assert sent - sent_at_first <= total - 5 * PIECE + PIECE
    assert tree(tmp_path / "get" / content.name) == tree(content)


async def test_damaged_partial_data_is_found_and_fetched_anew(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    partial = tmp_path / "get" / (content.name + ".part")
    async with seeding(network, content) as (metainfo, address, session):
        make_content(tmp_path / "get").rename(partial)
        nothing = Resume(
            Bitfield(metainfo.info.layout.num_pieces),
            tuple(UNKNOWN_STAMP for _ in metainfo.info.files),
        )
        save_resume(partial.with_name(partial.name + RESUME_SUFFIX), metainfo.info, nothing)
        with (partial / "a" / "first.bin").open("r+b") as file:
            file.seek(40_000)
            file.write(b"damage")
        (partial / "empty.txt").unlink()
        await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        assert session.torrents[0].statistics().uploaded == PIECE
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert [path.name for path in (tmp_path / "get").iterdir()] == [content.name]


@pytest.mark.parametrize("single", [True, False])
async def test_what_is_somebody_elses_under_the_partial_name_is_never_touched(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, single: bool
) -> None:
    content = make_content(tmp_path / "seed")
    content = content / "a" / "first.bin" if single else content
    async with seeding(network, content) as (metainfo, address, _):
        theirs = tmp_path / "get" / (content.name + ".part")
        file = theirs if single else theirs / "a" / "first.bin"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"precious")
        with pytest.raises(StorageError, match="no download of this torrent"):
            await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        assert file.read_bytes() == b"precious"


async def test_two_torrents_of_one_name_do_not_mix(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    other = make_content(tmp_path / "other")
    (other / "a" / "first.bin").write_bytes(bytes(100_000))
    first = (await create_torrent(content, piece_length=PIECE)).metainfo
    second = (await create_torrent(other, piece_length=PIECE)).metainfo
    async with open_session(dial=network.dial) as session:
        one = session.add(TorrentSpec(first, tmp_path / "get"))
        with trio.fail_after(10):
            await until(lambda: one.state is TorrentState.DOWNLOADING)
            for again in (first, second):
                two = session.add(TorrentSpec(again, tmp_path / "get"))
                with pytest.raises(StorageError, match=r"already"):
                    await two.wait_complete()
        assert one.state is TorrentState.DOWNLOADING


async def test_a_finished_file_that_only_shares_pieces_must_be_right(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    content = tmp_path / "seed" / "pair"
    content.mkdir(parents=True)
    (content / "a").write_bytes(b"a" * 1000)
    (content / "b").write_bytes(b"b" * (PIECE + 5))
    async with seeding(network, content) as (metainfo, address, _):
        wrong = tmp_path / "get" / "pair" / "a"
        wrong.parent.mkdir(parents=True)
        wrong.write_bytes(b"x" * 1000)
        with pytest.raises(StorageError, match="is not what this torrent holds"):
            await fetch(network, TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        assert wrong.read_bytes() == b"x" * 1000


async def test_complete_data_is_recognised_without_any_peer(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    await fetch(network, TorrentSpec(metainfo, content.parent))
    assert network.dialled == []


async def test_other_data_under_the_final_name_is_never_touched(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    precious = tmp_path / "get" / content.name / "a" / "first.bin"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"precious")
    with pytest.raises(StorageError, match="exists already"):
        await fetch(network, TorrentSpec(metainfo, tmp_path / "get"))
    assert tree(tmp_path / "get") == {f"{content.name}/a/first.bin": b"precious"}


async def test_two_getters_and_two_seeders(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    async with (
        seeding(network, content, 1) as (metainfo, first, _),
        seeding(network, content, 2) as (_, second, _),
        trio.open_nursery() as nursery,
    ):
        for name in ("one", "two"):
            spec = TorrentSpec(metainfo, tmp_path / name, peers=(first, second))
            nursery.start_soon(fetch, network, spec)
    for name in ("one", "two"):
        assert tree(tmp_path / name / content.name) == tree(content)


async def test_getters_serve_each_other(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    async with seeding(network, content) as (metainfo, seeder, _):
        middle, listener = network.listen(7)
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(metainfo, tmp_path / "middle", peers=(seeder,), own_address=middle)
            torrent = session.add(spec, listener=listener)
            await torrent.wait_complete()
            assert torrent.state is TorrentState.SEEDING
            await fetch(network, TorrentSpec(metainfo, tmp_path / "last", peers=(middle,)))
            assert torrent.statistics().uploaded == metainfo.info.total_length
    assert tree(tmp_path / "last" / content.name) == tree(content)


async def test_each_torrent_has_an_isolation_of_its_own(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    async with seeding(network, content) as (metainfo, address, _):
        for name in ("one", "two"):
            await fetch(network, TorrentSpec(metainfo, tmp_path / name, peers=(address,)))
    tokens = [isolation for _, isolation in network.dialled]
    assert len(tokens) == len(set(tokens)) == 2
    assert all(len(token) >= 32 for token in tokens)


async def test_a_bug_ends_one_torrent_only(
    network: MemoryNetwork,
    make_content: ContentMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = make_content(tmp_path / "seed")
    other = make_content(tmp_path / "other")
    async with seeding(network, content) as (_, _, session):
        metainfo = (await create_torrent(other, piece_length=2 * PIECE)).metainfo
        kept = session.add(TorrentSpec(metainfo, other.parent, shared_path=other))
        await kept.wait_complete()
        broken = session.torrents[0]

        def stumble(now: float) -> None:
            raise ZeroDivisionError(now)

        monkeypatch.setattr(broken.metadata, "drop_stalled", stumble)
        with trio.fail_after(10):
            await broken.ended.wait()
        assert broken.state is TorrentState.FAILED
        assert "error in this program" in (broken.statistics().error or "")
        assert kept.state is TorrentState.SEEDING


async def test_without_a_network_nobody_has_failed(
    network: MemoryNetwork,
    make_content: ContentMaker,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
) -> None:
    """A tracker's name is given up after four failures, but these are not its own."""
    mock_clock.rate = 100  # threads are real, so the clock cannot jump
    content = make_content(tmp_path / "seed")
    failures = 0

    async def dial(host: str, port: int, isolation: str) -> PeerStream:
        nonlocal failures
        if failures < 6:
            failures += 1
            raise OSError(errno.ENETDOWN, "no network")
        return await network.dial(host, port, isolation)

    async with (
        seeding(network, content) as (metainfo, address, _),
        open_session(dial=dial) as session,
    ):
        torrent = session.add(TorrentSpec(metainfo, tmp_path / "get"))
        torrent.add_candidates([address], Source.TRACKER)
        with trio.fail_after(600):
            await torrent.wait_complete()
    assert failures == 6


async def test_a_file_that_vanishes_while_it_is_shared_ends_its_torrent_only(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    other = make_content(tmp_path / "other")
    async with seeding(network, content) as (metainfo, address, session):
        (content / "a" / "deeper" / "second.bin").unlink()
        kept = session.add(
            TorrentSpec(
                (await create_torrent(other, piece_length=2 * PIECE)).metainfo,
                other.parent,
                shared_path=other,
            )
        )
        async with trio.open_nursery() as nursery:
            spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
            nursery.start_soon(fetch, network, spec)
            await session.torrents[0].ended.wait()
            nursery.cancel_scope.cancel()
        assert session.torrents[0].state is TorrentState.FAILED
        assert "second.bin" in str(session.torrents[0].statistics().error)
        assert kept.state is TorrentState.SEEDING


class NotingDisk(Disk):
    """Keeps the memory that pieces were written from."""

    def __init__(self) -> None:
        self.sources: list[object] = []

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) == PIECE:
            self.sources.append(data.obj)
        return super().write(descriptor, data, offset)


def hundred_pieces(folder: Path) -> Path:
    content = folder / "seed" / "file.bin"
    content.parent.mkdir()
    content.write_bytes(random.Random(4).randbytes(100 * PIECE))
    return content


async def test_pieces_use_memory_again_and_none_is_kept_at_the_end(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    content = hundred_pieces(tmp_path)
    disk = NotingDisk()
    async with seeding(network, content) as (metainfo, address, _):
        spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
        async with open_session(dial=network.dial, disk=disk) as session:
            torrent = session.add(spec)
            await torrent.wait_complete()
            buffers = torrent.downloads.picker.buffers
            assert all(buffers.take(PIECE) is not source for source in disk.sources)
    assert (tmp_path / "get" / "file.bin").read_bytes() == content.read_bytes()
    assert len(disk.sources) == 100
    assert len({id(source) for source in disk.sources}) < 50


async def test_memory_for_pieces_is_let_go_of_when_nothing_comes(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    content = hundred_pieces(tmp_path)
    async with (
        seeding(network, content) as (metainfo, address, _),
        open_session(dial=network.dial) as session,
    ):
        torrent = session.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        await until(lambda: torrent.statistics().done >= 5 * PIECE)
        downloads, last = torrent.downloads, torrent.traffic.last_block
        assert last is not None
        assert not downloads.is_done
        downloads.reuse(buffer := bytearray(PIECE))
        downloads.tick(last + 1)
        assert downloads.picker.buffers.take(PIECE) is buffer
        downloads.reuse(buffer)
        downloads.tick(last + SPARE_SECONDS + 1)
        assert downloads.picker.buffers.take(PIECE) is not buffer
