"""What the operating system says about the disk, in words for users."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torrent_onion.errors import StorageError

_SENTENCES = {
    errno.ENOSPC: "There is no space left on the disk of {path}. Free some and run the same again.",
    errno.EDQUOT: "Your disk quota is used up at {path}. Free some and run the same again.",
    errno.EROFS: "{path} is on a read-only disk. Choose another folder with --dir.",
    errno.EACCES: "No permission for {path}. Change its permissions or choose another folder.",
    errno.EPERM: "No permission for {path}. Change its permissions or choose another folder.",
    errno.ENOENT: "{path} is gone. Put it back and run the same again.",
    errno.ENOTDIR: "{path} cannot be used: a part of that path is a file where a folder must be.",
    errno.EISDIR: "{path} is a folder where a file must be. Move it away and run the same again.",
    errno.ELOOP: "{path} is a symbolic link, and those are not followed. Move it away.",
    errno.ENAMETOOLONG: "The name {path} is too long for this disk. Choose another folder.",
    errno.EIO: "The disk of {path} reports an input/output error. Check the disk.",
    errno.EMFILE: "Too many files are open. Raise the limit (ulimit -n) and run the same again.",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The sentence for an error at a path."""
    sentence = _SENTENCES.get(error.errno or 0)
    if sentence is None:
        return StorageError(f"{path}: {error.strerror or error}.")
    return StorageError(sentence.format(path=path))


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError about ``path``."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error
