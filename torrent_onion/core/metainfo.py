"""Torrents: the ``info`` dictionary that names one, and the .torrent file around it.

- An info-hash is of the bytes as they were received (BEP 52, "infohash"), so ``Info.raw`` is kept
  and nothing is ever encoded again.
- What other clients read is read: keys nobody knows, keys out of order, odd UTF-8, empty files.
  What cannot be downloaded, or means different files to different clients, is refused with the
  reason.
- What is written has ``info``, trackers, web seeds, piece layers and a comment if there is one:
  nothing that says who wrote it, with what or when.

Specifications: BEP 3, 12 (tiers), 19 (web seeds), 27 (private), 47 (pad files), 52 (version 2).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from torrent_onion.core.bencoding import (
    INFO_LIMITS,
    METAINFO_LIMITS,
    Buffer,
    Encodable,
    Value,
    decode,
    decode_with_span,
    encode,
)
from torrent_onion.core.identity import V1_HASH_LENGTH, InfoHashes
from torrent_onion.core.merkle import HASH_LENGTH, root_of_piece_layer
from torrent_onion.core.metainfo_files import (
    Dictionary,
    FileEntry,
    merge_hybrid,
    read_v1_files,
    read_v2_files,
    refuse,
    round_up,
    to_text,
    unknown_file_keys,
)
from torrent_onion.core.piece_layout import BLOCK_SIZE, PieceLayout
from torrent_onion.errors import BencodeError, MetainfoError

__all__ = [
    "FileEntry",
    "Info",
    "Metainfo",
    "TorrentFormat",
    "hash_info",
    "make_layout",
    "parse_info",
    "parse_metainfo",
    "read_info",
]

META_VERSION: Final = 2
MAX_PIECE_LENGTH: Final = 128 * 1024 * 1024
"""Bytes. A piece is held in memory until it is whole; 16 MiB is the most that is in common use."""
MAX_PIECES: Final = 1 << 21
"""As many as libtorrent takes; a bitfield of 256 KiB."""
MAX_TRACKERS: Final = 100
MAX_WEB_SEEDS: Final = 100
MAX_EXTRA_KEYS: Final = 100

_METAINFO_KEYS: Final = frozenset(
    {b"announce", b"announce-list", b"comment", b"info", b"piece layers", b"url-list"}
)
_INFO_KEYS: Final = frozenset(
    {
        b"attr",
        b"file tree",
        b"files",
        b"length",
        b"meta version",
        b"name",
        b"name.utf-8",
        b"piece length",
        b"pieces",
        b"private",
        b"symlink path",
    }
)


class TorrentFormat(Enum):
    """Which specification a torrent follows."""

    V1 = "v1"
    """BEP 3 alone: SHA-1 of pieces."""
    V2 = "v2"
    """BEP 52 alone: SHA-256 trees of files."""
    HYBRID = "hybrid"
    """Both, for the same files."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a torrent is: the content of its info dictionary.

    Args:
        name: Of the file or folder, as the torrent has it: not safe to be used on a disk.
        format: Which hashes there are.
        piece_length: Bytes.
        files: In the order of their data, pad files included.
        is_single_file: There is no folder; the only file has the torrent's name.
        piece_hashes: 20 bytes a piece (SHA-1); empty in version 2 alone.
        private: Peers come from its trackers and from nowhere else (BEP 27).
        raw: The bencoded dictionary, exactly as received.
        info_hashes: Of ``raw``.
        layout: Where pieces lie in ``files``.
        total_length: Bytes of data, pad files not counted.
        extra_keys: Keys with no meaning here, ``info.source`` and so on; see :class:`Metainfo`.
    """

    name: str
    format: TorrentFormat
    piece_length: int
    files: tuple[FileEntry, ...] = field(repr=False)
    is_single_file: bool
    piece_hashes: bytes = field(repr=False)
    private: bool
    raw: bytes = field(repr=False)
    info_hashes: InfoHashes
    layout: PieceLayout = field(repr=False, compare=False)
    total_length: int
    extra_keys: tuple[str, ...]

    def piece_hash(self, index: int) -> bytes:
        """Return the SHA-1 of a piece.

        Raises:
            IndexError: There is no such piece, or version 2 alone has other hashes.
        """
        start = index * V1_HASH_LENGTH
        if not 0 <= start < len(self.piece_hashes):
            raise IndexError(f"piece {index} has no SHA-1")
        return self.piece_hashes[start : start + V1_HASH_LENGTH]

    def data_length(self, index: int) -> int:
        """Return how many bytes of a piece are data, padding not counted."""
        return self.layout.data_length(index, 0, self.layout.piece_size(index))


@dataclass(frozen=True, slots=True)
class Metainfo:
    """A .torrent file.

    Args:
        info: What the torrent is.
        trackers: Announce URLs in tiers (BEP 12).
        web_seeds: URLs (BEP 19).
        piece_layers: For each file longer than a piece: its root -> 32 bytes a piece (BEP 52).
        comment: What its maker says.
        extra_keys: Every other key it has, those inside ``info`` too: who made it, when and with
            what. Never written again.
    """

    info: Info
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()
    piece_layers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    comment: str | None = None
    extra_keys: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes of the .torrent file."""
        around: dict[bytes, Encodable] = {}
        tiers = [[tracker.encode() for tracker in tier] for tier in self.trackers]
        if tiers:
            around[b"announce"] = tiers[0][0]
        if tiers and (len(tiers) > 1 or len(tiers[0]) > 1):
            around[b"announce-list"] = tiers
        if self.comment is not None:
            around[b"comment"] = self.comment.encode()
        if self.info.format is not TorrentFormat.V1:
            around[b"piece layers"] = dict(self.piece_layers)
        if self.web_seeds:
            around[b"url-list"] = [url.encode() for url in self.web_seeds]
        parts = {key: encode(value) for key, value in around.items()}
        parts[b"info"] = self.info.raw
        return b"d%be" % b"".join(encode(key) + parts[key] for key in sorted(parts))


