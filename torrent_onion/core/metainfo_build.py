"""Making torrents. Pure: files are listed and hashed elsewhere, and the results are given here.

- The same files with the same piece length give the same info-hash, here and in libtorrent: files
  in the order of their names as bytes, folder by folder; in hybrid torrents a pad file after every
  file that does not end with a piece (BEP 47), unless there is only one file.
- The info dictionary holds what a download needs and nothing else: no times, no owner, no program.
  Whether a file is executable is left out too: it says which system and habits the maker has, and
  a download that can be run at once is no kindness.

How to: ``plan_files``, hash the data as ``make_layout`` of the plan cuts it, put the roots of the
trees into the plan with ``dataclasses.replace``, then ``build_info``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torrent_onion.core.bencoding import INFO_LIMITS, Value, encode
from torrent_onion.core.identity import V1_HASH_LENGTH
from torrent_onion.core.metainfo import (
    MAX_PIECE_LENGTH,
    MAX_PIECES,
    META_VERSION,
    FileEntry,
    Info,
    TorrentFormat,
    hash_info,
    make_layout,
)
from torrent_onion.core.metainfo_files import refuse, round_up
from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.errors import LocalError, PathError

MIN_PIECE_LENGTH: Final = BLOCK_SIZE
MAX_CHOSEN_PIECE_LENGTH: Final = 16 * 1024 * 1024
"""Bytes. Larger pieces keep what arrived from being passed on for too long."""
TARGET_PIECES: Final = 2000
"""The most pieces, where the length can be chosen: 40 kB of hashes in a magnet link's metadata."""
PAD_FOLDER: Final = ".pad"
MAX_V2_DEPTH: Final = INFO_LIMITS.max_depth - 3
"""Components of a path in a file tree: the dictionaries around and below them take three levels."""


@dataclass(frozen=True, slots=True)
class FileToShare:
    """A file that is to become part of a torrent.

    Args:
        path: Components below the folder that is shared; of a single file, its name.
        length: Bytes.
    """

    path: tuple[str, ...]
    length: int


