"""Scan, file handles, read cache: the small parts around storage."""

import os
import threading
from pathlib import Path, PurePosixPath

import pytest

from torrent_onion.core.piece_layout import PieceLayout
from torrent_onion.engine.file_handles import MAX_OPEN_FILES, FileHandles
from torrent_onion.engine.read_cache import MAX_WINDOWS, WINDOW, ReadCache
from torrent_onion.engine.scan import scan
from torrent_onion.errors import PathError, StorageError


def test_a_scan_lists_files_in_a_fixed_order_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("b.txt", "a/x", ".hidden", "Thumbs.db", "notes~", "a/.DS_Store", ".git/config"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("12345")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    found = scan(tmp_path)
    assert [file.path for file in found.files] == [("a", "x"), ("b.txt",)]
    assert {text.split(" (")[0] for text in found.left_out} == {
        ".git",
        ".hidden",
        "Thumbs.db",
        "a/.DS_Store",
        "link",
        "notes~",
        "pipe",
    }
    everything = scan(tmp_path, include_hidden=True)
    assert (".git", "config") in [file.path for file in everything.files]
    assert [text.split(" (")[0] for text in everything.left_out] == ["link", "pipe"]


def test_a_scan_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="No file"):
        scan(tmp_path)
    with pytest.raises(StorageError, match="is gone"):
        scan(tmp_path / "missing")
    with pytest.raises(PathError, match="neither a file nor a folder"):
        scan(Path("/dev/null"))


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")).write_text("x")
    with pytest.raises(PathError, match="not valid UTF-8"):
        scan(tmp_path)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_bounded_and_shared(tmp_path: Path) -> None:
    names = [PurePosixPath(f"folder/{number}") for number in range(MAX_OPEN_FILES + 20)]
    handles = FileHandles(tmp_path, names, read_only=())
    before = open_descriptors()
    for index in range(len(names)):
        with handles.lease(index, make=True) as fd:
            os.write(fd, b"x")
    assert open_descriptors() - before == MAX_OPEN_FILES
    with handles.lease(0) as first, handles.lease(0) as again:
        assert first == again
        handles.close()
        os.write(first, b"still open")
    handles.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("planted", ["folder", "folder/file"])
def test_no_planted_link_leads_out_of_the_root(tmp_path: Path, planted: str) -> None:
    outside = tmp_path / "outside"
    (outside / "file").parent.mkdir()
    root = tmp_path / "root"
    (root / planted).parent.mkdir(parents=True)
    (root / planted).symlink_to(outside)
    handles = FileHandles(root, [PurePosixPath("folder/file")], read_only=())
    with (
        pytest.raises(OSError, match=r"symbolic links|Not a directory"),
        handles.lease(0, make=True),
    ):
        pass
    assert list(outside.iterdir()) == []


def test_who_opens_a_file_while_it_is_renamed_waits_for_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"data")
    handles = FileHandles(tmp_path, [PurePosixPath("old")])
    read: list[bytes] = []

    def upload() -> None:
        with handles.lease(0) as fd:
            read.append(os.pread(fd, 4, 0))

    thread = threading.Thread(target=upload)
    with handles.renaming([PurePosixPath("new")]):
        (tmp_path / "old").rename(tmp_path / "new")
        thread.start()
        thread.join(0.1)  # it has looked for the old name by then, or looks for the new one later
        assert read == []
    thread.join()
    assert read == [b"data"]
    handles.close()


def test_a_file_that_is_only_read_is_never_made(tmp_path: Path) -> None:
    handles = FileHandles(tmp_path, [PurePosixPath("file")])
    with pytest.raises(FileNotFoundError), handles.lease(0, make=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_reads_come_in_windows_and_the_cache_is_bounded() -> None:
    reads: list[tuple[int, int, int]] = []

    def read(index: int, begin: int, length: int) -> bytearray:
        reads.append((index, begin, length))
        return bytearray(bytes([index]) * length)

    layout = PieceLayout(2 * WINDOW, [2 * WINDOW * 20 + 5])
    cache = ReadCache(layout, read)
    assert cache.get(0, 0, 16384) is None
    window = cache.fill(3, 16384, 16384)
    assert bytes(window.part(16384, 16384)) == bytes([3]) * 16384
    assert reads == [(3, 0, WINDOW)]
    assert cache.get(3, WINDOW - 16384, 16384) is window
    assert cache.get(3, WINDOW, 16384) is None
    assert len(cache.fill(20, 0, 5).part(0, 5)) == 5
    assert reads[-1] == (20, 0, 5)
    assert len(cache.fill(4, WINDOW - 5, 10).part(WINDOW - 5, 10)) == 10  # over two windows
    for index in range(MAX_WINDOWS):
        cache.fill(index + 5, 0, 1)
    assert cache.get(3, 0, 1) is None
