"""Torrents of zeros, as large as one likes: all pieces are equal, so one is hashed for all."""

import hashlib
from dataclasses import replace
from pathlib import Path

from torrent_onion.core.merkle import piece_root, root_of_piece_layer
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.core.metainfo_build import (
    FileToShare,
    build_info,
    choose_piece_length,
    plan_files,
)
from torrent_onion.core.piece_layout import BLOCK_SIZE

FILE = "zeros.bin"


def sparse_torrent(
    size: int,
    torrent_format: TorrentFormat = TorrentFormat.HYBRID,
    piece_length: int | None = None,
    trackers: tuple[str, ...] = (),
) -> Metainfo:
    """Make a torrent of one file of zeros.

    Args:
        size: Bytes at least; whole pieces are made of them.
        torrent_format: Which hashes it has.
        piece_length: Bytes; None chooses as ``create`` does.
        trackers: Announce URLs, all in one tier.
    """
    length = piece_length or choose_piece_length([size], torrent_format)
    count = -(-size // length)
    planned = plan_files(FILE, [FileToShare((FILE,), count * length)], length, torrent_format)
    layers: dict[bytes, bytes] = {}
    if torrent_format is not TorrentFormat.V1:
        leaf = hashlib.sha256(bytes(BLOCK_SIZE)).digest()
        leaves = leaf * (length // BLOCK_SIZE)
        layer = piece_root(leaves, file_length=count * length, piece_length=length) * count
        root = root_of_piece_layer(layer, length) if count > 1 else layer
        planned = tuple(replace(entry, pieces_root=root) for entry in planned)
        if count > 1:
            layers[root] = layer
    info = build_info(
        FILE,
        planned,
        piece_length=length,
        torrent_format=torrent_format,
        is_single_file=True,
        piece_hashes=hashlib.sha1(bytes(length)).digest() * count,
    )
    return Metainfo(info, trackers=(trackers,) if trackers else (), piece_layers=layers)


def make_hole(path: Path, size: int) -> Path:
    """Make a file of zeros that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)
    return path
