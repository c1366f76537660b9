"""Open files of one torrent: a bounded cache of descriptors that threads may share.

Rules: a descriptor in use is never closed; no component below the root may be a symbolic link, so
that nothing outside the root can be read or written, whatever was planted there.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

MAX_OPEN_FILES = 64
"""Descriptors one torrent keeps; a session of many torrents stays far below the usual 1,024."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileHandles:
    """Descriptors for files named by their index, opened when first needed.

    Every method may be called from any thread. Errors are plain OSErrors.
    """

    def __init__(
        self, root: Path, names: Sequence[PurePosixPath | None], *, writable: bool
    ) -> None:
        self._root = root
        self._names = list(names)
        self._writable = writable
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()  # file index -> descriptor, oldest first
        self._users: dict[int, int] = {}  # file index -> threads inside lease()

    @property
    def root(self) -> Path:
        """The folder that all names are below."""
        return self._root

    def path(self, index: int) -> Path:
        """Where a file is, for messages."""
        name = self._names[index]
        return self._root if name is None else self._root / name

    def rename_top(self, old: str, new: str) -> None:
        """The folder or file that all names begin with has a new name; descriptors stay good."""
        with self._lock:
            self._names = [
                PurePosixPath(new, *name.parts[1:]) if name and name.parts[0] == old else name
                for name in self._names
            ]

    @contextmanager
    def lease(self, index: int) -> Iterator[int]:
        """A descriptor that stays open inside the block.

        Raises:
            OSError: The file cannot be opened, or created where writing.
        """
        with self._lock:
            descriptor = self._open.get(index)
            if descriptor is None:
                descriptor = self._open_below_root(index)
                self._open[index] = descriptor
            self._open.move_to_end(index)
            self._users[index] = self._users.get(index, 0) + 1
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users[index] -= 1
                if not self._users[index]:
                    del self._users[index]
                self._close_surplus()

    def close(self) -> None:
        """Close every descriptor; they open again when needed."""
        with self._lock:
            for index in [index for index in self._open if index not in self._users]:
                os.close(self._open.pop(index))

    def _close_surplus(self) -> None:
        idle = (index for index in list(self._open) if index not in self._users)
        while len(self._open) > MAX_OPEN_FILES and (index := next(idle, None)) is not None:
            os.close(self._open.pop(index))

    def _open_below_root(self, index: int) -> int:
        name = self._names[index]
        if name is None:
            raise FileNotFoundError(f"file {index} of the torrent is not kept on disk")
        parent = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in name.parts[:-1]:
                parent = self._step_into(parent, part)
            flags = os.O_NOFOLLOW | os.O_CLOEXEC
            flags |= os.O_RDWR | os.O_CREAT if self._writable else os.O_RDONLY
            return os.open(name.name, flags, mode=0o666, dir_fd=parent)
        finally:
            os.close(parent)

    def _step_into(self, parent: int, part: str) -> int:
        """Go one folder down and close the upper one, making the lower one where writing."""
        if self._writable:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=parent)
        child = os.open(part, _DIRECTORY, dir_fd=parent)
        os.close(parent)
        return child
