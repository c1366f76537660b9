"""A torrent's bytes on disk.

Owns the files of one torrent. Pieces are written only after their hash was found right, in the same
hop to a thread; a file gets its final name only when the whole torrent is complete and synced.
"""

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from torrent_onion.core.metainfo import Info
from torrent_onion.engine.disk import DISK, Disk, make_folders, sync_folder
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.piece_files import DataMissingError, PieceFiles
from torrent_onion.engine.placement import Placement, rename_new
from torrent_onion.engine.read_cache import ReadCache, Window
from torrent_onion.engine.verification import hash_blocks
from torrent_onion.errors import StorageError

_FIRST_SLICE = 64 << 20
"""Bytes reserved in one go at first: a second on a slow disk that has to write them."""
_LARGEST_SLICE = 1 << 30
"""The most, however fast the disk is: it may have to write them from now on."""
_SLICE_SECONDS = 0.5
"""What is slower than this is halved."""

VerifyPiece = Callable[[int, Iterable[memoryview]], bool]
"""``verify(index, parts)``: is this, joined, the piece? Called in threads."""


class Storage:
    """Reads, writes and verifies pieces; each async method is one hop to a thread."""

    def __init__(
        self,
        info: Info,
        placement: Placement,
        *,
        verify: VerifyPiece,
        threads: DiskThreads,
        finished: frozenset[int],
        disk: Disk = DISK,
    ) -> None:
        """Open nothing yet.

        Args:
            info: The torrent.
            placement: Where its files are.
            verify: Judges pieces.
            threads: Where the disk is waited for.
            finished: Files that are complete and are never written to.
            disk: The operating system.
        """
        self._layout = info.layout
        self._lengths = [entry.length for entry in info.files]
        self._placement = placement
        self._path = placement.path
        self._verify = verify
        self._threads = threads
        self._finished = set(finished)
        self._disk = disk
        self._files = PieceFiles(info.layout, placement, read_only=self._finished, disk=disk)
        self._lasting_names: set[int] = set()  # files whose names are known to be on the disk
        self._sync_error: StorageError | None = None
        self._cache = ReadCache(info.layout, self._files.read)

    @property
    def is_read_only(self) -> bool:
        """Whether every file is complete under its final name."""
        names = self._placement.names
        return all(name is None or file in self._finished for file, name in enumerate(names))

    @property
    def path(self) -> Path:
        """The folder, or the only file: by its final name once all is there that was asked for."""
        return self._path

    @property
    def placement(self) -> Placement:
        """Where the files are now."""
        return self._placement

    async def commit_piece(self, index: int, data: bytearray) -> bool:
        """Verify a piece and write it if it is right: one hop to a thread for both.

        Returns:
            False when the hash is wrong; nothing was written then.

        Raises:
            StorageError: The disk refused the data.

        Cancelling before the thread has begun writes nothing; later it has no effect.
        """

        def verify_and_write() -> bool:
            view = memoryview(data)
            if not self._verify(index, [view]):
                return False
            self._files.write(index, view)
            return True

        return await self._threads.run(verify_and_write)

    def cached(self, index: int, begin: int, length: int) -> Window | None:
        """What a recent read brought of a piece, if these bytes are in it; touches no disk."""
        return self._cache.get(index, begin, length)

    async def read(self, index: int, begin: int, length: int) -> Window:
        """Bytes of a piece for upload, with those around them for what usually is asked next.

        Raises:
            StorageError: The file is gone, shorter than it was, or unreadable.
        """
        return await self._threads.run(lambda: self._cache.fill(index, begin, length))

    async def leaf_hashes(self, index: int) -> bytes:
        """SHA-256 of every block of a piece, padding not counted: leaves of BEP 52.

        Raises:
            StorageError: It cannot be read.
        """

        def read_and_hash() -> bytes:
            data = memoryview(self._files.read(index, 0, self._layout.piece_size(index)))
            return hash_blocks(data[: self._layout.spans(index, 0, len(data))[0].length])

        return await self._threads.run(read_and_hash)

    def check_now(self, index: int, buffer: memoryview) -> bool:
        """Is the piece on disk the right one? Blocks: call it in a thread, with a buffer to use.

        A file that is missing or too short is not an error here: its pieces are simply not there.

        Raises:
            StorageError: The disk cannot be read.
        """
        try:
            return self._verify(index, self._files.read_through(index, buffer))
        except DataMissingError:
            return False

    async def make_root(self) -> None:
        """Make the folder that everything goes into, if it is not there.

        Raises:
            StorageError: It cannot be made.
        """
        root = self._placement.root

        def make() -> None:
            with disk_errors(root):
                make_folders(self._disk, root)

        await self._threads.run(make)

    async def preallocate(self, files: Collection[int]) -> None:
        """Reserve room for whole files, or leave them as they were.

        Raises:
            StorageError: There is not enough, or the disk refused.

        Cancelling waits for the slice of a file under way.
        """
        handles = self._files.handles
        grown: dict[int, int | None] = {}  # how long they were; None: not there

        def note(file: int) -> None:
            path = handles.path(file)
            with disk_errors(path):
                grown[file] = path.lstat().st_size if os.path.lexists(path) else None

        def reserve(file: int, offset: int, length: int) -> None:
            with disk_errors(handles.path(file)), handles.lease(file, make=True) as fd:
                self._disk.allocate(fd, offset, length)

        def give_back() -> None:
            for file, length in grown.items():
                with suppress(OSError):
                    if length is None:
                        self._unmake(file)
                    else:
                        with handles.lease(file) as fd:
                            self._disk.cut(fd, length)

        try:
            for file in files:
                if self._lengths[file] and file not in self._finished:
                    await self._threads.run(partial(note, file))
                    await self._reserve(partial(reserve, file), self._lengths[file])
        except StorageError:
            with trio.CancelScope(shield=True):  # why it failed must be heard
                await self._threads.run(give_back)
            raise

    async def _reserve(self, reserve: Callable[[int, int], None], length: int) -> None:
        """A slice at a time, so short that nobody who wants to stop waits for long."""
        offset, size = 0, _FIRST_SLICE
        while offset < length:
            began = trio.current_time()
            await self._threads.run(partial(reserve, offset, min(size, length - offset)))
            offset += size
            is_fast = trio.current_time() - began < _SLICE_SECONDS
            size = min(size * 2, _LARGEST_SLICE) if is_fast else max(size // 2, _FIRST_SLICE)

    def _unmake(self, file: int) -> None:
        """Remove a file, and the folders below the topmost that this empties. Blocks."""
        name = self._placement.names[file]
        if name is None:
            return
        self._files.handles.close()
        self._disk.unlink(self._placement.file(file))
        for folder in list(self._placement.file(file).parents)[: len(name.parts) - 2]:
            self._disk.remove_folder(folder)

    def found_now(self, index: int) -> None:
        """A piece was found on disk: perhaps a run that was killed wrote it, and never synced."""
        self._files.note_written(index)

    def sync_now(self) -> set[int]:
        """Bring what was written to the disk. Blocks: call it in a thread.

        Returns:
            The files that were written to since this was called last.

        Raises:
            StorageError: The disk refused, now or ever before: what it could not write the system
                may have thrown away, and it says so only once.
        """
        if self._sync_error is not None:
            raise self._sync_error
        files = self._files.take_written()
        try:
            self._sync(files)
        except StorageError as error:
            self._sync_error = error
            raise
        return files

    async def finish(self, final: Placement, wanted: Collection[int]) -> None:
        """Sync files to the disk and give them their final names, empty ones included.

        When the whole torrent is wanted this is one rename; into a folder that is there already
        each file goes alone. Files that are not wanted, and hold the ends of pieces that they share
        with others, stay below the partial name.

        Args:
            final: The names.
            wanted: The files to be finished; all their pieces are verified.

        Raises:
            StorageError: A final name is taken, or the disk refused.
        """

        def sync_and_rename() -> None:
            fresh = [file for file in wanted if file not in self._finished]
            self.sync_now()
            self._sync(fresh)
            self._rename(final, frozenset(fresh))
            self._sync_folders(final.folders(wanted))  # an earlier run may not have come to that

        await self._threads.run(sync_and_rename)

    def _rename(self, final: Placement, fresh: frozenset[int]) -> None:
        names = [
            new if file in fresh else old
            for file, (old, new) in enumerate(zip(self._placement.names, final.names, strict=True))
        ]
        is_whole = len(fresh) == sum(name is not None for name in final.names)
        with self._files.handles.renaming(names):
            if is_whole and not _is_folder(final.path):
                rename_new(self._disk, self._placement.path, final.path)
            else:
                for file in sorted(fresh):
                    rename_new(self._disk, self._placement.file(file), final.file(file))
        self._finished.update(fresh)
        self._placement = Placement(final.root, tuple(names))
        self._path = final.path

    def sync_names(self) -> None:
        """Make the names of files last that an earlier run has finished. Blocks.

        Raises:
            StorageError: The disk refused.
        """
        self._sync_folders(self._placement.folders(self._finished))

    def close(self) -> None:
        """Close the files and forget what was read."""
        self._files.handles.close()
        self._cache.clear()

    def _sync(self, files: Collection[int]) -> None:
        """Bring files and their names to the disk; make those that are not there: empty ones."""
        handles = self._files.handles
        for file in files:
            with disk_errors(handles.path(file)), handles.lease(file, make=True) as fd:
                self._disk.sync(fd)
        unsure = set(files) - self._lasting_names
        self._sync_folders(self._placement.folders(unsure))
        self._lasting_names |= unsure

    def _sync_folders(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            with disk_errors(folder):
                sync_folder(self._disk, folder)


def _is_folder(path: Path) -> bool:
    """Whether files can be put into it: a link would lead elsewhere."""
    return path.is_dir() and not path.is_symlink()
