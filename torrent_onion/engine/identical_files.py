"""Files with the same content need not be fetched twice (BEP 52 "pieces root").

Two files of one length and one pieces root are the same, piece by piece, for a version 2 torrent
aligns pieces to files. So a piece that is here is copied to wherever else the torrent has it, and
with ``--reuse`` from other files. What is copied is verified like what a peer sends.

Nothing is looked for where the user has not said so: else any torrent could ask, by what is not
requested, whether some file is anywhere on this disk.
"""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.merkle import piece_root
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.engine.disk import DISK
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.file_handles import FileHandles
from torrent_onion.engine.piece_files import PieceFiles
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.verification import hash_blocks
from torrent_onion.errors import StorageError

_LOOKS_PER_HOP = 1000
"""Files that are looked at in one go: a slow disk has done so many before anybody is impatient."""


class IdenticalPieces:
    """Which pieces of a torrent have the same content, because their files have."""

    def __init__(self, info: Info) -> None:
        files: dict[tuple[bytes, int], list[int]] = defaultdict(list)
        for file, entry in enumerate(info.files):
            if entry.pieces_root is not None and entry.length and entry.symlink is None:
                files[entry.pieces_root, entry.length].append(file)
        groups_of_files = [same for same in files.values() if len(same) > 1]
        self._files = {file: same for same in groups_of_files for file in same}
        self.groups: list[tuple[int, ...]] = [
            group
            for same in groups_of_files
            for group in zip(*map(info.layout.pieces_of_file, same), strict=True)
        ]
        self._group_of = {index: group for group in self.groups for index in group}

    def group(self, index: int) -> tuple[int, ...]:
        """All pieces with the content of this one, itself among them; none where it is alone."""
        return self._group_of.get(index, ())

    def groups_in(self, pieces: Iterable[range]) -> set[tuple[int, ...]]:
        """All groups that have any of these pieces."""
        if not self.groups:
            return set()
        return {self._group_of[i] for run in pieces for i in run if i in self._group_of}

    def files_like(self, file: int) -> Sequence[int]:
        """All files with the content of this one, itself among them."""
        return self._files.get(file, (file,))


def fit(info: Info, index: int, data: memoryview) -> bytearray:
    """A piece with the content of another: only what follows the end of the file may differ."""
    layout = info.layout
    fitted = bytearray(layout.piece_size(index))
    length = layout.spans(index, 0, len(fitted))[0].length
    fitted[:length] = data[:length]
    return fitted


async def copy_within(info: Info, storage: Storage, have: Bitfield, wanted: Bitfield) -> None:
    """Copy what is here to wherever else the torrent has it, and note it in ``have``.

    Raises:
        StorageError: The disk refused.

    Cancelling waits for the piece that is being copied.
    """
    for group in IdenticalPieces(info).groups:
        source = next((index for index in group if have[index]), None)
        lacking = [index for index in group if wanted[index] and not have[index]]
        if source is None or not lacking:
            continue
        size = info.layout.piece_size(source)
        data = (await storage.read(source, 0, size)).part(0, size)
        for index in lacking:
            if await storage.commit_piece(index, fit(info, index, data)):
                have.set(index)


async def copy_from(
    folders: Sequence[Path],
    info: Info,
    layers: PieceLayers,
    storage: Storage,
    have: Bitfield,
    wanted: Bitfield,
    threads: DiskThreads,
) -> None:
    """Copy files that lie elsewhere, under whatever name, and note their pieces in ``have``.

    A candidate has the length and the first piece of a file that lacks pieces, and is left at the
    first piece that is another. It is only read. Those that cannot be read are passed over.

    Args:
        folders: Where to look, with all that is below them; symbolic links are not followed.
        info: The torrent; of version 1 alone it has no hashes of files, and nothing is copied.
        layers: Its hashes, as far as they are known.
        storage: Where to.
        have: What is here.
        wanted: What is to be.
        threads: Where the disk is waited for.

    Raises:
        StorageError: The disk refused what is written.

    Cancelling waits for the piece that is being copied, or the folder that is being listed.
    """
    lacking = _Lacking(info, layers, have, wanted)
    for folder in folders:
        walk = os.walk(folder)  # does not follow links to folders
        while lacking.lengths and (found := await threads.run(partial(next, walk, None))):
            paths = [Path(found[0], name) for name in sorted(found[2])]
            for start in range(0, len(paths), _LOOKS_PER_HOP):
                look = partial(lacking.look_at, paths[start : start + _LOOKS_PER_HOP])
                for path, length in await threads.run(look):
                    for file in await threads.run(partial(lacking.files_like, path, length)):
                        await _copy_file(path, file, info, storage, have, wanted, threads)


class _Lacking:
    """The files that lack pieces, by their length and by what their first piece hashes to.

    So each candidate is read once, however many files of its length are looked for.
    """

    def __init__(self, info: Info, layers: PieceLayers, have: Bitfield, wanted: Bitfield) -> None:
        self._info = info
        self._files: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        self._v1_sizes: dict[int, set[int]] = defaultdict(set)
        self.lengths: set[int] = set()
        roots: set[bytes] = set()
        for file, entry in enumerate(info.files):
            pieces = info.layout.pieces_of_file(file)
            if not entry.pieces_root or not entry.length or entry.pieces_root in roots:
                continue  # of files with one content the first gets it, and the others from there
            if not any(wanted[index] and not have[index] for index in pieces):
                continue
            roots.add(entry.pieces_root)
            first = layers.piece_hash(pieces[0])
            if first is None:  # a hybrid torrent whose hash trees have not come
                first = info.piece_hash(pieces[0])
                self._v1_sizes[entry.length].add(info.layout.piece_size(pieces[0]))
            self._files[entry.length, first].append(file)
            self.lengths.add(entry.length)

    def look_at(self, paths: Iterable[Path]) -> list[tuple[Path, int]]:
        """Those of some files that have one of the lengths, each with its own. Blocks."""
        found: list[tuple[Path, int]] = []
        for path in paths:
            with suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_size in self.lengths:
                    found.append((path, status.st_size))
        return found

    def files_like(self, path: Path, length: int) -> list[int]:
        """The files of the torrent that begin as this one does. Blocks."""
        piece_length = self._info.piece_length
        data = bytearray(min(length, piece_length))
        handles = FileHandles(path.parent, [PurePosixPath(path.name)])
        try:
            with handles.lease(0) as descriptor:
                if DISK.read(descriptor, memoryview(data), 0) < len(data):
                    return []
        except OSError:
            return []
        finally:
            handles.close()
        leaves = hash_blocks(memoryview(data))
        hashes = [piece_root(leaves, file_length=length, piece_length=piece_length)]
        for size in self._v1_sizes.get(length, ()):
            padded = data + bytes(size - len(data))
            hashes.append(hashlib.sha1(padded, usedforsecurity=False).digest())
        return [file for each in hashes for file in self._files.get((length, each), ())]


async def _copy_file(
    path: Path,
    file: int,
    info: Info,
    storage: Storage,
    have: Bitfield,
    wanted: Bitfield,
    threads: DiskThreads,
) -> None:
    names = [PurePosixPath(path.name) if each == file else None for each in range(len(info.files))]
    source = PieceFiles(info.layout, Placement(path.parent, tuple(names)))
    try:
        for index in info.layout.pieces_of_file(file):
            if not wanted[index] or have[index]:
                continue
            size = info.layout.piece_size(index)
            try:
                data = await threads.run(partial(source.read, index, 0, size))
            except StorageError:
                return
            if not await storage.commit_piece(index, data):
                return
            have.set(index)
    finally:
        source.handles.close()
