"""A torrent's bytes on disk.

Owns the files of one torrent. Pieces are written only after their hash was found right, in the same
hop to a thread; a file gets its final name only when the whole torrent is complete and synced.
"""

import os
from collections.abc import Callable
from contextlib import suppress

from torrent_onion.core.metainfo import Info
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.piece_files import DataMissingError, PieceFiles
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.read_cache import ReadCache
from torrent_onion.engine.verification import hash_blocks
from torrent_onion.errors import StorageError

VerifyPiece = Callable[[int, memoryview], bool]
"""``verify(index, data)``: is this the piece? Called in threads."""


class Storage:
    """Reads, writes and verifies pieces; each async method is one hop to a thread."""

    def __init__(
        self,
        info: Info,
        placement: Placement,
        *,
        verify: VerifyPiece,
        threads: DiskThreads,
        writable: bool,
    ) -> None:
        self._layout = info.layout
        self._lengths = [entry.length for entry in info.files]
        self._placement = placement
        self._verify = verify
        self._threads = threads
        self._files = PieceFiles(info.layout, placement, writable=writable)
        self._cache = ReadCache(info.layout, self._files.read)

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
            if not self._verify(index, view):
                return False
            self._files.write(index, view)
            return True

        return await self._threads.run(verify_and_write)

    def cached(self, index: int, begin: int, length: int) -> memoryview | None:
        """Bytes of a piece if a recent read brought them into memory; never touches the disk."""
        return self._cache.get(index, begin, length)

    async def read(self, index: int, begin: int, length: int) -> memoryview:
        """Bytes of a piece for upload, with read-ahead for the requests that usually follow.

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

    def check_now(self, index: int) -> bool:
        """Is the piece on disk the right one? Blocks: call it in a thread.

        A file that is missing or too short is not an error here: its pieces are simply not there.

        Raises:
            StorageError: The disk cannot be read.
        """
        try:
            data = self._files.read(index, 0, self._layout.piece_size(index))
        except DataMissingError:
            return False
        return self._verify(index, memoryview(data))

    async def make_root(self) -> None:
        """Make the folder that everything goes into, if it is not there.

        Raises:
            StorageError: It cannot be made.
        """
        root = self._placement.root

        def make() -> None:
            with disk_errors(root):
                root.mkdir(parents=True, exist_ok=True)

        await self._threads.run(make)

    async def create_empty_files(self) -> None:
        """Make the files that hold no byte, for no piece ever would.

        Raises:
            StorageError: The disk refused.
        """

        def create() -> None:
            for file, length in enumerate(self._lengths):
                if length == 0 and self._placement.names[file] is not None:
                    self._touch(file)

        await self._threads.run(create)

    async def finish(self, final: Placement) -> None:
        """Sync every file to the disk and give the torrent its final name.

        Raises:
            StorageError: The final name is taken, or the disk refused.
        """

        def sync_and_rename() -> None:
            for file, name in enumerate(self._placement.names):
                if name is not None:
                    self._touch(file, sync=True)
            _rename_new(self._placement, final)
            self._files.handles.rename_top(self._placement.top, final.top)
            self._placement = final

        await self._threads.run(sync_and_rename)

    def close(self) -> None:
        """Close the files and forget what was read."""
        self._files.handles.close()
        self._cache.clear()

    def _touch(self, file: int, *, sync: bool = False) -> None:
        handles = self._files.handles
        with disk_errors(handles.path(file)), handles.lease(file) as fd:
            if sync:
                os.fsync(fd)


def _rename_new(old: Placement, new: Placement) -> None:
    """Rename, never over something that is there."""
    if os.path.lexists(new.path):
        raise StorageError(
            f"{new.path} appeared while it was being fetched. The data is in {old.path}."
        )
    with disk_errors(new.path):
        old.path.rename(new.path)
        with suppress(OSError):  # not every file system lets a folder be synced
            folder = os.open(new.root, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
