"""What a tracker understands and what it answers (BEP 3, 7, 23, 31, 48), without HTTP.

Rules:

- A query is bounded, and every parameter is what it should be or the request is refused with a
  reason. Parameters that say nothing of use to a tracker are not looked at, among them ``ip`` as an
  IP address: behind an onion service nobody's IP address is known, so none can be believed.
- An onion is given to others only after :func:`is_proven`: anybody can *name* an onion, and could
  so send a crowd to somebody who has nothing to do with it.
- Who proves an onion speaks this program's dialect and gets ``peers_onion``. Everybody else gets
  ``peers`` as dictionaries whose ``ip`` is an onion, whether they asked for ``compact`` or not
  (BiglyBT asks for it, and reads dictionaries): the compact form of BEP 23 has no room for onions.
- What is answered never tells who else has asked, how, or from where.

A proof can be repeated for some minutes, by somebody who has seen it: only the tracker itself. All
that a repeated proof can do is to announce the same onion for the same torrent once more.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.identity import COMPACT_ONION_LENGTH, V1_HASH_LENGTH, PeerAddress
from torrent_onion.errors import RemoteError
from torrent_onion.protocol.tracker import AnnounceEvent, onion_proof_message

MAX_QUERY: Final = 6 * 1024
"""Bytes; an announce has 700 at most, a scrape 71 for each torrent."""
MAX_SCRAPE: Final = 64
"""Torrents of one scrape; as many as opentracker's."""
DEFAULT_PEERS: Final = 50
"""Given to who does not say how many it wants (BEP 3)."""
MAX_PEERS: Final = 200
"""Given to who wants more; as many as our own clients want."""
MAX_DICTIONARY_PEERS: Final = 50
"""Of those that take three times the room, and many times the work."""
PROOF_MINUTES: Final = 3
"""How far the clock of who proves an onion may be off, either way, its way through Tor included."""

INTERVAL: Final = 30 * 60
"""Seconds until the next announce; what most trackers want."""
LONELY_INTERVAL: Final = 5 * 60
"""The same for who fetches and could be given nobody: the first seed may come any time."""
MIN_INTERVAL: Final = 60
"""Seconds that must be between two announces."""

_REMEMBERED_PEERS: Final = 32_768
"""Dictionaries that are not made anew each time they are given; 16 MB at most."""
_KEY_LENGTH: Final = COMPACT_ONION_LENGTH - 2
_PEER_ID_LENGTH: Final = 20
_SIGNATURE_LENGTH: Final = 64
_MAX_PORT: Final = 65535
_ONION = re.compile(rb"([a-zA-Z2-7]{56})\.onion").fullmatch
_BAD_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})").search
_NUMBER = re.compile(rb"[0-9]{1,19}").fullmatch
_EVENTS: Final = {event.value.encode(): event for event in AnnounceEvent}
_NO_EVENTS: Final = frozenset({b"", b"empty"})
_USED: Final = frozenset(
    {b"info_hash", b"peer_id", b"port", b"left", b"event", b"numwant", b"ip", b"onion_sig"}
)


