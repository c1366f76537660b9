"""Files of one content that are wanted more, less or no more while they are being fetched.

Nothing gets its final name that is not whole, and the sums are right at every moment.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryNetwork, tree, until
from tests.examples import examples
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.selection import by_name
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY

PIECE = 16384
SAME = ("a", "b", "c")
WITH_ROOTS = [TorrentFormat.V2, TorrentFormat.HYBRID]


@dataclass
class Swarm:
    """A seeder of three files with one content and one with another, and who gets them."""

    metainfo: Metainfo
    content: Path
    seeder: PeerAddress
    getting: Session
    folder: Path

    def number(self, name: str) -> int:
        return ["/".join(entry.path) for entry in self.metainfo.info.files].index(name)

    async def get(self, *only: str) -> Torrent:
        spec = TorrentSpec(self.metainfo, self.folder, select=by_name(only, [], None))
        torrent = self.getting.add(spec)
        await until(lambda: torrent.state is TorrentState.DOWNLOADING)
        return torrent

    def here(self) -> dict[str, bytes]:
        return tree(self.folder / self.content.name)

    def whole(self, *names: str) -> dict[str, bytes]:
        files = tree(self.content)
        return {name: files[name] for name in names}

    async def finish(self, torrent: Torrent) -> None:
        torrent.add_candidates([self.seeder], "user")
        await torrent.wait_complete()
        check_sums(torrent)
        assert torrent.downloads.left == 0


def check_sums(torrent: Torrent) -> None:
    """What the user sees is what the pieces and the choice of files say."""
    info, have = torrent.metadata.known_info, torrent.known_have
    wanted: set[int] = set()
    for file in torrent.wanted_files:
        wanted.update(info.layout.pieces_of_file(file))
    pieces = range(info.layout.num_pieces)
    statistics = torrent.statistics()
    assert statistics.done == sum(info.data_length(i) for i in pieces if have[i])
    assert statistics.unwanted == sum(
        info.data_length(i) for i in pieces if not have[i] and i not in wanted
    )


@asynccontextmanager
async def make_swarm(
    network: MemoryNetwork, tmp_path: Path, form: TorrentFormat
) -> AsyncIterator[Swarm]:
    rng, content = random.Random(3), tmp_path / "seed" / "documents"
    content.mkdir(parents=True)
    same = rng.randbytes(6 * PIECE + 5)
    for name in SAME:
        (content / name).write_bytes(same)
    (content / "other").write_bytes(rng.randbytes(2 * PIECE))
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


@pytest.mark.parametrize("form", WITH_ROOTS)
class TestOneContent:
    async def test_the_copies_are_fetched_when_what_they_wait_for_is_skipped(
        self, network: MemoryNetwork, tmp_path: Path, form: TorrentFormat
    ) -> None:
        async with make_swarm(network, tmp_path, form) as swarm:
            torrent = await swarm.get("a", "b")
            torrent.set_file_priority(swarm.number("a"), 0)
            assert not torrent.all_verified.is_set()
            await swarm.finish(torrent)
            assert swarm.here() == swarm.whole("b")

    async def test_all_of_it_is_done_when_all_is_here(
        self, network: MemoryNetwork, tmp_path: Path, form: TorrentFormat
    ) -> None:
        async with make_swarm(network, tmp_path, form) as swarm:
            torrent = await swarm.get()
            await swarm.finish(torrent)
            statistics = torrent.statistics()
            assert statistics.done == statistics.wanted == statistics.total
            assert swarm.here() == tree(swarm.content)

    async def test_one_of_them_is_fetched_however_much_the_others_are_wanted(
        self, network: MemoryNetwork, tmp_path: Path, form: TorrentFormat
    ) -> None:
        async with make_swarm(network, tmp_path, form) as swarm:
            torrent = await swarm.get()
            torrent.add_candidates([swarm.seeder], "user")
            await until(lambda: any(peer.requests.outstanding for peer in torrent.peers.values()))
            for name, priority in (("b", MAX_PRIORITY), ("c", 1), ("b", 2)):
                torrent.set_file_priority(swarm.number(name), priority)
            await torrent.wait_complete()
            check_sums(torrent)
            assert swarm.here() == tree(swarm.content)
            info = swarm.metainfo.info
            padding = sum(entry.length for entry in info.files if entry.is_pad)
            assert torrent.statistics().downloaded <= 8 * PIECE + 5 + padding

    async def test_what_cannot_be_copied_is_fetched(
        self,
        network: MemoryNetwork,
        tmp_path: Path,
        form: TorrentFormat,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As of a hybrid torrent whose halves say different things."""
        monkeypatch.setattr("torrent_onion.engine.torrent_tasks.fit", lambda *_: bytearray(PIECE))
        async with make_swarm(network, tmp_path, form) as swarm:
            await swarm.finish(await swarm.get())
            assert swarm.here() == tree(swarm.content)

    async def test_a_piece_that_comes_twice_counts_once(
        self, network: MemoryNetwork, tmp_path: Path, form: TorrentFormat
    ) -> None:
        async with make_swarm(network, tmp_path, form) as swarm:
            torrent = await swarm.get()
            for _ in range(2):
                torrent.downloads.piece_verified(3, trio.current_time())
            check_sums(torrent)

    @pytest.mark.parametrize("seed", range(examples(12)))
    async def test_at_any_moment(
        self, network: MemoryNetwork, tmp_path: Path, form: TorrentFormat, seed: int
    ) -> None:
        rng = random.Random(seed)
        async with make_swarm(network, tmp_path, form) as swarm:
            torrent = await swarm.get(*rng.sample(SAME, rng.randint(1, 3)))
            torrent.add_candidates([swarm.seeder], "user")
            for _ in range(rng.randint(1, 30)):
                for _ in range(rng.randint(0, 20)):
                    await trio.lowlevel.checkpoint()
                file = swarm.number(rng.choice([*SAME, "other"]))
                priority = rng.choice([0, 0, NORMAL_PRIORITY, MAX_PRIORITY])
                if torrent.all_verified.is_set():
                    break
                if torrent.wanted != frozenset({file}):
                    torrent.set_file_priority(file, priority)
                check_sums(torrent)
            await torrent.wait_complete()
            check_sums(torrent)
            wanted = torrent.wanted_files
            names = [n for n in (*SAME, "other") if swarm.number(n) in wanted]
            assert swarm.here() == swarm.whole(*names)


async def test_nothing_gets_its_final_name_while_a_piece_of_it_is_missing(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with make_swarm(network, tmp_path, TorrentFormat.V2) as swarm:
        torrent = await swarm.get()
        torrent.all_verified.set()
        await torrent.ended.wait()
        assert torrent.state is TorrentState.FAILED
        assert swarm.here() == {}
