"""What a download remembers between runs: which pieces are on disk, in files that looked how.

The record lies beside the data as ``NAME.part.resume``. It is written whole and atomically, only
after the data it speaks of was synced to the disk, and it is believed only of files whose size and
time of change are exactly what they were: of all others every piece is hashed again. So a crash at
any moment costs time, or a few pieces, and never makes bad data look good.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torrent_onion.core.bencoding import RESUME_LIMITS, Value, decode, encode
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.engine.disk import DISK, Disk, sync_folder, write_all
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.placement import Placement
from torrent_onion.errors import BencodeError, ProtocolError

RESUME_SUFFIX = ".resume"

_MAGIC = b"torrent-onion resume 1\n"
_DIGEST_SIZE = 32  # SHA-256 of what follows


@dataclass(frozen=True, slots=True)
class FileStamp:
    """How a file looked when the record was written; a file that is not there has size -1."""

    size: int
    changed_ns: int


UNKNOWN_STAMP = FileStamp(-2, 0)
"""Of a file that nobody looked at: it equals no file's, so everything is checked."""


@dataclass(frozen=True, slots=True)
class Resume:
    """A record.

    Attributes:
        have: Pieces that were verified, written and synced.
        stamps: One for each file of the torrent.
    """

    have: Bitfield
    stamps: tuple[FileStamp, ...]


def resume_path(partial: Placement) -> Path:
    """Where the record of a partial download lies."""
    return partial.path.with_name(partial.path.name + RESUME_SUFFIX)


def stamp_files(placement: Placement) -> tuple[FileStamp, ...]:
    """Look at the files. Blocks: call it in a thread."""
    return tuple(stamp_file(placement, file) for file in range(len(placement.names)))


def stamp_file(placement: Placement, file: int) -> FileStamp:
    """Look at one file. Blocks: call it in a thread."""
    if placement.names[file] is None:
        return FileStamp(0, 0)
    try:
        status = placement.file(file).lstat()
    except OSError:
        return FileStamp(-1, 0)
    return FileStamp(status.st_size, status.st_mtime_ns)


def save_resume(path: Path, info: Info, resume: Resume, *, disk: Disk = DISK) -> None:
    """Write a record in one step that a crash cannot halve. Blocks: call it in a thread.

    When this returns it lasts, and so do all names beside it.

    Raises:
        StorageError: The disk refused.
    """
    body = encode(
        {
            b"files": [[stamp.size, stamp.changed_ns] for stamp in resume.stamps],
            b"have": resume.have.to_bytes(),
            b"info": hashlib.sha256(info.raw).digest(),
        }
    )
    fresh = _fresh(path)
    with disk_errors(path):
        with suppress(FileNotFoundError):
            disk.unlink(fresh)
        try:
            _write_new(disk, fresh, _MAGIC + hashlib.sha256(body).digest() + body)
            disk.rename(fresh, path)
        except OSError:
            with suppress(OSError):
                disk.unlink(fresh)
            raise
        sync_folder(disk, path.parent)


def _write_new(disk: Disk, path: Path, data: bytes) -> None:
    """Write and sync a file that was not there: never through a link that somebody planted."""
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        write_all(disk, descriptor, memoryview(data), 0)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)


def remove_resume(path: Path, *, disk: Disk = DISK) -> None:
    """Remove a record, and what a crash left of one that was being written. Blocks.

    Raises:
        StorageError: The disk refused.
    """
    with disk_errors(path):
        for each in (_fresh(path), path):
            with suppress(FileNotFoundError):
                disk.unlink(each)


def _fresh(path: Path) -> Path:
    """Where a record is written before it takes the place of the old one."""
    return path.with_name(path.name + "~")


def load_resume(path: Path, info: Info) -> Resume | None:
    """Read a record. Blocks: call it in a thread.

    Returns:
        None where there is none, or it is damaged, or of another torrent or version: then
        everything is checked.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_SIZE
    body = data[start:]
    if data[:start] != _MAGIC + hashlib.sha256(body).digest():
        return None
    try:
        return _read(decode(body, limits=RESUME_LIMITS, canonical=True), info)
    except (BencodeError, ProtocolError):
        return None


def _read(value: Value, info: Info) -> Resume | None:
    if not isinstance(value, dict) or value.get(b"info") != hashlib.sha256(info.raw).digest():
        return None
    have, files = value.get(b"have"), value.get(b"files")
    if not isinstance(have, bytes) or not isinstance(files, list):
        return None
    stamps = [stamp for stamp in map(_read_stamp, files) if stamp is not None]
    if len(stamps) != len(info.files):
        return None
    return Resume(Bitfield.from_bytes(have, info.layout.num_pieces), tuple(stamps))


def _read_stamp(entry: Value) -> FileStamp | None:
    match entry:
        case [int(size), int(changed_ns)]:
            return FileStamp(size, changed_ns)
    return None


def pieces_to_check(info: Info, resume: Resume | None, stamps: Sequence[FileStamp]) -> Bitfield:
    """Which pieces must be hashed, given how the files look now.

    A piece needs no check when every file it touches is as the record says.
    """
    if resume is None:
        return Bitfield.full(info.layout.num_pieces)
    check = Bitfield(info.layout.num_pieces)
    for file, stamp in enumerate(stamps):
        if stamp != resume.stamps[file]:
            for index in info.layout.pieces_of_file(file):
                check.set(index)
    return check
