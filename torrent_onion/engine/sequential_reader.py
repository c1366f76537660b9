"""Files of one torrent, read one after another by one thread: what hashing a new torrent does.

``piece_files`` lets many threads read and write anywhere, which takes locks and a cache of
descriptors. For files as small as 100 KB that costs an eighth of what hashing them does, and keeps
threads from one another. Here one file and one folder are open at a time, and belong to the reader.
"""

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from torrent_onion.core.piece_layout import FileSpan
from torrent_onion.engine.disk import DISK, Disk
from torrent_onion.engine.disk_errors import storage_error
from torrent_onion.engine.file_handles import open_folder
from torrent_onion.engine.piece_files import ZEROS
from torrent_onion.engine.placement import Placement
from torrent_onion.errors import StorageError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NONE = -1
"""No file, and no descriptor."""


class SequentialReader:
    """Reads parts of files; blocks, and is for one thread. Leaving it closes what is open.

    No component below the root may be a symbolic link, as in ``file_handles``.

    Args:
        placement: Where files lie on the disk; those without a name read as zeros.
        buffer: To read into, made of whole blocks.
        disk: The operating system.
    """

    def __init__(self, placement: Placement, buffer: memoryview, disk: Disk = DISK) -> None:
        self._placement = placement
        self._buffer = buffer
        self._disk = disk
        self._file, self._file_fd = _NONE, _NONE
        self._folder: tuple[str, ...] = ()
        self._folder_fd = _NONE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._close_file()
        self._close_folder()

    def parts(self, spans: Iterable[FileSpan]) -> Iterator[memoryview]:
        """Read parts of files in order: use each that is yielded, then go on.

        They come in the buffer, which is used again for the next; padding comes from zeros that
        are there already. A part ends where a file ends.

        Raises:
            StorageError: A file cannot be read, or is shorter than it was.
        """
        for file, offset, length in spans:
            is_padding = self._placement.names[file] is None
            source = ZEROS if is_padding else self._buffer
            for begin in range(0, length, len(source)):
                part = source[: length - begin]
                if not is_padding:
                    self._read(file, offset + begin, part)
                yield part

    def _read(self, file: int, offset: int, into: memoryview) -> None:
        try:
            descriptor = self._file_fd if file == self._file else self._open(file)
            done = self._disk.read(descriptor, into, offset)
            while done < len(into):
                count = self._disk.read(descriptor, into[done:], offset + done)
                if not count:
                    path = self._placement.file(file)
                    raise StorageError(f"{path} is shorter than it was. Share it again.")
                done += count
        except OSError as error:
            raise storage_error(error, self._placement.file(file)) from error

    def _open(self, file: int) -> int:
        self._close_file()
        name = self._placement.names[file]
        assert name is not None  # noqa: S101 - for the type checker: padding is not opened
        parts = name.parts
        self._enter(parts[:-1])
        self._file_fd = self._disk.open(parts[-1], _FLAGS, folder=self._folder_fd)
        self._file = file
        return self._file_fd

    def _enter(self, folder: tuple[str, ...]) -> None:
        if self._folder_fd != _NONE:
            if folder == self._folder:
                return
            self._close_folder()
        self._folder_fd = open_folder(self._disk, self._placement.root, folder)
        self._folder = folder

    def _close_file(self) -> None:
        descriptor, self._file_fd, self._file = self._file_fd, _NONE, _NONE
        if descriptor != _NONE:
            self._disk.close(descriptor)

    def _close_folder(self) -> None:
        descriptor, self._folder_fd = self._folder_fd, _NONE
        if descriptor != _NONE:
            self._disk.close(descriptor)