def make_layout(
    files: tuple[FileEntry, ...], piece_length: int, torrent_format: TorrentFormat
) -> PieceLayout:
    """Return where the pieces of a torrent lie: version 2 alone aligns files without pad files."""
    return PieceLayout(
        piece_length,
        [entry.length for entry in files],
        aligned=torrent_format is TorrentFormat.V2,
        padding=[number for number, entry in enumerate(files) if entry.is_pad],
    )


def hash_info(raw: bytes, torrent_format: TorrentFormat) -> InfoHashes:
    """Return the info-hashes of an info dictionary, which is given as its bytes."""
    v1 = v2 = None
    if torrent_format is not TorrentFormat.V2:
        v1 = hashlib.sha1(raw, usedforsecurity=False).digest()
    if torrent_format is not TorrentFormat.V1:
        v2 = hashlib.sha256(raw).digest()
    return InfoHashes(v1=v1, v2=v2)


def parse_metainfo(data: bytes) -> Metainfo:
    """Read a .torrent file.

    Raises:
        MetainfoError: It is none, or must be refused; the text says why.
    """
    # An editor or a mail program may have added an end of line; a dictionary ends with "e".
    data = data.rstrip(b"\r\n")
    try:
        top, raw = decode_with_span(data, b"info", limits=METAINFO_LIMITS, canonical=False)
    except BencodeError as error:
        raise _unreadable(error) from error
    if len(raw) > INFO_LIMITS.max_bytes:
        raise refuse(f"its info dictionary has more than {INFO_LIMITS.max_bytes} bytes")
    info = read_info(top.get(b"info"), raw)
    extra = sorted(map(to_text, top.keys() - _METAINFO_KEYS))[:MAX_EXTRA_KEYS]
    return Metainfo(
        info=info,
        trackers=_trackers(top),
        web_seeds=_web_seeds(top.get(b"url-list")),
        piece_layers=_piece_layers(top.get(b"piece layers"), info),
        comment=_text(top.get(b"comment")) or None,
        extra_keys=(*extra, *info.extra_keys),
    )


