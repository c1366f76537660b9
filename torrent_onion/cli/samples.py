"""Sample documents for the demo: a small folder with everything that is easy to get wrong."""

import os
from pathlib import Path

_LARGE = 16_000_000
"""Bytes of the largest file: a few seconds through one circuit, so that a rate means something."""

_TEXTS = {
    "read me.txt": "These are samples. They were made by torrent-onion demo.\n",
    "empty file.txt": "",
    "minutes/2026/january/protokół.txt": "Zażółć gęślą jaźń\n" * 1000,
    "minutes/2026/février/café.txt": "Les œuvres complètes\n" * 1000,
    "letters/Ελλάδα/γράμμα.txt": "Καλημέρα κόσμε\n" * 1000,
    "letters/中文/信.txt": "你好，世界\n" * 1000,
    "letters/العربية/رسالة.txt": "مرحبا بالعالم\n" * 1000,
}


def write_samples(folder: Path) -> tuple[int, int]:
    """Write them below the folder, which is made.

    Returns:
        The number of files, and of bytes.
    """
    contents = {name: words.encode() for name, words in _TEXTS.items()}
    contents["photographs/large.bin"] = os.urandom(_LARGE)
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return len(contents), sum(map(len, contents.values()))


def differences(one: Path, other: Path) -> list[str]:
    """Compare two folders byte for byte.

    Returns:
        Names, relative to the folders, of whatever is not the same in both.
    """
    names = {path.relative_to(root) for root in (one, other) for path in root.rglob("*")}
    return sorted(str(name) for name in names if not _is_same(one / name, other / name))


def _is_same(one: Path, other: Path) -> bool:
    if one.is_dir() and other.is_dir():
        return True
    if one.is_file() and other.is_file():
        return one.read_bytes() == other.read_bytes()
    return False
