"""Where a download's name is taken already."""

from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import StorageError


def names(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def refused(network: MemoryNetwork, metainfo: Metainfo, folder: Path) -> str:
    """Why a download cannot begin, though nobody is there to fetch from."""
    before = names(folder)
    async with open_session(dial=network.dial) as session:
        torrent = session.add(TorrentSpec(metainfo, folder))
        with trio.fail_after(20), pytest.raises(StorageError) as caught:
            await torrent.wait_complete()
    assert names(folder) == before
    return str(caught.value)


@pytest.mark.parametrize("taken", ["documents", "documents/a"])
@pytest.mark.parametrize("kind", ["a file", "a symbolic link"])
async def test_of_a_folder_that_it_needs(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, taken: str, kind: str
) -> None:
    metainfo = (await create_torrent(make_content(tmp_path / "seed"))).metainfo
    path = tmp_path / "get" / taken
    path.parent.mkdir(parents=True)
    if kind == "a file":
        path.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    words = await refused(network, metainfo, tmp_path / "get")
    assert words.startswith(f"{path} exists already and is {kind}. Move it away, or choose")


@pytest.mark.parametrize("taken", ["documents/a/first.bin", "first.bin"])
@pytest.mark.parametrize("kind", ["a folder", "a symbolic link"])
async def test_of_a_file(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, taken: str, kind: str
) -> None:
    content = make_content(tmp_path / "seed")
    path = content / "a" / "first.bin" if taken == "first.bin" else content
    metainfo = (await create_torrent(path)).metainfo
    path = tmp_path / "get" / taken
    path.parent.mkdir(parents=True)
    if kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(content / "a" / "first.bin")
    words = await refused(network, metainfo, tmp_path / "get")
    assert words.startswith(f"{path} exists already and is {kind}. Move it away, or choose")


@pytest.mark.parametrize("mine", ["mine.txt", "a/mine.txt", None])
async def test_a_folder_of_its_name_is_filled(
    network: MemoryNetwork, make_content: ContentMaker, tmp_path: Path, mine: str | None
) -> None:
    """Whatever else is in it stays."""
    content = make_content(tmp_path / "seed")
    metainfo = (await create_torrent(content)).metainfo
    address, listener = network.listen(1)
    expected = tree(content)
    folder = tmp_path / "get" / content.name
    folder.mkdir(parents=True)
    if mine is not None:
        (folder / mine).parent.mkdir(exist_ok=True)
        (folder / mine).write_bytes(b"mine")
        expected[mine] = b"mine"
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await seeding.add(shared, listener=listener).wait_complete()
        torrent = getting.add(TorrentSpec(metainfo, folder.parent, peers=(address,)))
        with trio.fail_after(20):
            await torrent.wait_complete()
        assert torrent.statistics().path == folder
    assert tree(folder) == expected
    assert [path.name for path in folder.parent.iterdir()] == [content.name]
