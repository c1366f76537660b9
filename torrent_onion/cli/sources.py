"""What a user names a torrent by: a magnet link, a .torrent file, or ``-`` for standard input.

Reads are bounded, and what cannot be a torrent is refused with a word on what it is instead.
Nothing is fetched from the web: a URL is refused before anything is opened.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torrent_onion.core.magnet import MAX_LENGTH, Magnet, parse_magnet
from torrent_onion.core.metainfo import Metainfo, parse_metainfo
from torrent_onion.errors import MetainfoError, PathError

Source = Metainfo | Magnet

MAX_TORRENT_FILE = 64 << 20
"""Bytes of the largest .torrent file that is read; 100,000 files make about 10 MiB."""

MAX_NAME = 60
"""Characters of a link that stand for it."""

_STDIN = "-"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_INFO_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|[a-z2-7]{32}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UnreadSource:
    """What the user named, fetched but not looked into: it may come from a stranger.

    Args:
        content: A link, or the bytes of a file.
        name: Of where it came from, or the beginning of the link; for messages.
    """

    content: str | bytes
    name: str

    def read(self) -> Source:
        """Understand it.

        Raises:
            MagnetError: A magnet link that names no torrent.
            MetainfoError: It is no torrent.
        """
        if isinstance(self.content, str):
            return parse_magnet(self.content)
        return _read(self.content, self.name)


def fetch_source(text: str) -> UnreadSource:
    """Fetch what the user named.

    Args:
        text: A magnet link, a path, or ``-``.

    Raises:
        MetainfoError: It is too large to be a torrent.
        PathError: It cannot be read.
    """
    if text.lower().startswith("magnet:"):
        return UnreadSource(text, text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…")
    if _URL.match(text):
        raise PathError(
            "Torrent files are not fetched from the web. "
            "Download it with Tor Browser and name the file."
        )
    if text == _STDIN:
        return _fetch(sys.stdin.buffer, "Standard input")
    if not text.strip():
        raise PathError("An empty name names nothing. Name a magnet link or a .torrent file.")
    path = Path(text)
    if _INFO_HASH.fullmatch(text) and not path.exists():
        raise PathError(
            "An info-hash alone is not enough to find anybody. "
            "Ask for the whole link, which begins with magnet:?"
        )
    return _fetch_file(path)


def read_source(text: str) -> Source:
    """Fetch and read at once, where no network is in reach.

    Raises:
        MagnetError, MetainfoError, PathError: As the two do.
    """
    return fetch_source(text).read()


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


def _fetch_file(path: Path) -> UnreadSource:
    try:
        with path.open("rb") as file:
            return _fetch(file, str(path))
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


def _fetch(file: BinaryIO, name: str) -> UnreadSource:
    data = file.read(MAX_TORRENT_FILE + 1)
    if len(data) > MAX_TORRENT_FILE:
        raise MetainfoError(f"{name} is too large for a .torrent file. Check what it is.")
    return UnreadSource(data, name)


def _read(data: bytes, name: str) -> Source:
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
