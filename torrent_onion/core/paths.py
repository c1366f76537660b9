"""From the names in a torrent to paths that are safe to write below a folder.

- Names come from strangers. What could lead out of the folder, hit a device, hide its own ending or
  run into another name is replaced, in the same way on every system and in every run.
- No two files of a torrent get the same path, even where a file system does not tell ``A`` from
  ``a``, or one way to write ``é`` from the other; and no file gets the path of a folder.
- A name that is safe stays as it is, to the byte. The characters ``< > " | ? *`` are among those:
  only Windows forbids them, and refuses them itself.

This is for downloads. What somebody shares is found under the names it was listed by.
"""

import re
import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final

from torrent_onion.core.metainfo_files import FileEntry
from torrent_onion.errors import PathError

MAX_NAME_BYTES: Final = 255
"""What common file systems allow for one name, in UTF-8."""
MAX_TOP_BYTES: Final = MAX_NAME_BYTES - 16
"""For the top name, which gets a suffix while the download is incomplete."""
MAX_PATH_BYTES: Final = 3072
"""Below the folder; Linux takes 4096 in all, and the folder needs some."""
PAD_FOLDER: Final = ".pad"

_REPLACEMENT: Final = "_"
# Separators of paths, drives and streams somewhere; controls; marks that change the direction of
# text, so that "gpj.exe" is shown as "exe.jpg"; line separators; halves of surrogate pairs.
_UNSAFE_CHARACTERS = re.compile(
    "[/\\\\:\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufeff]"
)
# Devices of Windows, in every folder and with any ending (Microsoft: "Naming Files, Paths, and
# Namespaces"); the superscript digits count too.
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
).fullmatch
_IGNORED_IN_NAMES = re.compile("[\u200b-\u200d\u2060-\u2064]")
"""Invisible; HFS+ compares names without them."""
_STRIPPED_BY_WINDOWS: Final = (".", " ")
_MAX_ENDING_BYTES: Final = 16
"""A longer "ending" is just a dot in a name."""
_DIGEST_LENGTH: Final = 8
"""Hex digits that tell two shortened names apart."""


def safe_paths(
    info_name: str, entries: Sequence[FileEntry], *, is_single_file: bool
) -> list[PurePosixPath]:
    """Return where each file of a torrent goes, relative to the download folder.

    Args:
        info_name: The torrent's name, which becomes its folder.
        entries: Its files.
        is_single_file: There is no folder; ``entries`` has one file, of the torrent's name.

    Returns:
        One path for each entry, in order. Pad files are never written; theirs may be the same.

    Raises:
        PathError: A path is too long for any file system.
    """
    top = safe_name(info_name, MAX_TOP_BYTES)
    # Hidden, and in a home folder perhaps the settings of a shell: ".profile".
    if top.startswith("."):
        top = _REPLACEMENT + top[1:]
    if is_single_file:
        return [PurePosixPath(top)]
    root = _Folder(PurePosixPath(top))
    return [_place(root, entry) for entry in entries]


def safe_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name that is safe as one component of a path, on every common system.

    It is never empty, ``.`` or ``..``, has no separator, and a safe name is returned unchanged.

    Args:
        name: Any text.
        max_bytes: The most that it may take in UTF-8; at least 64.
    """
    safe = _UNSAFE_CHARACTERS.sub(_REPLACEMENT, name)
    if safe.endswith(_STRIPPED_BY_WINDOWS):
        safe = safe[:-1] + _REPLACEMENT
    if not safe or _RESERVED(safe):
        safe = _REPLACEMENT + safe
    if len(safe.encode()) > max_bytes:
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        safe = _shortened(safe, f"~{digest[:_DIGEST_LENGTH]}", max_bytes)
    return safe


class _Folder:
    """A folder of the torrent: who has which name in it."""

    __slots__ = ("_folders", "_next_number", "_taken", "path")

    def __init__(self, path: PurePosixPath) -> None:
        self.path = path
        self._folders: dict[str, _Folder] = {}
        self._taken: set[str] = set()
        self._next_number: dict[str, int] = {}

    def folder(self, name: str) -> "_Folder":
        """Return the folder of this name, the same for each file in it."""
        if name not in self._folders:
            self._folders[name] = _Folder(self.file(name))
        return self._folders[name]

    def file(self, name: str) -> PurePosixPath:
        """Return a path that nothing else has."""
        safe = unique = safe_name(name)
        key = _collision_key(safe)
        while _collision_key(unique) in self._taken:
            # Remembered, so that a thousand equal names are not a million attempts.
            number = self._next_number.get(key, 2)
            self._next_number[key] = number + 1
            unique = _shortened(safe, f" ({number})", MAX_NAME_BYTES)
        self._taken.add(_collision_key(unique))
        return self.path / unique


def _place(root: _Folder, entry: FileEntry) -> PurePosixPath:
    if entry.is_pad:
        return root.path / PAD_FOLDER / str(entry.length)
    folder = root
    for name in entry.path[:-1]:
        folder = folder.folder(name)
    path = folder.file(entry.path[-1])
    if len(str(path).encode()) > MAX_PATH_BYTES:
        raise PathError(
            "This torrent cannot be saved: one of its paths is longer than file systems allow."
        )
    return path


def _collision_key(name: str) -> str:
    """Return what is equal for names that some file system takes for the same one."""
    visible = _IGNORED_IN_NAMES.sub("", name)
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", visible).casefold())


def _shortened(name: str, mark: str, max_bytes: int) -> str:
    """Put a mark before the ending, and cut the name so that all of it is short enough."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) > _MAX_ENDING_BYTES:
        stem, dot, ending = name, "", ""
    room = max_bytes - len((mark + dot + ending).encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore")
    return f"{stem}{mark}{dot}{ending}"
