"""Where a torrent's files live on disk, and under which names while they are incomplete.

A download is kept below ``NAME.part`` (a folder, or a file for a single-file torrent) and gets its
final name by a rename when every byte of it is verified. So a final name always means: complete.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torrent_onion.core.metainfo import Info
from torrent_onion.core.paths import safe_paths
from torrent_onion.engine.disk import Disk, make_folders
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.errors import PathError, StorageError

PARTIAL_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class Placement:
    """Files of one torrent below a root folder.

    ``names`` has one entry for each file of the torrent, relative to ``root``; None stands for a
    file that is not kept on disk (the padding of BEP 47, symbolic links).
    """

    root: Path
    names: tuple[PurePosixPath | None, ...]

    @property
    def top(self) -> str:
        """The one name directly below the root that all files are, or are in."""
        return next(name.parts[0] for name in self.names if name is not None)

    @property
    def path(self) -> Path:
        """The folder, or the only file."""
        return self.root / self.top

    def file(self, number: int) -> Path:
        """Where one file is; the root for one that is not kept on disk."""
        return self.root / (self.names[number] or "")

    def folders(self, files: Iterable[int]) -> set[Path]:
        """The root, and all folders below it that lead to these files."""
        return {
            self.root.joinpath(*name.parts[:depth])
            for name in map(self.names.__getitem__, files)
            if name is not None
            for depth in range(len(name.parts))
        }

    def renamed(self, top: str) -> "Placement":
        """The same files below another top name."""
        names = (name and PurePosixPath(top, *name.parts[1:]) for name in self.names)
        return Placement(self.root, tuple(names))

    def partial(self) -> "Placement":
        """Where the files are until all of them are complete."""
        return self.renamed(self.top + PARTIAL_SUFFIX)


def place_download(info: Info, folder: Path) -> Placement:
    """Final names for a download into ``folder``: safe ones, whatever the torrent says."""
    names = safe_paths(info.name, info.files, is_single_file=info.is_single_file)
    return Placement(folder, _without_virtual_files(info, names))


def place_shared(info: Info, path: Path) -> Placement:
    """Names of data that is on disk already: ``path`` is the torrent's folder, or its only file.

    The names are used as they are, for they were made from this very folder.

    Raises:
        PathError: A name in the torrent could lead out of the folder.
    """
    path = path.resolve()
    if not _stays_inside(info):
        raise PathError("The torrent names a file outside its own folder. It is not opened.")
    return _as_listed(info, path.parent, path.name)


def find_data(info: Info, folder: Path) -> Placement:
    """Find a torrent's data where people point: the folder it is in, or the data itself.

    It has the names of a download, or its own where those are not safe and it was shared from here.
    Of several places the one is meant where most of the files are. Blocks.
    """
    places = list(_places_of_data(info, folder))
    there = [(_count_files(place), place.path.exists()) for place in places]
    return places[there.index(max(there))]


def _places_of_data(info: Info, folder: Path) -> Iterator[Placement]:
    below = place_download(info, folder)
    yield below
    yield below.partial()
    keeps_its_names = _stays_inside(info)
    if keeps_its_names and _is_name(info.name):
        yield _as_listed(info, folder, info.name)
    if folder.exists() and folder.is_file() == info.is_single_file:
        here = folder.resolve()
        yield Placement(here.parent, below.renamed(here.name).names)
        if keeps_its_names:
            yield place_shared(info, here)


def _count_files(placement: Placement) -> int:
    files = (number for number, name in enumerate(placement.names) if name is not None)
    return sum(placement.file(number).is_file() for number in files)


def _as_listed(info: Info, root: Path, top: str) -> Placement:
    """Where files are by the names that the torrent has, below one top name."""
    if info.is_single_file:
        return Placement(root, (PurePosixPath(top),))
    names = [PurePosixPath(top, *entry.path) for entry in info.files]
    return Placement(root, _without_virtual_files(info, names))


def _stays_inside(info: Info) -> bool:
    """Whether the files' own names lead nowhere out of the torrent's folder."""
    return info.is_single_file or all(_is_name(part) for entry in info.files for part in entry.path)


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and "/" not in part and "\0" not in part


def _without_virtual_files(
    info: Info, names: list[PurePosixPath]
) -> tuple[PurePosixPath | None, ...]:
    return tuple(
        None if entry.is_pad or entry.symlink is not None else name
        for entry, name in zip(info.files, names, strict=True)
    )


def look_for_folder(path: Path) -> bool:
    """Whether there is such a folder. Blocks.

    Raises:
        StorageError: Something else has the name, or it cannot be looked at.
    """
    return _is_there(path, stat.S_IFDIR)


def look_for_file(path: Path) -> bool:
    """Whether there is such a file. Blocks.

    Raises:
        StorageError: Something else has the name, or it cannot be looked at.
    """
    return _is_there(path, stat.S_IFREG)


_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}


def _is_there(path: Path, kind: int) -> bool:
    with disk_errors(path):
        try:
            found = stat.S_IFMT(path.lstat().st_mode)
        except FileNotFoundError:
            return False
    if found != kind:
        what = _KINDS.get(found, "neither a file nor a folder")
        raise StorageError(
            f"{path} exists already and is {what}. "
            "Move it away, or choose another folder with --dir."
        )
    return True


def rename_new(disk: Disk, old: Path, new: Path) -> None:
    """Rename a file or a folder, never over something that is there; blocks.

    Folders above the new name are made, those above the old one are removed if that empties them.
    It lasts only when the folders above the new name are synced.

    Raises:
        StorageError: The new name is taken, or the disk refused.
    """
    # A rename replaces no folder but an empty one. It would replace a file that comes in between
    # this look and the next call: linking and unlinking would not, but leaves both names where the
    # process is killed, and many disks have no hard links; renameat2() is out of Python's reach.
    if os.path.lexists(new):
        raise StorageError(f"{new} appeared while it was being fetched. The data is in {old}.")
    with disk_errors(new):
        make_folders(disk, new.parent)
        disk.rename(old, new)
    for folder in old.parents:
        if folder in new.parents:
            return
        try:
            disk.remove_folder(folder)
        except OSError:  # something is left in it
            return
