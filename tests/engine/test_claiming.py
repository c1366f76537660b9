"""Two runs that want the same partial data at the same time."""

import random
from pathlib import Path, PurePosixPath

import pytest
import trio

from tests.engine.helpers import MemoryNetwork, tree
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk import Disk
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec

PIECE = 16384


class OtherRun(Disk):
    """Another run gives the data its final name just before, or after, we open the partial one.

    It had the lock until then.
    """

    def __init__(self, content: Path, folder: Path, moment: str) -> None:
        self._content = tree(content)
        self._final = folder / content.name
        self._partial = folder / f"{content.name}.part"
        self._moment = moment
        self.has_finished = False

    def make_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        if path == self._partial and self._moment == "before it is made":
            self._finish()
        super().make_folder(path, folder=folder)

    def open(
        self, path: Path | PurePosixPath | str, flags: int, *, folder: int | None = None
    ) -> int:
        descriptor = super().open(path, flags, folder=folder)
        if path == self._partial and self._moment == "before it is locked":
            self._finish()
        return descriptor

    def _finish(self) -> None:
        if self.has_finished:
            return
        self.has_finished = True
        self._partial.mkdir(exist_ok=True)
        for name, data in self._content.items():
            (self._partial / name).write_bytes(data)
        self._partial.rename(self._final)


@pytest.mark.parametrize("moment", ["before it is made", "before it is locked"])
async def test_what_another_run_has_just_finished_is_found(
    network: MemoryNetwork, tmp_path: Path, moment: str
) -> None:
    content, rng = tmp_path / "seed" / "documents", random.Random(6)
    content.mkdir(parents=True)
    for name in ("a", "b"):
        (content / name).write_bytes(rng.randbytes(3 * PIECE))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    disk = OtherRun(content, tmp_path / "get", moment)
    with trio.fail_after(20):
        async with open_session(dial=network.dial, disk=disk) as session:
            await session.add(TorrentSpec(metainfo, tmp_path / "get")).wait_complete()
    assert disk.has_finished
    whole = {f"documents/{name}": data for name, data in tree(content).items()}
    assert tree(tmp_path / "get") == whole
    assert [path.name for path in (tmp_path / "get").iterdir()] == ["documents"]