def choose_piece_length(file_lengths: Sequence[int], torrent_format: TorrentFormat) -> int:
    """Return the smallest power of two, 16 KiB to 16 MiB, that gives at most 2000 pieces.

    Where every file begins a piece of its own (version 2 and hybrid) it may be one more for each
    file: larger pieces would save few of those, and a hybrid torrent hashes the padding after each.

    Args:
        file_lengths: Bytes of each file.
        torrent_format: What the length is for.
    """
    aligned = torrent_format is not TorrentFormat.V1
    total = sum(file_lengths)
    most = TARGET_PIECES + (len(file_lengths) if aligned else 0)
    length = MIN_PIECE_LENGTH
    while length < MAX_CHOSEN_PIECE_LENGTH and total > TARGET_PIECES * length:
        if aligned and sum(-(-each // length) for each in file_lengths) <= most:
            break
        length *= 2
    return length


def plan_files(
    name: str, files: Iterable[FileToShare], piece_length: int, torrent_format: TorrentFormat
) -> tuple[FileEntry, ...]:
    """Return the files of the torrent in their order, with the pad files that belong between them.

    Args:
        name: Of the file or folder.
        files: In any order.
        piece_length: Bytes; a multiple of 16 KiB, and for version 2 a power of two.
        torrent_format: Only hybrid torrents have pad files.

    Raises:
        PathError: There is no data, a name cannot be in a torrent, or a path comes twice.
        LocalError: The piece length is not allowed, or gives too many pieces.
    """
    _check_piece_length(piece_length, torrent_format)
    _check_name(name)
    ordered = sorted(files, key=lambda file: [_check_name(part) for part in file.path])
    if not any(file.length for file in ordered):
        raise PathError("There is nothing to share: all files are empty.")
    if sum(round_up(file.length, piece_length) for file in ordered) > MAX_PIECES * piece_length:
        raise LocalError(f"That makes more than {MAX_PIECES:,} pieces; choose a larger piece size.")
    _check_paths(ordered)
    if torrent_format is not TorrentFormat.V1:
        _check_depth(ordered)
    entries = []
    for file in ordered:
        entries.append(FileEntry(file.path, file.length))
        padding = round_up(file.length, piece_length) - file.length
        if padding and torrent_format is TorrentFormat.HYBRID and len(ordered) > 1:
            entries.append(FileEntry((PAD_FOLDER, str(padding)), padding, is_pad=True))
    return tuple(entries)


def build_info(
    name: str,
    files: Sequence[FileEntry],
    *,
    piece_length: int,
    torrent_format: TorrentFormat,
    is_single_file: bool,
    piece_hashes: bytes = b"",
    private: bool = False,
) -> Info:
    """Return the info dictionary of the files that were planned and hashed.

    Args:
        name: Of the file or folder.
        files: From ``plan_files``; for version 2 with the ``pieces_root`` of each that has data.
        piece_length: Bytes; a power of two of at least 16 KiB for version 2.
        torrent_format: Which hashes are given.
        is_single_file: A file is shared, not a folder.
        piece_hashes: SHA-1 of each piece of version 1, pad files hashed as zeros.
        private: Only the torrent's trackers may name peers (BEP 27).

    Raises:
        MetainfoError: The parts do not fit together.
        PathError: Version 2 alone cannot say what is shared.
    """
    layout = make_layout(tuple(files), piece_length, torrent_format)
    _check_parts(
        name,
        files,
        len(piece_hashes) / V1_HASH_LENGTH,
        num_pieces=layout.num_pieces,
        torrent_format=torrent_format,
        is_single_file=is_single_file,
    )
    info = _info_dictionary(
        name,
        files,
        piece_length=piece_length,
        torrent_format=torrent_format,
        is_single_file=is_single_file,
        piece_hashes=piece_hashes,
        private=private,
    )
    raw = encode(info)
    # What is planned and hashed by these rules is not read again: with many files that takes as
    # long as hashing them.
    return Info(
        name=name,
        format=torrent_format,
        piece_length=piece_length,
        files=tuple(files),
        is_single_file=is_single_file,
        piece_hashes=piece_hashes if torrent_format is not TorrentFormat.V2 else b"",
        private=private,
        raw=raw,
        info_hashes=hash_info(raw, torrent_format),
        layout=layout,
        total_length=sum(entry.length for entry in files if not entry.is_pad),
        extra_keys=(),
    )


def _info_dictionary(
    name: str,
    files: Sequence[FileEntry],
    *,
    piece_length: int,
    torrent_format: TorrentFormat,
    is_single_file: bool,
    piece_hashes: bytes,
    private: bool,
) -> dict[bytes, Value]:
    info: dict[bytes, Value] = {
        b"name": name.encode(),
        b"piece length": piece_length,
    }
    if private:
        info[b"private"] = 1
    if torrent_format is not TorrentFormat.V2:
        info[b"pieces"] = piece_hashes
        if is_single_file:
            info[b"length"] = files[0].length
        else:
            info[b"files"] = [_v1_entry(entry) for entry in files]
    if torrent_format is not TorrentFormat.V1:
        info[b"meta version"] = META_VERSION
        info[b"file tree"] = _file_tree(files)
    return info


def _check_parts(
    name: str,
    files: Sequence[FileEntry],
    num_piece_hashes: float,
    *,
    num_pieces: int,
    torrent_format: TorrentFormat,
    is_single_file: bool,
) -> None:
    """Refuse what nobody could read again."""
    if torrent_format is not TorrentFormat.V2 and num_piece_hashes != num_pieces:
        raise refuse("it does not have one hash for each piece")
    if torrent_format is TorrentFormat.V1:
        return
    if any(not entry.is_pad and bool(entry.length) != bool(entry.pieces_root) for entry in files):
        raise refuse("a file in its file tree has no pieces root")
    looks_like_file = len(files) == 1 and files[0].path == (name,)
    if torrent_format is TorrentFormat.V2 and looks_like_file != is_single_file:
        raise PathError(
            "A folder with only a file of its own name looks like that file in version 2; "
            "choose another format."
        )


def _v1_entry(entry: FileEntry) -> dict[bytes, Value]:
    path: list[Value] = [part.encode() for part in entry.path]
    pad: dict[bytes, Value] = {b"attr": b"p"} if entry.is_pad else {}
    return {**pad, b"length": entry.length, b"path": path}


def _file_tree(files: Sequence[FileEntry]) -> dict[bytes, Any]:
    tree: dict[bytes, Any] = {}
    for entry in files:
        if entry.is_pad:
            continue
        node = tree
        for part in entry.path:
            node = node.setdefault(part.encode(), {})
        node[b""] = {b"length": entry.length}
        if entry.pieces_root is not None:
            node[b""][b"pieces root"] = entry.pieces_root
    return tree


def _check_piece_length(piece_length: int, torrent_format: TorrentFormat) -> None:
    if piece_length % BLOCK_SIZE or not MIN_PIECE_LENGTH <= piece_length <= MAX_PIECE_LENGTH:
        raise LocalError("A piece size must be a multiple of 16 KiB, 128 MiB at most.")
    if piece_length & (piece_length - 1) and torrent_format is not TorrentFormat.V1:
        raise LocalError("Version 2 needs a piece size of 16, 32, 64 KiB and so on; or choose v1.")


def _check_name(part: str) -> bytes:
    """Return the bytes of a name, which decide where it is put."""
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise PathError(f"The name {part!r} cannot be in a torrent; rename it.")
    try:
        return part.encode()
    except UnicodeEncodeError:
        raise PathError(f"The name {part!r} is no valid Unicode; rename it.") from None


def _check_paths(ordered: Sequence[FileToShare]) -> None:
    """Refuse a path that comes twice, or is a file and a folder."""
    files = {file.path for file in ordered}
    folders = {file.path[:depth] for file in ordered for depth in range(len(file.path))} | {()}
    if len(files) < len(ordered) or files & folders:
        raise PathError("Two files to be shared have the same path.")


def _check_depth(files: Sequence[FileToShare]) -> None:
    if any(len(file.path) > MAX_V2_DEPTH for file in files):
        raise PathError(
            f"Version 2 has room for {MAX_V2_DEPTH} folders inside each other; "
            "move the deepest ones up, or choose the format v1."
        )