class BadQuery(RemoteError):
    """A request that is no announce or scrape. The text goes to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Announce:
    """One announce, as far as a tracker needs it.

    Attributes:
        info_hash: 20 bytes.
        peer_id: 20 bytes; never given to anybody.
        is_seed: nothing is left to fetch.
        event: why it comes; None: because its time has come.
        num_want: peers asked for; None if it does not say.
        onion: 34 bytes, the onion that it says it is. Unchecked, it may not even be on the curve.
        signature: 64 bytes that should prove the onion.
    """

    info_hash: bytes
    peer_id: bytes
    is_seed: bool = False
    event: AnnounceEvent | None = None
    num_want: int | None = None
    onion: bytes | None = None
    signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class TorrentNumbers:
    """A torrent's peers, as an announce and a scrape tell them.

    Attributes:
        complete: have all of it.
        incomplete: have not.
        downloaded: how often it was completed.
    """

    complete: int
    incomplete: int
    downloaded: int

    def encodable(self) -> dict[bytes, int]:
        """The keys of BEP 48."""
        return {
            b"complete": self.complete,
            b"incomplete": self.incomplete,
            b"downloaded": self.downloaded,
        }


def read_announce(query: bytes) -> Announce:
    """Read the query of an announce.

    Raises:
        BadQuery: it is none.
    """
    values = _only_once(_parameters(query))
    event = values.get(b"event", b"")
    if event not in _EVENTS and event not in _NO_EVENTS:
        raise BadQuery("The event of this announce is unknown.")
    return Announce(
        info_hash=_fixed(values, b"info_hash", V1_HASH_LENGTH),
        peer_id=_fixed(values, b"peer_id", _PEER_ID_LENGTH),
        is_seed=_number(values, b"left") == 0,
        event=_EVENTS.get(event),
        num_want=_number(values, b"numwant"),
        onion=_onion(values),
        signature=_signature(values),
    )


def read_scrape(query: bytes) -> Sequence[bytes]:
    """Read the query of a scrape (BEP 48).

    Returns:
        The info-hashes, each once; never all that the tracker knows, for that is nobody's business.

    Raises:
        BadQuery: it is none, or asks for none or too many.
    """
    values = (value for name, value in _parameters(query) if name == b"info_hash")
    hashes = [unquote_to_bytes(value) for value in values]
    if not hashes or any(len(one) != V1_HASH_LENGTH for one in hashes):
        raise BadQuery("A scrape must name torrents, each by an info_hash of 20 bytes.")
    if len(hashes) > MAX_SCRAPE:
        raise BadQuery(f"A scrape may name {MAX_SCRAPE} torrents at most.")
    return tuple(dict.fromkeys(hashes))


def is_proven(announce: Announce, tracker: str, minute: int) -> bool:
    """Whether the announce comes from the owner of the onion that it names.

    Args:
        announce: as it was read.
        tracker: our own announce URL; a proof for another tracker is worth nothing here.
        minute: Unix time in whole minutes.

    A wrong proof costs ``2 * PROOF_MINUTES + 1`` verifications, a right one mostly a single one.
    """
    if announce.onion is None or announce.signature is None:
        return False
    key = VerifyKey(announce.onion[:_KEY_LENGTH])
    for offset in sorted(range(-PROOF_MINUTES, PROOF_MINUTES + 1), key=abs):
        message = onion_proof_message(announce.info_hash, tracker, minute + offset)
        try:
            key.verify(message, announce.signature)
        except BadSignatureError:
            continue
        return True
    return False


def peers_wanted(announce: Announce, *, dictionaries: bool) -> int:
    """How many peers to give, in which form."""
    if announce.event is AnnounceEvent.STOPPED:
        return 0
    wanted = DEFAULT_PEERS if announce.num_want is None else announce.num_want
    return min(wanted, MAX_DICTIONARY_PEERS if dictionaries else MAX_PEERS)


def announce_reply(
    numbers: TorrentNumbers,
    onions: bytes,
    *,
    interval: int = INTERVAL,
    dictionaries: bool,
    warning: str | None = None,
) -> bytes:
    """Give the body of an answer to an announce.

    Args:
        numbers: of the torrent.
        onions: n times 34 bytes, checked when they were proven.
        interval: seconds until the next announce.
        dictionaries: for who knows nothing of ``peers_onion``.
        warning: for the user.
    """
    reply: dict[bytes, Encodable] = {
        **numbers.encodable(),
        b"interval": interval,
        b"min interval": MIN_INTERVAL,
    }
    if dictionaries:
        reply[b"peers"] = list(_dictionary_peers(onions))
    else:
        reply[b"peers"] = b""  # some take a reply without it for broken
        reply[b"peers_onion"] = onions
    if warning is not None:
        reply[b"warning message"] = warning.encode()
    return encode(reply)


def scrape_reply(torrents: Mapping[bytes, TorrentNumbers]) -> bytes:
    """Give the body of an answer to a scrape."""
    return encode({b"files": {key: torrent.encodable() for key, torrent in torrents.items()}})


def failure_reply(reason: str, *, is_final: bool = False) -> bytes:
    """Give the body of a refusal (BEP 3).

    Args:
        reason: for the user.
        is_final: asking again is of no use (BEP 31).
    """
    reply: dict[bytes, Encodable] = {b"failure reason": reason.encode()}
    if is_final:
        reply[b"retry in"] = b"never"
    return encode(reply)


def _parameters(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values, still encoded. A plus sign is one: no client means a blank by it."""
    if len(query) > MAX_QUERY:
        raise BadQuery("This request is too long.")
    if _BAD_ESCAPE(query):
        raise BadQuery("This request is not percent-encoded as it should be.")
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        yield name, value


def _only_once(parameters: Iterator[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in parameters:
        if name in values:
            raise BadQuery(f"This announce has more than one {name.decode()}.")
        if name in _USED:
            values[name] = unquote_to_bytes(value)
    return values


def _fixed(values: Mapping[bytes, bytes], name: bytes, length: int) -> bytes:
    value = values.get(name, b"")
    if len(value) != length:
        raise BadQuery(f"An announce has a {name.decode()} of {length} bytes.")
    return value


def _number(values: Mapping[bytes, bytes], name: bytes) -> int | None:
    """None for what is missing or no number from 0 on; some clients send -1 for "any"."""
    value = values.get(name, b"")
    return int(value) if _NUMBER(value) else None


def _onion(values: Mapping[bytes, bytes]) -> bytes | None:
    """The onion in 34 bytes, as far as it is spelled like one; ``is_proven`` does the rest."""
    match = _ONION(values.get(b"ip", b""))
    port = _number(values, b"port") or 0
    if match is None or not 1 <= port <= _MAX_PORT:
        return None
    try:
        raw = base64.b32decode(match[1].upper())
    except binascii.Error:
        return None
    return raw[:_KEY_LENGTH] + port.to_bytes(2, "big")


def _signature(values: Mapping[bytes, bytes]) -> bytes | None:
    signature = values.get(b"onion_sig")
    return signature if signature and len(signature) == _SIGNATURE_LENGTH else None


def _dictionary_peers(onions: bytes) -> Iterator[Mapping[bytes, Encodable]]:
    for start in range(0, len(onions), COMPACT_ONION_LENGTH):
        yield _dictionary_peer(onions[start : start + COMPACT_ONION_LENGTH])


@lru_cache(maxsize=_REMEMBERED_PEERS)
def _dictionary_peer(onion: bytes) -> Mapping[bytes, Encodable]:
    address = PeerAddress.from_checked_onion(onion)
    return {b"ip": address.host.encode(), b"port": address.port}
