"""Descriptors are opened as rarely as can be, and none is left open."""

import os
from pathlib import Path, PurePosixPath

import pytest

from torrent_onion.engine.disk import FOLDER, Disk
from torrent_onion.engine.file_handles import MAX_OPEN_FILES, FileHandles

FILES = 3 * MAX_OPEN_FILES
ANY_FOLDER = FOLDER & os.O_DIRECTORY


class CountingDisk(Disk):
    """Knows what is open."""

    def __init__(self) -> None:
        self.is_open: set[int] = set()
        self.folders_opened = 0

    def open(
        self, path: Path | PurePosixPath | str, flags: int, *, folder: int | None = None
    ) -> int:
        descriptor = super().open(path, flags, folder=folder)
        self.is_open.add(descriptor)
        self.folders_opened += bool(flags & ANY_FOLDER)
        return descriptor

    def open_again(self, descriptor: int) -> int:
        twin = super().open_again(descriptor)
        self.is_open.add(twin)
        return twin

    def close(self, descriptor: int) -> None:
        self.is_open.remove(descriptor)
        super().close(descriptor)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
def names(tmp_path: Path) -> list[PurePosixPath]:
    names = [PurePosixPath("top", "deep", str(number)) for number in range(FILES)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name.name)
    return names


def read_all(handles: FileHandles) -> list[str]:
    found = []
    for number in range(FILES):
        with handles.lease(number) as descriptor:
            found.append(os.pread(descriptor, 10, 0).decode())
    return found


def test_many_files_of_a_folder_are_read_by_one_way_into_it(
    disk: CountingDisk, names: list[PurePosixPath], tmp_path: Path
) -> None:
    handles = FileHandles(tmp_path, names, disk=disk)
    assert read_all(handles) == [name.name for name in names]
    assert disk.folders_opened == len(names[0].parts)  # the root, and those below it
    handles.close()
    assert not disk.is_open


def test_after_a_rename_the_folder_is_found_by_its_new_name(
    disk: CountingDisk, names: list[PurePosixPath], tmp_path: Path
) -> None:
    handles = FileHandles(tmp_path, names, disk=disk)
    read_all(handles)
    with handles.renaming([PurePosixPath("new", *name.parts[1:]) for name in names]):
        (tmp_path / "top").rename(tmp_path / "new")
    before = disk.folders_opened
    assert read_all(handles) == [name.name for name in names]
    assert disk.folders_opened > before
    handles.close()
    assert not disk.is_open


def test_a_folder_that_is_missing_leaves_nothing_open(
    disk: CountingDisk, names: list[PurePosixPath], tmp_path: Path
) -> None:
    handles = FileHandles(tmp_path, [PurePosixPath("top", "gone", "0")], disk=disk)
    with pytest.raises(FileNotFoundError), handles.lease(0):
        pass
    assert not disk.is_open


def test_a_link_where_a_folder_should_be_is_not_followed(
    disk: CountingDisk, names: list[PurePosixPath], tmp_path: Path
) -> None:
    (tmp_path / "top" / "link").symlink_to(tmp_path / "top" / "deep")
    handles = FileHandles(tmp_path, [PurePosixPath("top", "link", "0")], disk=disk)
    with pytest.raises(NotADirectoryError), handles.lease(0):
        pass
    assert not disk.is_open
