"""Torrents made in memory, hashed in the slow and obvious way."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha1, sha256

import pytest

from torrent_onion.core.merkle import piece_layer, root_over
from torrent_onion.core.metainfo import FileEntry, Metainfo, TorrentFormat
from torrent_onion.core.metainfo_build import FileToShare, build_info, plan_files
from torrent_onion.core.piece_layout import BLOCK_SIZE

Contents = Mapping[tuple[str, ...], bytes]
MakeTorrent = Callable[..., Metainfo]


def make_torrent(
    name: str,
    contents: Contents,
    torrent_format: TorrentFormat,
    *,
    piece_length: int = BLOCK_SIZE,
    is_single_file: bool = False,
    private: bool = False,
) -> Metainfo:
    files = [FileToShare(path, len(data)) for path, data in contents.items()]
    plan = plan_files(name, files, piece_length, torrent_format)
    stream = b"".join(bytes(e.length) if e.is_pad else contents[e.path] for e in plan)
    hashes = b"".join(
        sha1(stream[at : at + piece_length]).digest() for at in range(0, len(stream), piece_length)
    )
    layers: dict[bytes, bytes] = {}
    rooted: list[FileEntry] = []
    for entry in plan:
        if torrent_format is TorrentFormat.V1 or entry.is_pad or not entry.length:
            rooted.append(entry)
            continue
        leaves = leaf_hashes(contents[entry.path])
        root = root_over(leaves)
        rooted.append(replace(entry, pieces_root=root))
        if entry.length > piece_length:
            layers[root] = piece_layer(leaves, piece_length)
    info = build_info(
        name,
        rooted,
        piece_length=piece_length,
        torrent_format=torrent_format,
        is_single_file=is_single_file,
        piece_hashes=b"" if torrent_format is TorrentFormat.V2 else hashes,
        private=private,
    )
    return Metainfo(info=info, piece_layers=layers)


def leaf_hashes(data: bytes) -> bytes:
    return b"".join(
        sha256(data[at : at + BLOCK_SIZE]).digest() for at in range(0, len(data), BLOCK_SIZE)
    )


@pytest.fixture(name="make_torrent", scope="session")
def make_torrent_fixture() -> MakeTorrent:
    return make_torrent
