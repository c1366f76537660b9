"""Files that are wanted more, less, no more or again while a torrent is being fetched."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree, until
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Info, Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.file_priorities import FilePriorities
from torrent_onion.engine.selection import by_name
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY

PIECE = 32768
BIG, SMALL = "a/deeper/second.bin", "最後.bin"


@dataclass
class Swarm:
    """A seeder that is not known to the getter until a test says so."""

    metainfo: Metainfo
    content: Path
    seeder: PeerAddress
    getting: Session
    folder: Path

    @property
    def info(self) -> Info:
        return self.metainfo.info

    def number(self, name: str) -> int:
        return ["/".join(entry.path) for entry in self.info.files].index(name)

    async def get(self, *only: str) -> Torrent:
        spec = TorrentSpec(self.metainfo, self.folder, select=by_name(only, [], None))
        torrent = self.getting.add(spec)
        await until(lambda: torrent.state is TorrentState.DOWNLOADING)
        return torrent

    async def finish(self, torrent: Torrent) -> dict[str, bytes]:
        torrent.add_candidates([self.seeder], "user")
        await torrent.wait_complete()
        statistics = torrent.statistics()
        assert statistics.done >= statistics.wanted
        return tree(self.folder / self.content.name)


@asynccontextmanager
async def make_swarm(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, form: TorrentFormat
) -> AsyncIterator[Swarm]:
    content = make_content(tmp_path / "seed")
    made = await create_torrent(content, piece_length=PIECE, torrent_format=form)
    address, listener = network.listen(1)
    with trio.fail_after(60):
        async with (
            open_session(dial=network.dial) as seeding,
            open_session(dial=network.dial) as getting,
        ):
            shared = TorrentSpec(made.metainfo, content.parent, shared_path=content)
            await seeding.add(shared, listener=listener).wait_complete()
            yield Swarm(made.metainfo, content, address, getting, tmp_path / "get")


@pytest.mark.parametrize("form", TorrentFormat)
class TestWhileRunning:
    async def test_a_skipped_file_is_wanted_after_all(
        self,
        network: MemoryNetwork,
        make_content: ContentMaker,
        tmp_path: Path,
        form: TorrentFormat,
    ) -> None:
        async with make_swarm(network, make_content, tmp_path, form) as swarm:
            torrent = await swarm.get(SMALL)
            before = torrent.statistics().wanted
            torrent.set_file_priority(swarm.number(BIG), NORMAL_PRIORITY)
            assert torrent.statistics().wanted >= before + 300_001 - 2 * PIECE
            here = await swarm.finish(torrent)
            assert {BIG, SMALL} <= here.keys() < tree(swarm.content).keys()
            assert all(tree(swarm.content)[name] == data for name, data in here.items())

    async def test_a_wanted_file_is_skipped_and_completion_follows(
        self,
        network: MemoryNetwork,
        make_content: ContentMaker,
        tmp_path: Path,
        form: TorrentFormat,
    ) -> None:
        async with make_swarm(network, make_content, tmp_path, form) as swarm:
            torrent = await swarm.get(BIG, SMALL)
            torrent.set_file_priority(swarm.number(BIG), 0)
            here = await swarm.finish(torrent)
            assert SMALL in here
            assert BIG not in here
            assert torrent.statistics().downloaded < 300_000

    async def test_there_and_back_changes_nothing(
        self,
        network: MemoryNetwork,
        make_content: ContentMaker,
        tmp_path: Path,
        form: TorrentFormat,
    ) -> None:
        async with make_swarm(network, make_content, tmp_path, form) as swarm:
            torrent = await swarm.get()
            for priority in (0, MAX_PRIORITY, 0, 1):
                torrent.set_file_priority(swarm.number(BIG), priority)
            statistics = torrent.statistics()
            assert statistics.wanted == statistics.total
            assert await swarm.finish(torrent) == tree(swarm.content)

    async def test_to_skip_what_is_left_completes_at_once(
        self,
        network: MemoryNetwork,
        make_content: ContentMaker,
        tmp_path: Path,
        form: TorrentFormat,
    ) -> None:
        async with make_swarm(network, make_content, tmp_path, form) as swarm:
            await swarm.finish(await swarm.get(SMALL))
            await swarm.getting.torrents[0].stop()
            torrent = await swarm.get(SMALL, BIG)
            torrent.set_file_priority(swarm.number(BIG), 0)
            await torrent.wait_complete()
            assert not torrent.peers
            with pytest.raises(RuntimeError, match="complete"):
                torrent.set_file_priority(swarm.number(BIG), 1)


async def test_requests_for_a_file_that_is_skipped_are_cancelled_and_it_can_come_back(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    """With blocks on their way: the seeder is slow, so nothing of the file is whole yet."""
    async with make_swarm(network, make_content, tmp_path, TorrentFormat.HYBRID) as swarm:
        torrent = await swarm.get(BIG)
        torrent.add_candidates([swarm.seeder], "user")
        await until(lambda: any(peer.requests.outstanding for peer in torrent.peers.values()))
        torrent.set_file_priority(swarm.number(SMALL), NORMAL_PRIORITY)
        torrent.set_file_priority(swarm.number(BIG), 0)
        (peer,) = torrent.peers.values()
        big = swarm.info.layout.pieces_of_file(swarm.number(BIG))
        picker = torrent.downloads.picker
        assert not any(picker.priority(index) for index in big)
        assert peer.requests.outstanding == picker.num_requested(peer.key)
        torrent.set_file_priority(swarm.number(BIG), MAX_PRIORITY)
        await torrent.wait_complete()
        here = tree(swarm.folder / swarm.content.name)
        assert {BIG, SMALL} <= here.keys()
        assert here[BIG] == tree(swarm.content)[BIG]


async def test_what_cannot_be_asked_for(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path
) -> None:
    async with make_swarm(network, make_content, tmp_path, TorrentFormat.HYBRID) as swarm:
        torrent = await swarm.get(SMALL)
        pad = next(n for n, entry in enumerate(swarm.info.files) if entry.is_pad)
        small = swarm.number(SMALL)
        for file, priority in ((-1, 4), (99, 4), (pad, 4), (small, -1), (small, 8), (small, 0)):
            with pytest.raises(ValueError, match=r"file|priority"):
                torrent.set_file_priority(file, priority)
        assert torrent.wanted == frozenset({small})
        link = TorrentSpec(Magnet(swarm.info.info_hashes), tmp_path / "link")
        with pytest.raises(RuntimeError, match="not known"):
            swarm.getting.add(link).set_file_priority(0, 1)


async def test_a_piece_is_wanted_as_much_as_its_most_wanted_file(
    make_content: ContentMaker, tmp_path: Path
) -> None:
    made = await create_torrent(
        make_content(tmp_path), piece_length=PIECE, torrent_format=TorrentFormat.V1
    )
    info = made.metainfo.info
    priorities = FilePriorities(info, None, sequential=False)
    numbers = range(len(info.files))
    for file in numbers:
        priorities.change(file, file % 8)
    pieces = {index: value for run, value in priorities.of_pieces() for index in run}
    assert list(pieces) == list(range(info.layout.num_pieces))
    for index, value in pieces.items():
        inside = [file for file in numbers if index in info.layout.pieces_of_file(file)]
        assert value == max(priorities[file] for file in inside)
    for file in numbers:
        own = info.layout.pieces_of_file(file)
        part = {index: value for run, value in priorities.of_pieces(own) for index in run}
        assert part == {index: pieces[index] for index in own}