def parse_info(raw: Buffer) -> Info:
    """Read an info dictionary that came without a .torrent file around it (BEP 9).

    Args:
        raw: Its bytes; compare ``info_hashes`` of the result with what was asked for.

    Raises:
        MetainfoError: It is none, or must be refused; the text says why.
    """
    try:
        value = decode(raw, limits=INFO_LIMITS, canonical=False)
    except BencodeError as error:
        raise _unreadable(error) from error
    return read_info(value, bytes(raw))


def read_info(value: Value | None, raw: bytes) -> Info:
    """Read an info dictionary that is decoded already.

    Args:
        value: What decoding ``raw`` gives.
        raw: Its bytes.

    Raises:
        MetainfoError: It must be refused; the text says why.
    """
    if not isinstance(value, dict):
        raise refuse("it has no info dictionary")
    torrent_format = _format(value)
    piece_length = _piece_length(value, torrent_format)
    name = _name(value)
    files = _files(value, name, piece_length, torrent_format)
    total_length = sum(entry.length for entry in files if not entry.is_pad)
    if total_length == 0:
        raise refuse("it holds no data")
    layout = _layout(files, piece_length, torrent_format)
    return Info(
        name=name,
        format=torrent_format,
        piece_length=piece_length,
        files=files,
        is_single_file=_is_single_file(value, name, files, torrent_format),
        piece_hashes=_piece_hashes(value, layout, torrent_format),
        private=value.get(b"private") not in (None, 0),
        raw=raw,
        info_hashes=hash_info(raw, torrent_format),
        layout=layout,
        total_length=total_length,
        extra_keys=_extra_info_keys(value),
    )


def _format(info: Dictionary) -> TorrentFormat:
    # Asked before anything else: what a newer version changed would look like damage (BEP 52).
    version = info.get(b"meta version")
    if isinstance(version, int) and version > META_VERSION:
        raise MetainfoError(
            f"This torrent is of version {version}, which is not known yet; update the program."
        )
    if version != META_VERSION:
        if b"file tree" in info and b"pieces" not in info:
            raise refuse("it has a file tree but does not say its version")
        return TorrentFormat.V1
    # Half of a version 1 beside a version 2 is no version 1.
    has_v1 = b"pieces" in info and (b"files" in info or b"length" in info)
    return TorrentFormat.HYBRID if has_v1 else TorrentFormat.V2


def _piece_length(info: Dictionary, torrent_format: TorrentFormat) -> int:
    length = info.get(b"piece length")
    if not isinstance(length, int) or not 1 <= length <= MAX_PIECE_LENGTH:
        raise refuse("its pieces have no possible length")
    is_power_of_two = length & (length - 1) == 0
    if torrent_format is not TorrentFormat.V1 and not (is_power_of_two and length >= BLOCK_SIZE):
        raise refuse("the length of its pieces is not one that version 2 allows")
    return length


def _name(info: Dictionary) -> str:
    name = info.get(b"name.utf-8")
    if not isinstance(name, bytes):
        name = info.get(b"name")
    if not isinstance(name, bytes):
        raise refuse("it has no name")
    return to_text(name)


def _files(
    info: Dictionary, name: str, piece_length: int, torrent_format: TorrentFormat
) -> tuple[FileEntry, ...]:
    if torrent_format is TorrentFormat.V1:
        return read_v1_files(info, name)
    v2_files = read_v2_files(info)
    if torrent_format is TorrentFormat.V2:
        return v2_files
    return merge_hybrid(read_v1_files(info, name), v2_files, piece_length)


