"""What in a .torrent file could identify somebody: who made it, with what, when and where.

Keys that no client needs (``created by``, ``creation date``, ``info.source``, ``nodes``, whatever
is unknown) are named as they are; of what is needed, only what looks like somebody's own.
"""

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from urllib.parse import urlsplit

from torrent_onion.core.metainfo import Metainfo

_KEY = re.compile(r"(?=.*[0-9])[0-9A-Za-z_-]{16,}")
"""A part of a path like those by which private trackers know their users."""

_DRIVE = re.compile(r"[A-Za-z]:([\\/].*)?")
_HOMES = frozenset({"home", "users", "documents and settings"})
"""Folders whose folders have the names of users."""


def telling(metainfo: Metainfo) -> list[str]:
    """What it holds beyond its content, and somebody has put there; not safe to print."""
    return list(_telling(metainfo))


def _telling(metainfo: Metainfo) -> Iterator[str]:
    if metainfo.comment:
        yield "comment"
    yield from (key for key in metainfo.extra_keys if key != "comment")
    if any(map(_holds_key, chain.from_iterable(metainfo.trackers))):
        yield "a key in the address of a tracker"
    if any(map(_holds_key, metainfo.web_seeds)):
        yield "a key in the address of a web seed"
    names = [(metainfo.info.name,), *((metainfo.info.name, *e.path) for e in metainfo.info.files)]
    if any(map(_names_a_user, names)):
        yield "a user's folder in the names of files"


def _holds_key(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address
        return True
    has_key = any(_KEY.fullmatch(part) for part in parts.path.split("/"))
    return "@" in parts.netloc or bool(parts.query) or has_key


def _names_a_user(path: tuple[str, ...]) -> bool:
    parts = [part for name in path for part in re.split(r"[\\/]", name) if part]
    in_home = any(above.lower() in _HOMES for above, _ in pairwise(parts[:-1]))
    return in_home or any(_DRIVE.fullmatch(part) for part in parts)
