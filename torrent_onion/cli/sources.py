"""What a user names a torrent by: a magnet link, a .torrent file, or ``-`` for standard input.

Reads are bounded, and what cannot be a torrent is refused with a word on what it is instead.
Nothing is fetched from the web: a URL is refused before anything is opened.
"""

import re
import sys
from pathlib import Path
from typing import BinaryIO

from torrent_onion.core.magnet import MAX_LENGTH, Magnet, parse_magnet
from torrent_onion.core.metainfo import Metainfo, parse_metainfo
from torrent_onion.errors import MetainfoError, PathError

Source = Metainfo | Magnet

MAX_TORRENT_FILE = 64 << 20
"""Bytes of the largest .torrent file that is read; 100,000 files make about 10 MiB."""

_STDIN = "-"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_INFO_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|[a-z2-7]{32}", re.IGNORECASE)


def read_source(text: str) -> Source:
    """Read what the user named.

    Args:
        text: A magnet link, a path, or ``-``.

    Raises:
        MagnetError: A magnet link that names no torrent.
        MetainfoError: What was read is no torrent.
        PathError: It cannot be read.
    """
    if text.lower().startswith("magnet:"):
        return parse_magnet(text)
    if _URL.match(text):
        raise PathError(
            "Torrent files are not fetched from the web. "
            "Download it with Tor Browser and name the file."
        )
    if text == _STDIN:
        return _read(sys.stdin.buffer, "Standard input")
    path = Path(text)
    if _INFO_HASH.fullmatch(text) and not path.exists():
        raise PathError(
            "An info-hash alone is not enough to find anybody. "
            "Ask for the whole link, which begins with magnet:?"
        )
    return _read_file(path)


def read_torrent_file(path: Path) -> Metainfo:
    """Read a .torrent file, and nothing else.

    Raises:
        MetainfoError: It is none.
        PathError: It cannot be read.
    """
    source = read_source(str(path))
    if isinstance(source, Magnet):
        raise MetainfoError("A magnet link holds no hashes to compare with. Name a .torrent file.")
    return source


def _read_file(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            return _read(file, str(path))
    except IsADirectoryError:
        raise PathError(
            f"{path} is a folder. Name a .torrent file; to share a folder use `torrent-onion seed`."
        ) from None
    except FileNotFoundError:
        raise PathError(
            f"There is no file {path}. Check the name, and put a magnet link in quotes."
        ) from None
    except PermissionError:
        raise PathError(f"No permission to read {path}. Change its permissions.") from None


def _read(file: BinaryIO, name: str) -> Source:
    data = file.read(MAX_TORRENT_FILE + 1)
    if len(data) > MAX_TORRENT_FILE:
        raise MetainfoError(f"{name} is too large for a .torrent file. Check what it is.")
    if data[:7].lower() == b"magnet:" and len(data) <= MAX_LENGTH:
        return parse_magnet(data.decode("utf-8", "replace").strip())
    if not data.startswith(b"d"):
        raise MetainfoError(
            f"{name} is {_kind(data)}, not a .torrent file. Check that it was downloaded whole."
        )
    return parse_metainfo(data)


def _kind(data: bytes) -> str:
    """What the data looks like instead, for people."""
    start = data[:1024].lstrip().lower()
    if not data:
        return "empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if b"\0" not in start and start.isascii():
        return "a text file"
    return "something else"
