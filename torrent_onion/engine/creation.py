"""Make a torrent from files on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import trio

from torrent_onion.core.merkle import HASH_LENGTH, root_of_piece_layer
from torrent_onion.core.metainfo import FileEntry, Info, Metainfo, TorrentFormat, make_layout
from torrent_onion.core.metainfo_build import build_info, choose_piece_length, plan_files
from torrent_onion.core.piece_layout import PieceLayout
from torrent_onion.engine.checking import Progress, no_progress
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.hashing import PieceHasher, PieceHashes, hash_all_pieces
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.scan import nobody_waits, scan
from torrent_onion.errors import PathError


@dataclass(frozen=True, slots=True)
class Creation:
    """A torrent that was made.

    Attributes:
        metainfo: The torrent.
        left_out: Paths below the folder that are not in it, each with the reason in brackets.
    """

    metainfo: Metainfo
    left_out: tuple[str, ...]


async def create_torrent(
    path: Path,
    *,
    torrent_format: TorrentFormat = TorrentFormat.V1,
    piece_length: int | None = None,
    trackers: Sequence[Sequence[str]] = (),
    web_seeds: Sequence[str] = (),
    private: bool = False,
    comment: str | None = None,
    include_hidden: bool = False,
    exclude: Sequence[str] = (),
    threads: DiskThreads | None = None,
    scanned: Callable[[int], None] = nobody_waits,
    progress: Progress = no_progress,
) -> Creation:
    """Hash a file or a folder.

    Args:
        path: What to share.
        torrent_format: Which hashes to make.
        piece_length: Bytes; None chooses by the size of the content.
        trackers: Tiers of announce URLs (BEP 12).
        web_seeds: URLs of the same content (BEP 19).
        private: Only its trackers may name peers (BEP 27).
        comment: For whoever opens it.
        include_hidden: Take hidden files and the droppings of desktops too.
        exclude: Patterns of what is not shared (see ``core.path_patterns``).
        threads: Where to hash; None makes a pool.
        scanned: Called with the number of files found so far, before any is hashed.
        progress: Called with bytes hashed and bytes in all.

    Raises:
        PathError: There is nothing that can be shared, or it changed while it was read.
        StorageError: It cannot be read.

    Cancelling ends a scan at once, and waits for the pieces that are being hashed.
    """
    threads = threads or DiskThreads()
    path = await threads.run(path.resolve)
    look = partial(scan, path, include_hidden=include_hidden, exclude=exclude)
    found = await threads.run(partial(look, scanned=partial(_report, scanned)))
    piece_length = piece_length or choose_piece_length(
        [file.length for file in found.files], torrent_format
    )
    is_single_file = await threads.run(path.is_file)
    plan = partial(plan_files, path.name, found.files, piece_length, torrent_format)
    entries = await threads.run(plan)  # seconds, where there are 100,000 files
    layout = await threads.run(partial(make_layout, entries, piece_length, torrent_format))
    placement = _placement(path, entries, is_single_file)
    hasher = PieceHasher(placement, layout, entries, torrent_format)
    hashes = await hash_all_pieces(hasher, layout, threads, progress)
    again = partial(look, scanned=partial(_report, nobody_waits))
    if (await threads.run(again)).files != found.files:
        raise PathError(f"{path} changed while it was read. Wait until it is still, and try again.")
    make_info = partial(_info_of, entries, layout, hashes, torrent_format, path.name)
    info, layers = await threads.run(
        partial(make_info, is_single_file=is_single_file, private=private)
    )
    metainfo = Metainfo(
        info,
        trackers=tuple(tuple(tier) for tier in trackers),
        web_seeds=tuple(web_seeds),
        piece_layers=layers,
        comment=comment,
    )
    return Creation(metainfo, found.left_out)


def _info_of(
    entries: tuple[FileEntry, ...],
    layout: PieceLayout,
    hashes: PieceHashes,
    torrent_format: TorrentFormat,
    name: str,
    *,
    is_single_file: bool,
    private: bool,
) -> tuple[Info, dict[bytes, bytes]]:
    """The info dictionary and its piece layers; half a second, where there are 20,000 files."""
    layers: dict[bytes, bytes] = {}
    if torrent_format is not TorrentFormat.V1:
        entries, layers = _with_roots(entries, layout, hashes.v2)
    info = build_info(
        name,
        entries,
        piece_length=layout.piece_length,
        torrent_format=torrent_format,
        is_single_file=is_single_file,
        piece_hashes=hashes.v1,
        private=private,
    )
    return info, layers


def _report(scanned: Callable[[int], None], files: int) -> None:
    """In the thread of a scan: tell the event loop, and end the scan if it is cancelled."""
    trio.from_thread.run_sync(scanned, files)
    trio.from_thread.check_cancelled()


def _placement(path: Path, entries: Sequence[FileEntry], is_single_file: bool) -> Placement:  # noqa: FBT001 - a fact, not an option
    if is_single_file:
        return Placement(path.parent, (PurePosixPath(path.name),))
    names = (None if entry.is_pad else PurePosixPath(path.name, *entry.path) for entry in entries)
    return Placement(path.parent, tuple(names))


def _with_roots(
    entries: Sequence[FileEntry], layout: PieceLayout, piece_hashes: bytes
) -> tuple[tuple[FileEntry, ...], dict[bytes, bytes]]:
    """Put the root of its tree into each file, and collect the piece layers (BEP 52)."""
    rooted: list[FileEntry] = []
    layers: dict[bytes, bytes] = {}
    for number, entry in enumerate(entries):
        if entry.is_pad or not entry.length:
            rooted.append(entry)
            continue
        pieces = layout.pieces_of_file(number)
        root = layer = piece_hashes[pieces.start * HASH_LENGTH : pieces.stop * HASH_LENGTH]
        if len(pieces) > 1:
            root = root_of_piece_layer(layer, layout.piece_length)
            layers[root] = layer
        rooted.append(replace(entry, pieces_root=root))
    return tuple(rooted), layers
