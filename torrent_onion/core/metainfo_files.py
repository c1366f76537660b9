"""The files of a torrent as its info dictionary lists them (BEP 3, 47, 52).

- Names stay as the torrent has them: what is safe on a disk is for ``core.paths``. Bytes that are
  no UTF-8 become U+FFFD.
- A v1 list and a v2 tree in one torrent must say the same, down to where each file starts, or the
  torrent is refused: half of its peers would fetch other files than the other half (BEP 52,
  "Upgrade Path").
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from torrent_onion.core.bencoding import Value
from torrent_onion.core.merkle import HASH_LENGTH
from torrent_onion.errors import MetainfoError

Dictionary: TypeAlias = dict[bytes, Value]

MAX_FILE_LENGTH: Final = 1 << 48
"""Bytes; 256 TiB. Sums of lengths stay far inside 64 bits."""
V1_FILE_KEYS: Final = frozenset({b"length", b"path", b"path.utf-8", b"attr", b"symlink path"})
V2_FILE_KEYS: Final = frozenset({b"length", b"pieces root", b"attr", b"symlink path"})
_BITCOMET_PAD: Final = "_____padding_file_"
"""How BitComet named pad files before BEP 47 gave them an attribute."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a torrent.

    Args:
        path: Components below the torrent's folder; of a torrent of one file, its name. As the
            torrent has them: not safe to be used on a disk.
        length: Bytes.
        pieces_root: Root of the file's hash tree, 32 bytes; None in version 1 and for empty files.
        is_pad: Zeros that only let the next file start at a piece boundary (BEP 47).
        symlink: Components of the file that this one is a link to, if it is a link (BEP 47).
        executable: BEP 47 attribute ``x``.
        hidden: BEP 47 attribute ``h``.
    """

    path: tuple[str, ...]
    length: int
    pieces_root: bytes | None = None
    is_pad: bool = False
    symlink: tuple[str, ...] | None = None
    executable: bool = False
    hidden: bool = False


def refuse(reason: str) -> MetainfoError:
    """Return the error that says why a torrent cannot be used."""
    return MetainfoError(f"This torrent cannot be used: {reason}.")


def to_text(value: bytes) -> str:
    """Return the text of a name; bytes that are no UTF-8 become U+FFFD."""
    return value.decode("utf-8", "replace")


def read_v1_files(info: Dictionary, name: str) -> tuple[FileEntry, ...]:
    """Return the files of ``files``, or the one of ``length`` (BEP 3).

    Raises:
        MetainfoError: There are none, or one of them is wrong.
    """
    entries = info.get(b"files")
    if entries is None:
        return (_v1_file(info, (name,)),)
    if not isinstance(entries, list) or not entries:
        raise refuse("it lists no files")
    return tuple(_listed_v1_file(entry) for entry in entries)


def read_v2_files(info: Dictionary) -> tuple[FileEntry, ...]:
    """Return the files of ``file tree`` in the order of its keys (BEP 52).

    Raises:
        MetainfoError: There are none, or one of them is wrong.
    """
    tree = info.get(b"file tree")
    if not isinstance(tree, dict) or b"" in tree:
        raise refuse("it has no file tree")
    files = tuple(_walk(tree, ()))
    if not files:
        raise refuse("it lists no files")
    return files


def merge_hybrid(
    v1_files: Sequence[FileEntry], v2_files: Sequence[FileEntry], piece_length: int
) -> tuple[FileEntry, ...]:
    """Return the v1 list, pad files included, with the roots of the v2 tree.

    Raises:
        MetainfoError: The two do not describe the same files at the same places.
    """
    merged = []
    roots = iter(v2_files)
    start = 0
    next_aligned = 0
    for entry in v1_files:
        if not entry.is_pad:
            twin = next(roots, None)
            if twin is None or _identity(twin) != _identity(entry):
                raise refuse("its two lists of files do not agree")
            if entry.length and start != next_aligned:
                raise refuse("its files do not start where version 2 has them")
            next_aligned += round_up(entry.length, piece_length)
            merged.append(replace(entry, pieces_root=twin.pieces_root))
        else:
            merged.append(entry)
        start += entry.length
    if next(roots, None) is not None:
        raise refuse("its two lists of files do not agree")
    if round_up(start, piece_length) != next_aligned:
        raise refuse("it has more padding than pieces")
    return tuple(merged)


def round_up(length: int, piece_length: int) -> int:
    """Return the length in whole pieces, in bytes."""
    return -(-length // piece_length) * piece_length


def unknown_file_keys(info: Dictionary) -> set[bytes]:
    """Return the keys in the entries of files that say more than needed, such as ``mtime``."""
    unknown: set[bytes] = set()
    entries = info.get(b"files")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            unknown |= entry.keys() - V1_FILE_KEYS
    tree = info.get(b"file tree")
    if isinstance(tree, dict):
        for _, leaf in _leaves(tree, ()):
            unknown |= leaf.keys() - V2_FILE_KEYS
    return unknown


def _identity(entry: FileEntry) -> tuple[object, ...]:
    return entry.path, entry.length, entry.symlink


def _listed_v1_file(entry: Value) -> FileEntry:
    if not isinstance(entry, dict):
        raise refuse("a file in its list is no dictionary")
    path = _path(entry.get(b"path.utf-8")) or _path(entry.get(b"path"))
    if path is None:
        if b"p" not in _attributes(entry):
            raise refuse("a file in its list has no path")
        path = (".pad", str(entry.get(b"length")))
    return _v1_file(entry, path)


def _v1_file(entry: Dictionary, path: tuple[str, ...]) -> FileEntry:
    attributes = _attributes(entry)
    symlink = _path(entry.get(b"symlink path")) if b"l" in attributes else None
    return FileEntry(
        path=path,
        length=0 if symlink else _length(entry),
        is_pad=b"p" in attributes or path[-1].startswith(_BITCOMET_PAD),
        symlink=symlink,
        executable=b"x" in attributes,
        hidden=b"h" in attributes,
    )


def _walk(tree: Dictionary, above: tuple[bytes, ...]) -> Iterator[FileEntry]:
    for path, leaf in _leaves(tree, above):
        yield _v2_file(leaf, tuple(map(to_text, path)))


def _leaves(
    tree: Dictionary, above: tuple[bytes, ...]
) -> Iterator[tuple[tuple[bytes, ...], Dictionary]]:
    last: bytes | None = None
    for name, below in tree.items():
        # The order of the files is that of the pieces, so it must not be left to the reader.
        if last is not None and name < last:
            raise refuse("its file tree is not in order")
        last = name
        if not isinstance(below, dict):
            raise refuse("its file tree is damaged")
        path = (*above, name)
        leaf = below.get(b"")
        if leaf is None:
            yield from _leaves(below, path)
        elif not isinstance(leaf, dict) or len(below) > 1:
            raise refuse("its file tree has a file that is a folder too")
        else:
            yield path, leaf


def _v2_file(leaf: Dictionary, path: tuple[str, ...]) -> FileEntry:
    attributes = _attributes(leaf)
    if b"p" in attributes:
        raise refuse("its file tree has a pad file")
    symlink = _path(leaf.get(b"symlink path")) if b"l" in attributes else None
    length = 0 if symlink else _length(leaf)
    return FileEntry(
        path=path,
        length=length,
        pieces_root=_pieces_root(leaf) if length else None,
        symlink=symlink,
        executable=b"x" in attributes,
        hidden=b"h" in attributes,
    )


def _pieces_root(leaf: Dictionary) -> bytes:
    root = leaf.get(b"pieces root")
    if not isinstance(root, bytes) or len(root) != HASH_LENGTH or not any(root):
        raise refuse("a file in its file tree has no pieces root")
    return root


def _length(entry: Dictionary) -> int:
    length = entry.get(b"length")
    if not isinstance(length, int) or not 0 <= length <= MAX_FILE_LENGTH:
        raise refuse("a file in its list has no possible length")
    return length


def _attributes(entry: Dictionary) -> bytes:
    attributes = entry.get(b"attr")
    return attributes if isinstance(attributes, bytes) else b""


def _path(value: Value | None) -> tuple[str, ...] | None:
    """Return the components of a path, or None if this is no path."""
    if not isinstance(value, list) or not value:
        return None
    return tuple(map(to_text, _only_bytes(value)))


def _only_bytes(values: Iterable[Value]) -> Iterator[bytes]:
    for value in values:
        if not isinstance(value, bytes):
            raise refuse("a path in it is not made of names")
        yield value
