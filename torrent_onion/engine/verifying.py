"""Compare data on disk with a torrent, file by file, and change nothing."""

import stat
from dataclasses import dataclass
from pathlib import Path

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info, Metainfo
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.engine.checking import Progress, check_pieces
from torrent_onion.engine.disk_errors import storage_error
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.placement import Placement, find_data
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.verification import PieceVerifier


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What was found.

    Attributes:
        path: Where the data was looked for: the folder, or the only file.
        bad: Files that are there, with the wrong content or the wrong length.
        missing: Files that are not there.
    """

    path: Path
    bad: tuple[Path, ...]
    missing: tuple[Path, ...]


async def check_data(metainfo: Metainfo, folder: Path, *, progress: Progress) -> DataCheck:
    """Hash what is on disk.

    Args:
        metainfo: The torrent.
        folder: The folder that the data is in, or the data itself; a partial download counts too.
        progress: Called with bytes done and bytes in all.

    Raises:
        StorageError: The disk cannot be read.

    Cancelling waits for the pieces that are being hashed.
    """
    info = metainfo.info
    threads = DiskThreads()
    placement = await threads.run(lambda: find_data(info, folder))
    storage = Storage(
        info,
        placement,
        verify=PieceVerifier(info, PieceLayers(info, metainfo.piece_layers)),
        threads=threads,
        finished=frozenset(range(len(info.files))),
    )
    try:
        have = await check_pieces(storage, info, threads, progress)
    finally:
        storage.close()
    return await threads.run(lambda: _judge(info, placement, have))


def _judge(info: Info, placement: Placement, have: Bitfield) -> DataCheck:
    bad: list[Path] = []
    missing: list[Path] = []
    for number, (entry, name) in enumerate(zip(info.files, placement.names, strict=True)):
        if name is None:
            continue
        path = placement.root / name
        length = _length(path)
        if length is None:
            missing.append(path)
        elif length != entry.length or not all(
            have[index] for index in info.layout.pieces_of_file(number)
        ):
            bad.append(path)
    return DataCheck(placement.path, tuple(bad), tuple(missing))


def _length(path: Path) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, path) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None
