"""What users choose: files, order, rates, goals, super-seeding."""

from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree, until
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.core.metainfo_build import FileToShare, build_info, plan_files
from torrent_onion.engine.bandwidth import BURST_SECONDS, RateLimit
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.selection import by_name
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Goals, Settings
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import PathError
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY

PIECE = 32768


@pytest.mark.parametrize("torrent_format", TorrentFormat)
async def test_only_the_files_that_are_wanted_get_their_names(
    network: MemoryNetwork,
    make_content: ContentMaker,
    tmp_path: Path,
    torrent_format: TorrentFormat,
) -> None:
    content = make_content(tmp_path / "seed")
    created = await create_torrent(content, piece_length=PIECE, torrent_format=torrent_format)
    metainfo = created.metainfo
    paths = ["/".join(entry.path) for entry in metainfo.info.files]
    address, listener = network.listen(1)
    with trio.fail_after(60):
        async with (
            open_session(dial=network.dial) as seeding,
            open_session(dial=network.dial) as getting,
        ):
            shared = TorrentSpec(metainfo, content.parent, shared_path=content)
            await seeding.add(shared, listener=listener).wait_complete()
            for name in ("最後.bin", "a/deeper/second.bin"):
                spec = TorrentSpec(
                    metainfo,
                    tmp_path / "get",
                    peers=(address,),
                    select=by_name([name], [], None),
                )
                torrent = getting.add(spec)
                await torrent.wait_complete()
                statistics = torrent.statistics()
                assert statistics.done == statistics.wanted < statistics.total
                assert statistics.path == tmp_path / "get" / content.name
                assert torrent.wanted == frozenset({paths.index(name)})
                await torrent.stop()
            got = tree(tmp_path / "get" / content.name)
            assert got == {
                name: data
                for name, data in tree(content).items()
                if name in ("a/deeper/second.bin", "最後.bin")
            }
            everything = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
            await getting.add(everything).wait_complete()
    assert tree(tmp_path / "get" / content.name) == tree(content)
    assert [path.name for path in (tmp_path / "get").iterdir()] == [content.name]


@pytest.mark.parametrize(
    ("only", "skip", "numbers", "expected"),
    [
        ([], [], None, {0, 1, 2}),
        (["*.txt"], [], None, {0, 2}),
        (["*.txt"], ["b"], None, {0}),
        ([], ["a.txt"], None, {1, 2}),
        ([], [], (1, 7), {1}),
        (["*.txt"], [], (1,), {0, 2}),
        (["x/a.txt"], [], None, {0}),  # as `show` draws it
        (["x/b"], ["x/b/d.*"], None, {1}),
    ],
)
def test_files_are_chosen_by_name_or_by_the_link(
    only: list[str], skip: list[str], numbers: tuple[int, ...] | None, expected: set[int]
) -> None:
    files = [FileToShare(path, 1) for path in (("a.txt",), ("b", "c.jpg"), ("b", "d.txt"))]
    info = build_info(
        "x",
        plan_files("x", files, PIECE, TorrentFormat.V1),
        piece_length=PIECE,
        torrent_format=TorrentFormat.V1,
        is_single_file=False,
        piece_hashes=bytes(20),
    )
    assert by_name(only, skip, numbers)(info) == expected
    with pytest.raises(PathError, match=r"It has a\.txt, b/c\.jpg, b/d\.txt\. Change --only"):
        by_name(["z"], [], None)(info)


def test_the_name_of_a_torrent_in_front_is_no_folder_where_one_has_it() -> None:
    files = [FileToShare(path, 1) for path in (("a",), ("x", "a"))]
    info = build_info(
        "x",
        plan_files("x", files, PIECE, TorrentFormat.V1),
        piece_length=PIECE,
        torrent_format=TorrentFormat.V1,
        is_single_file=False,
        piece_hashes=bytes(20),
    )
    assert by_name(["x/a"], [], None)(info) == {1}
    assert by_name([], ["x/a"], None)(info) == {0}


