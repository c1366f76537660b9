"""Folders to share: the same bytes for the same seed, and everything that is easy to get wrong."""

import hashlib
import random
import shutil
import time
from pathlib import Path

CHUNK = 1 << 20

SMALL_FILES = {
    "empty": 0,
    "one byte": 1,
    "a block less one": 16383,
    "nested/folder/of some depth/a block": 16384,
    "nested/folder/a block and one": 16385,
    "nested/another empty file": 0,
    "письма/Ελλάδα/γράμμα.txt": 30_000,
    "文件/中文/信.txt": 20_000,
    "العربية/רשימה.txt": 10_000,
    "combining/e\u0301te\u0301 ÅÄÖ.txt": 5_000,
    "emoji/🧅.txt": 77,
}
"""Bytes by name."""


def make_tree(folder: Path, *, big: int = 0, seed: int = 0) -> Path:
    """Make a folder with small files and, where `big` says so, one of that many bytes.

    Returns:
        The folder.
    """
    rng = random.Random(seed)
    files = SMALL_FILES | ({"big/big.bin": big} if big else {})
    for name, length in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for begin in range(0, length, CHUNK):
                file.write(rng.randbytes(min(CHUNK, length - begin)))
    return folder


HALVES = ("one.bin", "other.bin")
HALF = 1 << 19
"""Bytes; a multiple of every piece size that tests use, so that no piece is in both files."""


def make_halves(folder: Path) -> Path:
    """Make a folder with two files, for peers that have one each and give it to the other.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    for seed, name in enumerate(HALVES):
        (folder / name).write_bytes(random.Random(seed).randbytes(HALF))
    return folder


def take_half(content: Path, name: str, folder: Path) -> Path:
    """Copy one of the :data:`HALVES` to where somebody fetches the whole.

    Returns:
        The folder, which is made.
    """
    (folder / content.name).mkdir(parents=True)
    shutil.copy(content / name, folder / content.name)
    return folder


def assert_same_tree(one: Path, other: Path) -> None:
    """Both have the same files and folders with the same bytes; else say which differ."""
    left, right = _digests(one), _digests(other)
    missing, extra = sorted(left.keys() - right.keys()), sorted(right.keys() - left.keys())
    different = sorted(name for name in left.keys() & right.keys() if left[name] != right[name])
    assert left, f"{one} is empty"
    assert (missing, extra, different) == ([], [], []), (
        f"{other} is not {one}: missing {missing}, extra {extra}, different {different}"
    )


def wait_same_tree(one: Path, other: Path, seconds: float = 90.0) -> None:
    """The same of one that another program is still writing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            assert_same_tree(one, other)
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _digests(root: Path) -> dict[str, str]:
    """By relative name: what a file holds, or that it is a folder."""
    assert root.exists(), f"{root} does not exist"
    paths = [root] if root.is_file() else sorted(root.rglob("*"))
    return {str(path.relative_to(root)): _digest(path) for path in paths}


def _digest(path: Path) -> str:
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"