def _layout(
    files: tuple[FileEntry, ...], piece_length: int, torrent_format: TorrentFormat
) -> PieceLayout:
    # First the sum alone: a layout keeps offsets, and they must fit into 64 bits.
    if sum(entry.length for entry in files) <= MAX_PIECES * piece_length:
        layout = make_layout(files, piece_length, torrent_format)
        if layout.num_pieces <= MAX_PIECES:
            return layout
    raise refuse(f"it has more than {MAX_PIECES:,} pieces")


def _is_single_file(
    info: Dictionary, name: str, files: tuple[FileEntry, ...], torrent_format: TorrentFormat
) -> bool:
    if torrent_format is TorrentFormat.V2:
        # Version 2 has no other mark; a file of another name was alone in a folder.
        return len(files) == 1 and files[0].path == (name,)
    return b"files" not in info


def _piece_hashes(info: Dictionary, layout: PieceLayout, torrent_format: TorrentFormat) -> bytes:
    if torrent_format is TorrentFormat.V2:
        return b""
    hashes = info.get(b"pieces")
    if not isinstance(hashes, bytes) or len(hashes) != layout.num_pieces * V1_HASH_LENGTH:
        raise refuse("it does not have one hash for each piece")
    return hashes


def _extra_info_keys(info: Dictionary) -> tuple[str, ...]:
    keys = [f"info.{to_text(key)}" for key in info.keys() - _INFO_KEYS]
    keys += [f"info.files.{to_text(key)}" for key in unknown_file_keys(info)]
    return tuple(sorted(keys)[:MAX_EXTRA_KEYS])


def _trackers(top: Dictionary) -> tuple[tuple[str, ...], ...]:
    """Return the tiers; ``announce`` counts only where there is no list (BEP 12)."""
    tiers: list[tuple[str, ...]] = []
    left = MAX_TRACKERS
    listed = top.get(b"announce-list")
    for tier in listed if isinstance(listed, list) else ():
        trackers = _texts(tier)[:left]
        left -= len(trackers)
        if trackers:
            tiers.append(trackers)
    alone = _texts([top.get(b"announce", b"")])
    return tuple(tiers) or ((alone,) if alone else ())


def _web_seeds(value: Value | None) -> tuple[str, ...]:
    urls = _texts(value if isinstance(value, list) else [value or b""])
    return tuple(dict.fromkeys(urls))[:MAX_WEB_SEEDS]


def _texts(value: Value) -> tuple[str, ...]:
    """Return the texts of a list; what is none, or empty, is left out."""
    if not isinstance(value, list):
        return ()
    return tuple(text for text in map(_text, value) if text)


def _text(value: Value | None) -> str:
    return to_text(value).strip() if isinstance(value, bytes) else ""


def _piece_layers(value: Value | None, info: Info) -> dict[bytes, bytes]:
    if info.format is TorrentFormat.V1:
        return {}
    given = value if isinstance(value, dict) else {}
    layers: dict[bytes, bytes] = {}
    for entry in info.files:
        root = entry.pieces_root
        if root is None or entry.length <= info.piece_length:
            continue
        if root not in layers:
            layers[root] = _piece_layer(given.get(root), root, info.piece_length)
        num_pieces = round_up(entry.length, info.piece_length) // info.piece_length
        if len(layers[root]) != num_pieces * HASH_LENGTH:
            raise refuse("a piece layer does not have one hash for each piece")
    return layers


def _piece_layer(value: Value | None, root: bytes, piece_length: int) -> bytes:
    if not isinstance(value, bytes):
        raise refuse("it lacks the hashes of a file's pieces; fetch it by its magnet link")
    if not value or len(value) % HASH_LENGTH or root_of_piece_layer(value, piece_length) != root:
        raise refuse("a piece layer does not lead to the root of its file")
    return value


def _unreadable(error: BencodeError) -> MetainfoError:
    return MetainfoError(f"This is no torrent, or a damaged one. {error}")
