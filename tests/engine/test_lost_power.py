"""A download whose process is killed, or whose machine loses its power, at any call to the disk."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engine.broken_disks import PowerLossDisk
from tests.engine.helpers import tree
from tests.examples import examples
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.selection import wanted_pieces
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_data import TorrentData
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import StorageError

PIECE = 16384
SEEDS = range(examples(40))
MAX_CALLS = 50
"""More than a download of this size needs without an accident."""
FILES = {"a/first": 40_000, "a/deep/second": 3 * PIECE, "empty": 0, "b/third": 50_001, "last": 5}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("content") / "documents"
    for name, size in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(size))
    return folder


@dataclass
class Download:
    """One download through all its lives.

    Attributes:
        kept: Pieces that the next life must find.
        recorded: Those that a loss of power must not take.
        lives: How many it has had.
    """

    metainfo: Metainfo
    content: Path
    disk: PowerLossDisk
    rng: random.Random
    wanted: frozenset[int] | None
    kept: set[int] = field(default_factory=set)
    recorded: set[int] = field(default_factory=set)
    lives: int = 0

    async def live(self) -> bool:
        """Go on until it is complete, or an accident happens. Returns whether it is complete."""
        self.lives += 1
        wanted = self.wanted
        select = None if wanted is None else lambda _: wanted
        spec = TorrentSpec(self.metainfo, self.disk.real_root, select=select)
        torrent = Torrent(spec, Settings(), self.rng)
        data = TorrentData(torrent, DiskThreads(), self.disk)
        try:
            await self._download(torrent, data)
        except StorageError:
            assert self.disk.calls_left < 0, "no accident has happened"
            return False
        finally:
            data.close()
            if torrent.storage is not None:
                torrent.storage.close()
        return True

    async def _download(self, torrent: Torrent, data: TorrentData) -> None:
        have = await data.prepare()
        self._judge(have, torrent)
        wanted = wanted_pieces(self.metainfo.info, self.wanted)
        missing = [index for index in have.missing() if wanted[index]]
        self.rng.shuffle(missing)
        for index in missing:
            piece = self.piece(index)
            assert await torrent.open_storage.commit_piece(index, piece)
            have.set(index)
            self.kept.add(index)
            if self.rng.random() < 0.15 and not have.is_full:
                await data.checkpoint(have)
                self.recorded = set(have.indices())
        await data.complete(have)
        self.recorded = set(have.indices())

    def _judge(self, have: Bitfield, torrent: Torrent) -> None:
        placement = torrent.open_storage.placement
        for index in have.indices():
            there = bytearray()
            layout = self.metainfo.info.layout
            for span in layout.spans(index, 0, layout.piece_size(index)):
                if placement.names[span.file] is None:
                    there += bytes(span.length)
                else:
                    whole = placement.file(span.file).read_bytes()
                    there += whole[span.offset : span.offset + span.length]
            assert there == self.piece(index), f"piece {index} is bad and looks good"
        assert self.kept <= set(have.indices()), "a piece that was safe is fetched again"
        self.kept = set(have.indices())

    def piece(self, index: int) -> bytearray:
        info, data = self.metainfo.info, bytearray()
        for span in info.layout.spans(index, 0, info.layout.piece_size(index)):
            entry = info.files[span.file]
            if entry.is_pad:
                data += bytes(span.length)
            else:
                whole = self.content.joinpath(*entry.path).read_bytes()
                data += whole[span.offset : span.offset + span.length]
        return data

    def lose_power(self, fresh: Path) -> None:
        self.disk.lose_power(self.rng, fresh)
        self.kept = self.kept & self.recorded


@pytest.mark.parametrize("torrent_format", TorrentFormat)
@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
async def test_bad_data_never_looks_good_and_what_was_recorded_stays(
    content: Path, tmp_path: Path, torrent_format: TorrentFormat, some: bool
) -> None:
    made = await create_torrent(content, piece_length=PIECE, torrent_format=torrent_format)
    paths = ["/".join(entry.path) for entry in made.metainfo.info.files]
    chosen = frozenset({paths.index("a/first"), paths.index("empty"), paths.index("last")})
    expected = tree(content)
    if some:
        expected = {name: expected[name] for name in ("a/first", "empty", "last")}
    lives = 0
    for seed in SEEDS:
        print(f"random seed {seed}")  # noqa: T201 - shown when it fails
        rng = random.Random(seed)
        root = tmp_path / f"{seed}"
        root.mkdir()
        disk = PowerLossDisk(root, 0)
        download = Download(made.metainfo, content, disk, rng, wanted=chosen if some else None)
        while True:
            disk.calls_left = rng.randrange(MAX_CALLS)
            is_complete = await download.live()
            if rng.random() < 0.5:
                download.lose_power(tmp_path / f"{seed}-{download.lives}")
            if is_complete:
                break
        assert tree(disk.real_root / content.name) == expected
        lives += download.lives
    assert lives > 1.5 * len(SEEDS)  # else hardly an accident was tried
