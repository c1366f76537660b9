"""Symbolic links are neither made nor followed, and what is shared twice is one torrent."""

import os
import random
from hashlib import sha1
from pathlib import Path

import pytest

from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.metainfo import TorrentFormat, parse_metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.placement import place_download

OUTSIDE = b"what must not be shared"


@pytest.mark.parametrize("target", [(b"..", b"..", b"outside"), (b"/etc", b"passwd"), (b"plain",)])
def test_links_in_a_torrent_have_no_place_on_disk(
    target: tuple[bytes, ...], tmp_path: Path
) -> None:
    link: dict[bytes, Encodable] = {
        b"attr": b"l",
        b"length": 0,
        b"path": [b"link"],
        b"symlink path": list(target),
    }
    plain: dict[bytes, Encodable] = {b"length": 5, b"path": [b"plain"]}
    info: dict[bytes, Encodable] = {
        b"files": [plain, link],
        b"name": b"documents",
        b"piece length": 16384,
        b"pieces": sha1(b"plain").digest(),
    }
    metainfo = parse_metainfo(encode({b"info": info}))
    placement = place_download(metainfo.info, tmp_path)
    assert [name and str(name) for name in placement.names] == ["documents/plain", None]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with links out of it, to a file and to a folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(OUTSIDE)
    folder = tmp_path / "documents"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a").write_bytes(random.Random(1).randbytes(100_000))
    (folder / "b").write_bytes(b"b")
    (folder / "file link").symlink_to(outside / "secret")
    (folder / "below" / "folder link").symlink_to(outside)
    return folder


@pytest.mark.parametrize("include_hidden", [False, True])
async def test_creation_follows_no_link(documents: Path, include_hidden: bool) -> None:
    made = await create_torrent(documents, include_hidden=include_hidden)
    names = {"/".join(file.path) for file in made.metainfo.info.files if not file.is_pad}
    assert names == {"b", "below/a"}
    assert {text.rpartition(" (")[0] for text in made.left_out} == {
        "file link",
        "below/folder link",
    }


@pytest.mark.parametrize("torrent_format", TorrentFormat)
async def test_two_runs_give_one_torrent(documents: Path, torrent_format: TorrentFormat) -> None:
    """Whatever the time, and whatever the files' own times, modes and order on disk are."""
    first = await create_torrent(documents, torrent_format=torrent_format)
    (documents / "b").unlink()
    (documents / "b").write_bytes(b"b")
    (documents / "b").chmod(0o600)
    os.utime(documents / "below" / "a", (1, 1))
    second = await create_torrent(documents, torrent_format=torrent_format)
    assert first.metainfo.info.info_hashes == second.metainfo.info.info_hashes
    assert first.metainfo.encode() == second.metainfo.encode()
