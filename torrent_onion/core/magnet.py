"""Magnet links: a torrent named by its hash, and where to ask for it (BEP 9, 52, 53).

- A link needs one hash it can be found by; whatever else in it cannot be understood is left out,
  as other clients do. Two exceptions, since the user would wonder: an onion address with a typing
  error, and a choice of files that cannot be read.
- Everything is bounded: a link comes from a web page or a message.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qsl, quote

from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.errors import AddressError, MagnetError

MAX_LENGTH: Final = 64 * 1024
"""Characters; a thousand trackers fit."""
MAX_URLS: Final = 100
"""Trackers, and as many web seeds."""
MAX_PEERS: Final = 100
MAX_SELECTED: Final = 1_000_000
"""Files that a link may choose; and the number of the last one."""

_SCHEME: Final = "magnet:?"
_V1_PREFIX: Final = "urn:btih:"
_V2_PREFIX: Final = "urn:btmh:"
_SHA256_MULTIHASH: Final = "1220"
"""The multihash prefix of a SHA-256: its code, 0x12, and its length, 0x20."""
_BASE32_V1_LENGTH: Final = 32
_V1_HEX = re.compile(r"[0-9a-f]{40}").fullmatch
_V2_HEX = re.compile(_SHA256_MULTIHASH + r"([0-9a-f]{64})").fullmatch
# Links with several of a kind may number them: tr.1, tr.2.
_NUMBERED_KEY = re.compile(r"(.+?)(?:\.[0-9]+)?").fullmatch
_SELECTION = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?").fullmatch


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet link says.

    Args:
        info_hashes: Of the torrent.
        name: To be shown until the torrent is known.
        trackers: Announce URLs.
        web_seeds: URLs (BEP 19).
        peers: Who has it (``x.pe``).
        select_only: Numbers of the files that are wanted, in order; None for all (BEP 53).
    """

    info_hashes: InfoHashes
    name: str | None = None
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[PeerAddress, ...] = ()
    select_only: tuple[int, ...] | None = None

    def to_uri(self) -> str:
        """Return the link; its hashes first, in hex."""
        return _SCHEME + "&".join(f"{key}={value}" for key, value in self._parameters())

    def _parameters(self) -> Iterator[tuple[str, str]]:
        if self.info_hashes.v1 is not None:
            yield "xt", _V1_PREFIX + self.info_hashes.v1.hex()
        if self.info_hashes.v2 is not None:
            yield "xt", _V2_PREFIX + _SHA256_MULTIHASH + self.info_hashes.v2.hex()
        if self.name:
            yield "dn", quote(self.name, safe="")
        for tracker in self.trackers:
            yield "tr", quote(tracker, safe="")
        for url in self.web_seeds:
            yield "ws", quote(url, safe="")
        for peer in self.peers:
            yield "x.pe", quote(str(peer), safe=":")
        if self.select_only is not None:
            yield "so", ",".join(_ranges(self.select_only))


def parse_magnet(text: str) -> Magnet:
    """Read a magnet link.

    Raises:
        MagnetError: It is none, names no torrent, or has one of the errors above.
    """
    if text[: len(_SCHEME)].lower() != _SCHEME:
        raise MagnetError("A magnet link begins with magnet:?; copy it again, whole.")
    if len(text) > MAX_LENGTH:
        raise MagnetError(f"This magnet link is longer than {MAX_LENGTH} characters.")
    parameters: dict[str, list[str]] = {}
    for key, value in parse_qsl(text[len(_SCHEME) :], errors="replace"):
        match = _NUMBERED_KEY(key.lower())
        if match is not None and value.strip():
            parameters.setdefault(match[1], []).append(value.strip())
    return Magnet(
        info_hashes=_info_hashes(parameters.get("xt", ())),
        name=next(iter(parameters.get("dn", ())), None),
        trackers=_urls(parameters.get("tr", ())),
        web_seeds=_urls(parameters.get("ws", ())),
        peers=_peers(parameters.get("x.pe", ())),
        select_only=_selection(parameters.get("so", ())),
    )


def _info_hashes(topics: Iterable[str]) -> InfoHashes:
    v1: set[bytes] = set()
    v2: set[bytes] = set()
    for topic in map(str.lower, topics):
        if topic.startswith(_V1_PREFIX):
            v1.add(_v1_hash(topic.removeprefix(_V1_PREFIX)))
        elif topic.startswith(_V2_PREFIX):
            v2.add(_v2_hash(topic.removeprefix(_V2_PREFIX)))
    if not v1 and not v2:
        raise MagnetError("This magnet link names no torrent; it has neither btih nor btmh.")
    if len(v1) > 1 or len(v2) > 1:
        raise MagnetError("This magnet link names two torrents; use one link for each.")
    return InfoHashes(v1=next(iter(v1), None), v2=next(iter(v2), None))


def _v1_hash(text: str) -> bytes:
    if _V1_HEX(text):
        return bytes.fromhex(text)
    if len(text) == _BASE32_V1_LENGTH:
        try:
            return base64.b32decode(text.upper())
        except (binascii.Error, ValueError):
            pass
    raise MagnetError("The hash in this magnet link is damaged; copy the link again, whole.")


def _v2_hash(text: str) -> bytes:
    match = _V2_HEX(text)
    if match is None:
        raise MagnetError("The hash in this magnet link is damaged; copy the link again, whole.")
    return bytes.fromhex(match[1])


def _urls(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))[:MAX_URLS]


def _peers(values: Iterable[str]) -> tuple[PeerAddress, ...]:
    peers: dict[PeerAddress, None] = {}
    for value in values:
        try:
            peers[PeerAddress.parse(value)] = None
        except AddressError as error:
            if ".onion" in value.lower():
                raise MagnetError(f"A peer in this magnet link is damaged. {error}") from error
    return tuple(peers)[:MAX_PEERS]


def _selection(values: Sequence[str]) -> tuple[int, ...] | None:
    if not values:
        return None
    chosen: set[int] = set()
    for part in ",".join(values).split(","):
        match = _SELECTION(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last >= MAX_SELECTED:
            raise MagnetError("The choice of files in this magnet link (so=) cannot be read.")
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Yield ``4`` and ``6-8`` for sorted numbers."""
    gaps = [i for i, (one, other) in enumerate(pairwise(numbers), 1) if other != one + 1]
    for start, end in pairwise([0, *gaps, len(numbers)]):
        first, last = numbers[start], numbers[end - 1]
        yield str(first) if first == last else f"{first}-{last}"