async def test_a_choice_of_nothing_fails_the_torrent(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    metainfo = (await create_torrent(make_content(tmp_path / "seed"))).metainfo
    async with open_session(dial=network.dial) as session:
        spec = TorrentSpec(metainfo, tmp_path / "get", select=by_name(["nothing"], [], None))
        torrent = session.add(spec)
        with pytest.raises(PathError, match="None of its files"):
            await torrent.wait_complete()


async def test_in_sequence_the_ends_of_files_come_first(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    metainfo = (await create_torrent(make_content(tmp_path / "seed"), piece_length=PIECE)).metainfo
    layout = metainfo.info.layout
    async with open_session(dial=network.dial) as session:
        torrent = session.add(TorrentSpec(metainfo, tmp_path / "get", sequential=True))
        with trio.fail_after(10):
            await until(lambda: torrent.state is TorrentState.DOWNLOADING)
        picker = torrent.downloads.picker
        assert picker.sequential
        ends = {
            index
            for file, entry in enumerate(metainfo.info.files)
            if entry.length
            for index in (layout.pieces_of_file(file)[0], layout.pieces_of_file(file)[-1])
        }
        for index in range(layout.num_pieces):
            expected = MAX_PRIORITY if index in ends else NORMAL_PRIORITY
            assert picker.priority(index) == expected


async def test_a_rate_limit_lets_through_what_it_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limit = RateLimit(1000.0)
    started = trio.current_time()
    for _ in range(20):
        await limit.take(500)
    assert trio.current_time() - started == pytest.approx(10.0, abs=BURST_SECONDS + 0.5)
    await RateLimit().take(10**12)
    assert trio.current_time() - started < 11


@pytest.mark.parametrize("side", ["upload", "download"])
async def test_rates_of_a_session_hold(
    network: MemoryNetwork, tmp_path: Path, side: str, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 6  # threads are real: the clock cannot jump, and a busy machine needs time
    content = tmp_path / "seed" / "large.bin"
    content.parent.mkdir()
    content.write_bytes(bytes(8 << 20))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    address, listener = network.listen(1)
    rate = metainfo.info.total_length / 20
    up = Settings(max_upload=rate if side == "upload" else None)
    down = Settings(max_download=rate if side == "download" else None)
    async with (
        open_session(dial=network.dial, settings=up) as seeding,
        open_session(dial=network.dial, settings=down) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await seeding.add(shared, listener=listener).wait_complete()
        started = trio.current_time()
        spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
        await getting.add(spec).wait_complete()
        assert 10 < trio.current_time() - started < 60


@pytest.mark.parametrize(
    "goals",
    [Goals(ratio=1.0), Goals(copies=1), Goals(seconds=30.0)],
    ids=["ratio", "copies", "time"],
)
async def test_serving_ends_at_its_goal(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, goals: Goals
) -> None:
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    address, listener = network.listen(1)
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content, goals=goals)
        seeder = seeding.add(shared, listener=listener)
        await seeder.wait_complete()
        assert not seeder.uploads.has_reached_goal(trio.current_time())
        assert not seeder.ended.is_set()
        spec = TorrentSpec(metainfo, tmp_path / "get", peers=(address,))
        getter = getting.add(spec)
        await getter.wait_complete()
        if goals.seconds is not None:
            assert seeder.uploads.has_reached_goal(trio.current_time() + 30)
        else:
            with trio.fail_after(10):
                await seeder.ended.wait()
            assert seeder.statistics().state is TorrentState.STOPPED


async def test_a_super_seeder_gives_little_more_than_one_copy_and_may_leave_then(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content, piece_length=16384)).metainfo
    address, listener = network.listen(1)
    getters = [network.listen(number) for number in range(2, 6)]
    with trio.fail_after(120):
        async with (
            open_session(dial=network.dial) as seeding,
            open_session(dial=network.dial) as getting,
        ):
            shared = TorrentSpec(
                metainfo,
                content.parent,
                shared_path=content,
                super_seed=True,
                goals=Goals(copies=1),
            )
            seeder = seeding.add(shared, listener=listener)
            await seeder.wait_complete()
            torrents = [
                getting.add(
                    TorrentSpec(
                        metainfo,
                        tmp_path / f"get {own}",
                        peers=(address, *(other for other, _ in getters)),
                        own_address=own,
                    ),
                    listener=their_listener,
                )
                for own, their_listener in getters
            ]
            for torrent in torrents:
                await torrent.wait_complete()
            await seeder.ended.wait()
            sent = seeder.statistics().uploaded
    assert sent < 1.4 * metainfo.info.total_length
    for own, _ in getters:
        assert tree(tmp_path / f"get {own}" / content.name) == tree(content)
