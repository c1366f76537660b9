"""Look through a folder for what to share, and say what is left out.

Left out unless asked for are hidden files and the droppings of desktops and editors: they are
rarely meant, and they say things about whoever shares them. Symbolic links are never followed.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torrent_onion.core.metainfo_build import FileToShare
from torrent_onion.core.path_patterns import fits
from torrent_onion.engine.disk_errors import disk_errors, storage_error
from torrent_onion.errors import PathError

REPORT_EVERY: Final = 256
"""Files and folders between two reports: some milliseconds, a second on a slow disk."""

_DROPPINGS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "__macosx"})
_DROPPING_SUFFIXES = ("~", ".swp", ".swo", ".bak")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds.

    Attributes:
        files: To be shared; paths are relative to the folder.
        left_out: Paths that are not, relative to the folder, each with the reason in brackets.
    """

    files: tuple[FileToShare, ...]
    left_out: tuple[str, ...]


def nobody_waits(_files: int) -> None:
    """For those who do not look."""


def scan(
    path: Path,
    *,
    include_hidden: bool = False,
    exclude: Sequence[str] = (),
    scanned: Callable[[int], None] = nobody_waits,
) -> Scan:
    """List the files at ``path``, a folder or one file. Blocks: call it in a thread.

    Args:
        path: What to share.
        include_hidden: Take hidden files and the droppings of desktops too.
        exclude: Patterns of what is not shared, nor named as left out: it was asked for
            (see ``core.path_patterns``).
        scanned: Called with the number of files found so far, now and then, in the same thread.
            What it raises ends the scan.

    Raises:
        PathError: There is nothing to share at the path.
        StorageError: It cannot be read.
    """
    with disk_errors(path):
        status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return Scan((FileToShare((_text(path.name),), status.st_size),), ())
    if not stat.S_ISDIR(status.st_mode):
        raise PathError(f"{path} is neither a file nor a folder. Only those can be shared.")
    walk = _Walk(include_hidden, exclude, scanned)
    walk.folder(path, ())
    if not walk.files:
        raise PathError(_nothing_in(path, walk, include_hidden=include_hidden))
    return Scan(tuple(walk.files), tuple(walk.left_out))


def _nothing_in(path: Path, walk: "_Walk", *, include_hidden: bool) -> str:
    if walk.has_excluded:
        return f"--exclude leaves nothing of {path}. Change its patterns."
    if walk.left_out and not include_hidden:
        return f"Only hidden files are in {path}. Add others, or use --include-hidden."
    return f"No file in {path} can be shared. Add one."


class _Walk:
    def __init__(
        self,
        include_hidden: bool,  # noqa: FBT001 - private, named by its caller
        exclude: Sequence[str],
        scanned: Callable[[int], None],
    ) -> None:
        self._include_hidden = include_hidden
        self._exclude = exclude
        self._scanned = scanned
        self._seen = 0
        self.has_excluded = False
        self.files: list[FileToShare] = []
        self.left_out: list[str] = []

    def folder(self, path: Path, above: tuple[str, ...]) -> None:
        for entry in _sorted_entries(path):
            self._count()
            inside = (*above, _text(entry.name))
            if self._exclude and fits(inside, self._exclude):
                self.has_excluded = True
                continue
            reason = self._reason_to_leave_out(entry)
            if reason:
                self.left_out.append(f"{'/'.join(inside)} ({reason})")
            elif entry.is_dir(follow_symlinks=False):
                self.folder(Path(entry.path), inside)
            else:
                self.files.append(FileToShare(inside, _size(entry)))

    def _count(self) -> None:
        self._seen += 1
        if self._seen % REPORT_EVERY == 0:
            self._scanned(len(self.files))

    def _reason_to_leave_out(self, entry: os.DirEntry[str]) -> str | None:
        if entry.is_symlink():
            return "symbolic link"
        if not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            return "not a regular file"
        if self._include_hidden:
            return None
        if entry.name.startswith("."):
            return "hidden"
        name = entry.name.lower()
        if name in _DROPPINGS or name.endswith(_DROPPING_SUFFIXES):
            return "left by a desktop or an editor"
        return None


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError as error:
        raise storage_error(error, Path(entry.path)) from error


def _sorted_entries(path: Path) -> Iterator[os.DirEntry[str]]:
    """In a fixed order, so that two runs give the same torrent."""
    with disk_errors(path), os.scandir(path) as entries:
        return iter(sorted(entries, key=lambda entry: os.fsencode(entry.name)))


def _text(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "replace")
        raise PathError(
            f"The name {shown!r} is not valid UTF-8, which torrents need. Rename it."
        ) from None
    return name
