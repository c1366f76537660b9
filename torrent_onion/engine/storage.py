"""A torrent's bytes on disk.

Owns the files of one torrent. Pieces are written only after their hash was found right, in the same
hop to a thread; a file gets its final name only when the whole torrent is complete and synced.
"""

import os
from collections.abc import Callable
from contextlib import suppress

from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import FileSpan
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.file_handles import FileHandles
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.read_cache import ReadCache
from torrent_onion.errors import StorageError

VerifyPiece = Callable[[int, memoryview], bool]
"""``verify(index, data)``: is this the piece? Called in threads."""


class Storage:
    """Reads, writes and verifies pieces. Only the methods marked async may be awaited on."""

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
        self._handles = FileHandles(placement.root, placement.names, writable=writable)
        self._cache = ReadCache(self._layout, self._read_now)

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
        """

        def verify_and_write() -> bool:
            view = memoryview(data)
            if not self._verify(index, view):
                return False
            self._write_now(index, view)
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

    def check_now(self, index: int) -> bool:
        """Is the piece on disk the right one? Blocks: call it in a thread.

        A file that is missing or too short is not an error here: its pieces are simply not there.

        Raises:
            StorageError: The disk cannot be read.
        """
        try:
            data = self._read_now(index, 0, self._layout.piece_size(index))
        except _DataMissing:
            return False
        return self._verify(index, memoryview(data))

    async def create_empty_files(self) -> None:
        """Make the files that hold no byte, for no piece ever would."""

        def create() -> None:
            for file, length in enumerate(self._lengths):
                if length == 0 and self._placement.names[file] is not None:
                    with disk_errors(self._handles.path(file)), self._handles.lease(file):
                        pass

        await self._threads.run(create)

    async def finish(self, final: Placement) -> None:
        """Sync every file to the disk and give the torrent its final name.

        Raises:
            StorageError: The final name is taken, or the disk refused.
        """

        def sync_and_rename() -> None:
            for file, name in enumerate(self._placement.names):
                if name is not None:
                    with disk_errors(self._handles.path(file)), self._handles.lease(file) as fd:
                        os.fsync(fd)
            _rename_new(self._placement, final)
            self._handles.rename_top(self._placement.top, final.top)
            self._placement = final

        await self._threads.run(sync_and_rename)

    def close(self) -> None:
        """Close the files and forget what was read."""
        self._handles.close()
        self._cache.clear()

    def _read_now(self, index: int, begin: int, length: int) -> bytearray:
        """Bytes of a piece from the disk; padding reads as zeros."""
        data = bytearray(length)
        view = memoryview(data)
        done = 0
        for span in self._layout.spans(index, begin, length):
            if self._placement.names[span.file] is not None:
                self._read_span(span, view[done : done + span.length])
            done += span.length
        return data

    def _read_span(self, span: FileSpan, into: memoryview) -> None:
        path = self._handles.path(span.file)
        try:
            with disk_errors(path), self._handles.lease(span.file) as fd:
                done = 0
                while done < span.length:
                    n = os.preadv(fd, [into[done:]], span.offset + done)
                    if n == 0:
                        raise _DataMissing(f"{path} is shorter than it was. Share it again.")
                    done += n
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise _DataMissing(str(error)) from error
            raise

    def _write_now(self, index: int, data: memoryview) -> None:
        done = 0
        for span in self._layout.spans(index, 0, len(data)):
            if self._placement.names[span.file] is not None:
                self._write_span(span, data[done : done + span.length])
            done += span.length

    def _write_span(self, span: FileSpan, data: memoryview) -> None:
        with (
            disk_errors(self._handles.path(span.file)),
            self._handles.lease(span.file) as fd,
        ):
            done = 0
            while done < span.length:
                done += os.pwrite(fd, data[done:], span.offset + done)


class _DataMissing(StorageError):
    """The file is not there, or ends before the bytes that were asked for."""


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
