"""The record of a partial download, and how far it is believed."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree, until
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine import torrent_data
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.placement import Placement, place_download
from torrent_onion.engine.resume import (
    Resume,
    load_resume,
    pieces_to_check,
    resume_path,
    save_resume,
    stamp_files,
)
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.verification import PieceVerifier

PIECE = 32768


@pytest.fixture
async def metainfo(make_content: ContentMaker, tmp_path: Path) -> Metainfo:
    return (await create_torrent(make_content(tmp_path / "seed"), piece_length=PIECE)).metainfo


def partial(metainfo: Metainfo, folder: Path) -> Placement:
    return place_download(metainfo.info, folder).partial()


def record_of_half(metainfo: Metainfo, make_content: ContentMaker, folder: Path) -> Resume:
    placement = partial(metainfo, folder)
    make_content(folder).rename(placement.path)
    have = Bitfield(metainfo.info.layout.num_pieces)
    for index in range(len(have) // 2):
        have.set(index)
    resume = Resume(have, stamp_files(placement))
    save_resume(resume_path(placement), metainfo.info, resume)
    return resume


async def test_a_record_is_read_as_it_was_written(
    metainfo: Metainfo, make_content: ContentMaker, tmp_path: Path
) -> None:
    resume = record_of_half(metainfo, make_content, tmp_path / "get")
    path = resume_path(partial(metainfo, tmp_path / "get"))
    assert load_resume(path, metainfo.info) == resume
    assert [each.name for each in path.parent.iterdir() if each.name.endswith("~")] == []


async def test_a_damaged_record_is_no_record(
    metainfo: Metainfo, make_content: ContentMaker, tmp_path: Path
) -> None:
    record_of_half(metainfo, make_content, tmp_path / "get")
    path = resume_path(partial(metainfo, tmp_path / "get"))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert load_resume(path, metainfo.info) is None
        path.write_bytes(whole[:place])
        assert load_resume(path, metainfo.info) is None
    path.unlink()
    assert load_resume(path, metainfo.info) is None


async def test_the_record_of_another_torrent_is_no_record(
    metainfo: Metainfo, make_content: ContentMaker, tmp_path: Path
) -> None:
    record_of_half(metainfo, make_content, tmp_path / "get")
    other = await create_torrent(make_content(tmp_path / "other"), piece_length=2 * PIECE)
    path = resume_path(partial(metainfo, tmp_path / "get"))
    assert load_resume(path, other.metainfo.info) is None


async def test_only_pieces_of_files_that_changed_are_checked(
    metainfo: Metainfo, make_content: ContentMaker, tmp_path: Path
) -> None:
    resume = record_of_half(metainfo, make_content, tmp_path / "get")
    placement = partial(metainfo, tmp_path / "get")
    info = metainfo.info
    assert pieces_to_check(info, resume, stamp_files(placement)).is_empty
    assert pieces_to_check(info, None, stamp_files(placement)).is_full
    changed = 1
    os.utime(placement.file(changed), ns=(0, 0))
    check = pieces_to_check(info, resume, stamp_files(placement))
    assert list(check.indices()) == list(info.layout.pieces_of_file(changed))
    placement.file(changed).unlink()
    check = pieces_to_check(info, resume, stamp_files(placement))
    assert list(check.indices()) == list(info.layout.pieces_of_file(changed))


async def test_what_the_record_vouches_for_is_not_hashed_again(
    network: MemoryNetwork,
    metainfo: Metainfo,
    make_content: ContentMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resume = record_of_half(metainfo, make_content, tmp_path / "get")
    checked: list[int] = []

    class Verifier(PieceVerifier):
        def __call__(self, index: int, parts: Iterable[memoryview]) -> bool:
            checked.append(index)
            return super().__call__(index, parts)

    monkeypatch.setattr(torrent_data, "PieceVerifier", Verifier)
    async with open_session(dial=network.dial) as session:
        torrent = session.add(TorrentSpec(metainfo, tmp_path / "get"))
        with trio.fail_after(10):
            await until(lambda: torrent.statistics().done > 0)
        assert torrent.known_have == resume.have
    assert checked == []


async def test_stopping_a_download_leaves_a_record_that_the_next_run_believes(
    network: MemoryNetwork,
    metainfo: Metainfo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = tmp_path / "seed" / "documents"
    address, listener = network.listen(1)
    async with open_session(dial=network.dial) as seeding:
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await seeding.add(shared, listener=listener).wait_complete()
        spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
        async with open_session(dial=network.dial) as session:
            torrent = session.add(spec)
            with trio.fail_after(10):
                await until(lambda: torrent.statistics().done >= 4 * PIECE)
        path = resume_path(partial(metainfo, tmp_path / "get"))
        resume = load_resume(path, metainfo.info)
        assert resume is not None
        assert resume.have == torrent.known_have
        stamps = stamp_files(partial(metainfo, tmp_path / "get"))
        assert pieces_to_check(metainfo.info, resume, stamps).is_empty
        async with open_session(dial=network.dial) as session:
            with trio.fail_after(10):
                await session.add(spec).wait_complete()
    assert tree(tmp_path / "get" / "documents") == tree(content)
    assert [each.name for each in (tmp_path / "get").iterdir()] == ["documents"]
