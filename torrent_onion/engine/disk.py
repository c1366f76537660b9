"""What the data of torrents asks of the operating system: one small interface, handed in.

So tests can put a disk in its place that is full, broken, or loses its power. Everything here
blocks and is called in threads; errors are plain OSErrors. Looking at a file (``lstat``) is not
part of it, for that changes nothing.
"""

import errno
import os
from pathlib import Path, PurePosixPath

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags that open a folder."""

_NOT_OFFERED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What file systems answer that have no such thing."""

_NOT_OURS = frozenset({errno.EACCES, errno.EPERM})
"""Of a folder that we may go through and not open: what is above a download is another's."""


class Disk:
    """The operating system's own files."""

    def open(
        self, path: Path | PurePosixPath | str, flags: int, *, folder: int | None = None
    ) -> int:
        """Open a file, below a folder that is open where one is given."""
        return os.open(path, flags, mode=0o666, dir_fd=folder)

    def open_again(self, descriptor: int) -> int:
        """Open a second time what is open: each is closed by itself."""
        return os.dup(descriptor)

    def close(self, descriptor: int) -> None:
        """Close what was opened."""
        os.close(descriptor)

    def make_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        """Make a folder; what is above it must be there."""
        os.mkdir(path, dir_fd=folder)

    def read(self, descriptor: int, into: memoryview, offset: int) -> int:
        """Read at most as much as there is room for; 0 at the end of the file."""
        return os.preadv(descriptor, [into], offset)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write some of it, and return how much."""
        return os.pwrite(descriptor, data, offset)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Reserve room for some bytes of a file; do nothing where that is not offered.

        Where the file system cannot, the C library may write to every block instead.
        """
        if not hasattr(os, "posix_fallocate"):  # macOS
            return
        try:
            os.posix_fallocate(descriptor, offset, length)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise

    def cut(self, descriptor: int, length: int) -> None:
        """Make a file as short as this."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Bring a file, or the names in a folder, to the disk."""
        os.fsync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Rename, over whatever file has that name."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def free(self, path: Path) -> int:
        """Bytes that may still be written where this is."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize


DISK = Disk()
"""The one that there is, outside tests."""


def write_all(disk: Disk, descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of it; a disk may take a part at a time."""
    done = 0
    while done < len(data):
        taken = disk.write(descriptor, data[done:], offset + done)
        if taken <= 0:
            raise OSError(errno.EIO, "the disk takes nothing")
        done += taken


def sync_folder(disk: Disk, path: Path) -> None:
    """Make the names in a folder last, where the file system can do that."""
    try:
        descriptor = disk.open(path, FOLDER)
        try:
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED | _NOT_OURS:
            raise


def make_folders(disk: Disk, path: Path) -> None:
    """Make a folder, and those above it that are not there, so that they last."""
    for folder in reversed([each for each in (path, *path.parents) if not each.is_dir()]):
        try:
            disk.make_folder(folder)
        except FileExistsError:
            if not folder.is_dir():
                raise
        sync_folder(disk, folder.parent)
