"""Open files of one torrent: a bounded cache of descriptors that threads may share.

Rules: a descriptor in use is never closed; no component below the root may be a symbolic link, so
that nothing outside the root can be read or written, whatever was planted there.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from torrent_onion.engine.disk import DISK, FOLDER, Disk

MAX_OPEN_FILES = 64
"""Descriptors one torrent keeps; a session of many torrents stays far below the usual 1,024."""

_OWN_FOLDER = FOLDER | os.O_NOFOLLOW


class FileHandles:
    """Descriptors for files named by their index, opened when first needed.

    Every method may be called from any thread. Errors are plain OSErrors.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[PurePosixPath | None],
        *,
        read_only: Container[int] | None = None,
        disk: Disk = DISK,
    ) -> None:
        """Open nothing yet.

        Args:
            root: The folder that all names are below.
            names: Of each file, relative to the root; None for those that are not on disk.
            read_only: Numbers of files that are never made or written to; None for all of them.
            disk: The operating system.
        """
        self._root = root
        self._disk = disk
        self._names = list(names)
        self._read_only = read_only
        self._lock = threading.Lock()
        self._renaming = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()  # file index -> descriptor, oldest first
        self._users: dict[int, int] = {}  # file index -> threads inside lease()
        # The folder that was read from last, by its parts below the root: files are read in order.
        self._folder: tuple[tuple[str, ...], int] | None = None

    @property
    def root(self) -> Path:
        """The folder that all names are below."""
        return self._root

    def path(self, index: int) -> Path:
        """Where a file is, for messages."""
        name = self._names[index]
        return self._root if name is None else self._root / name

    @contextmanager
    def renaming(self, names: Sequence[PurePosixPath | None]) -> Iterator[None]:
        """Rename the files inside the block; descriptors that are open stay good.

        Whoever opens a file meanwhile, and finds nothing under its old name, waits for the new one.

        Args:
            names: What they are called when the block has ended well.
        """
        with self._renaming:
            yield
            self._names = list(names)
            with self._lock:
                self._forget_folder()

    @contextmanager
    def lease(self, index: int, *, make: bool = False) -> Iterator[int]:
        """A descriptor that stays open inside the block.

        Args:
            index: The file.
            make: Make it if it is not there, and the folders above it.

        Raises:
            OSError: The file cannot be opened, or created where writing.
        """
        descriptor = self._take(index, make=make)
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users[index] -= 1
                if not self._users[index]:
                    del self._users[index]
                if len(self._open) > MAX_OPEN_FILES:
                    self._close_surplus()

    def _take(self, index: int, *, make: bool) -> int:
        with self._lock:
            if index in self._open:
                return self._used(index)
        fresh = self._open_fresh(index, make=make)  # unlocked: others go on meanwhile
        with self._lock:
            if index in self._open:  # another thread was faster
                self._disk.close(fresh)
            else:
                self._open[index] = fresh
            return self._used(index)

    def _used(self, index: int) -> int:
        self._open.move_to_end(index)
        self._users[index] = self._users.get(index, 0) + 1
        return self._open[index]

    def close(self) -> None:
        """Close every descriptor; they open again when needed."""
        with self._lock:
            for index in [index for index in self._open if index not in self._users]:
                self._disk.close(self._open.pop(index))
            self._forget_folder()

    def _close_surplus(self) -> None:
        idle = (index for index in list(self._open) if index not in self._users)
        while len(self._open) > MAX_OPEN_FILES and (index := next(idle, None)) is not None:
            self._disk.close(self._open.pop(index))

    def _open_fresh(self, index: int, *, make: bool) -> int:
        try:
            return self._open_below_root(index, make=make)
        except FileNotFoundError:
            with self._renaming:
                return self._open_below_root(index, make=make)

    def _open_below_root(self, index: int, *, make: bool) -> int:
        name = self._names[index]
        if name is None:
            raise FileNotFoundError(f"file {index} of the torrent is not kept on disk")
        writable = self._read_only is not None and index not in self._read_only
        parts = name.parts[:-1]
        parent = (
            open_folder(self._disk, self._root, parts, make=make)
            if writable
            else self._last_folder(parts)
        )
        try:
            flags = os.O_NOFOLLOW | os.O_CLOEXEC
            flags |= os.O_RDWR if writable else os.O_RDONLY
            flags |= os.O_CREAT if make and writable else 0
            return self._disk.open(name.name, flags, folder=parent)
        finally:
            self._disk.close(parent)

    def _last_folder(self, parts: tuple[str, ...]) -> int:
        """A folder to read from, kept open for the next file in it; the caller closes its own."""
        with self._lock:
            if self._folder is not None and self._folder[0] == parts:
                return self._disk.open_again(self._folder[1])
        folder = open_folder(self._disk, self._root, parts)
        with self._lock:
            self._forget_folder()
            self._folder = parts, self._disk.open_again(folder)
        return folder

    def _forget_folder(self) -> None:
        if self._folder is not None:
            self._disk.close(self._folder[1])
            self._folder = None


def open_folder(disk: Disk, root: Path, parts: Iterable[str], *, make: bool = False) -> int:
    """Open a folder below the root; no component below the root may be a symbolic link.

    Args:
        disk: The operating system.
        root: Where to begin.
        parts: Its name below the root, component by component.
        make: Make what is not there.

    Raises:
        OSError: A part is missing, or is no folder; nothing is left open.
    """
    folder = disk.open(root, FOLDER)
    try:
        for part in parts:
            folder = _step_into(disk, folder, part, make=make)
    except BaseException:
        disk.close(folder)
        raise
    return folder


def _step_into(disk: Disk, parent: int, part: str, *, make: bool) -> int:
    """Go one folder down and close the upper one."""
    if make:
        with suppress(FileExistsError):
            disk.make_folder(part, folder=parent)
    child = disk.open(part, _OWN_FOLDER, folder=parent)
    disk.close(parent)
    return child
