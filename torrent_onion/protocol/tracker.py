"""What is said to an HTTP tracker and what it answers (BEP 3, 7, 21, 23, 31, 48), without HTTP.

Rules:

- The parameters of a request are always the same, in the same order: they tell nobody apart.
- Only a tracker that is itself an onion learns our onion address (``ip``) and port. Any other sees
  no address, and port 1, as from other clients behind a proxy (BEP 37).
- ``key``, peer id and tracker id belong to one torrent and one tracker; whoever makes them sees to
  that. A scrape asks for one torrent: several in one request would tie them together.
- Peers are onions or IP literals. Host names, port 0 and what is malformed are left out, and no
  more than ``MAX_PEERS`` are read. What the tracker believes our address to be is not read at all.
- A reply is a dictionary or it is a ``TrackerError``; a refusal is a reply.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from itertools import chain, islice
from urllib.parse import SplitResult, quote_from_bytes, urlsplit

from torrent_onion.core.bencoding import TRACKER_LIMITS, Value
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.errors import AddressError, BencodeError, TrackerError
from torrent_onion.protocol.compact_peers import IPV4_SIZE, IPV6_SIZE, read_compact_peers
from torrent_onion.protocol.dictionaries import (
    Dictionary,
    get_bytes,
    get_dictionary,
    get_int,
    read_dictionary,
)
from torrent_onion.protocol.onion_pex import read_compact_onions

HIDDEN_PORT = 1  # what we announce where our port must not be known; libtorrent does the same
UNKNOWN_LEFT = 16 * 1024  # bytes "left" before the metadata is known: not 0, we are no seed
NUM_WANT = 200  # peers asked for; what libtorrent asks for
KEY_SIZE = 4  # bytes; BEP 7 asks for 32 bits
SCHEMES = frozenset({"http", "https"})

MAX_PEERS = 1024  # of one reply: five times what we ask for; the pool takes as many from a tracker
MAX_TRACKER_ID = 256  # bytes
MAX_TEXT = 200  # characters of a failure or warning that are kept
MAX_COUNT = 2**31 - 1  # peers of a torrent that a tracker may claim

DEFAULT_INTERVAL = 30 * 60  # seconds between announces where the tracker does not say
MIN_INTERVAL = 60  # seconds; a tracker cannot make us announce more often
MAX_INTERVAL = 2 * 60 * 60  # seconds; nor so rarely that the torrent loses its peers
MAX_RETRY = 24 * 60 * 60  # seconds

_MAX_RETRY_DIGITS = 9

_PROOF_PREFIX = b"torrent-onion announce"
_MINUTE_SIZE = 8  # bytes, big-endian
_MAX_PORT = 65535


class AnnounceEvent(Enum):
    """Why we announce out of turn."""

    STARTED = "started"
    STOPPED = "stopped"
    COMPLETED = "completed"
    PAUSED = "paused"
    """In turn as well, as long as no more pieces are wanted of an incomplete torrent (BEP 21)."""


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """One announce of one torrent to one tracker.

    Attributes:
        info_hash: 20 bytes; a v2 hash is cut to that.
        peer_id: 20 random bytes, made for this torrent and tracker.
        key: 4 random bytes, made for this torrent and tracker.
        uploaded: bytes of payload in this run; ``downloaded`` likewise.
        left: bytes that are still to come; None while the metadata is not known.
        event: None for an announce in turn.
        own_address: our onion, where we have one. Only onion trackers are told.
        onion_sig: ``onion_proof_message`` signed with the onion's key. Only onion trackers get it.
        tracker_id: what this tracker asked us to repeat.
    """

    info_hash: bytes
    peer_id: PeerId
    key: bytes
    uploaded: int = 0
    downloaded: int = 0
    left: int | None = None
    event: AnnounceEvent | None = None
    own_address: PeerAddress | None = None
    onion_sig: bytes | None = None
    tracker_id: bytes | None = None

    def url(self, tracker: str) -> str:
        """Give the URL to get.

        Args:
            tracker: the announce URL as the torrent has it; its own query stays in front.

        Raises:
            TrackerError: this is no HTTP tracker.
            ValueError: own_address is no onion, or the key has another size.
        """
        parts = _split(tracker)
        if len(self.key) != KEY_SIZE:
            raise ValueError(f"a key has {KEY_SIZE} bytes")
        if self.own_address is not None and not self.own_address.is_onion:
            raise ValueError("no address but an onion is ever announced")
        onion = self.own_address if _is_onion(parts) else None
        parameters = (
            ("info_hash", quote_from_bytes(self.info_hash, safe="")),
            ("peer_id", quote_from_bytes(self.peer_id, safe="")),
            ("port", onion.port if onion else HIDDEN_PORT),
            ("uploaded", self.uploaded),
            ("downloaded", self.downloaded),
            ("left", UNKNOWN_LEFT if self.left is None else self.left),
            ("key", self.key.hex().upper()),
            ("event", self.event.value if self.event else None),
            ("numwant", 0 if self.event is AnnounceEvent.STOPPED else NUM_WANT),
            ("compact", 1),
            ("no_peer_id", 1),
            ("trackerid", quote_from_bytes(self.tracker_id, safe="") if self.tracker_id else None),
            ("ip", onion.host if onion else None),
            (
                "onion_sig",
                quote_from_bytes(self.onion_sig, safe="") if onion and self.onion_sig else None,
            ),
        )
        return _with_query(
            parts, "&".join(f"{name}={value}" for name, value in parameters if value is not None)
        )


@dataclass(frozen=True, slots=True)
class AnnounceReply:
    """What a tracker answered.

    Attributes:
        peers: where others may be; at most ``MAX_PEERS``, each once, onions of our own form first.
        interval: seconds until the next announce in turn.
        min_interval: seconds before which the tracker wants no other announce; not more than
            ``interval``.
        tracker_id: to be repeated to this tracker.
        warning: a text for the user.
        seeds: how many have all of it, where the tracker says so.
        leechers: how many have not.
    """

    peers: tuple[PeerAddress, ...] = ()
    interval: int = DEFAULT_INTERVAL
    min_interval: int = MIN_INTERVAL
    tracker_id: bytes | None = None
    warning: str | None = None
    seeds: int | None = None
    leechers: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The tracker will not do what it was asked.

    Attributes:
        reason: a text for the user.
        retry_after: seconds after which it may be asked again; None: it did not say (BEP 31).
        is_final: it must not be asked again at all (BEP 31 ``never``).
    """

    reason: str
    retry_after: int | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class ScrapeReply:
    """A torrent's peers in numbers (BEP 48).

    Attributes:
        seeds: how many have all of it.
        leechers: how many have not.
        downloaded: how often it was completed.
    """

    seeds: int
    leechers: int
    downloaded: int


def onion_proof_message(info_hash: bytes, tracker: str, minute: int) -> bytes:
    """Give what ``onion_sig`` signs: that the owner of an onion announces it, here and now.

    Args:
        info_hash: the 20 bytes of the announce.
        tracker: the announce URL; its host is signed, so the proof is worth nothing elsewhere.
        minute: Unix time in whole minutes.

    Raises:
        TrackerError: this is no HTTP tracker.
    """
    host = (_split(tracker).hostname or "").encode("ascii")
    return _PROOF_PREFIX + info_hash + host + minute.to_bytes(_MINUTE_SIZE, "big")


def scrape_url(tracker: str, info_hash: bytes) -> str | None:
    """Give the URL that asks for numbers, or None where this tracker has none (BEP 48).

    Raises:
        TrackerError: this is no HTTP tracker.
    """
    parts = _split(tracker)
    folder, slash, page = parts.path.rpartition("/")
    if not page.startswith("announce"):
        return None
    scrape = parts._replace(path=folder + slash + page.replace("announce", "scrape", 1))
    return _with_query(scrape, "info_hash=" + quote_from_bytes(info_hash, safe=""))


def parse_announce_reply(body: bytes) -> AnnounceReply | Refusal:
    """Read the body of an answer to an announce.

    Raises:
        TrackerError: it is not a tracker's reply.
    """
    reply = _read_reply(body)
    if isinstance(reply, Refusal):
        return reply
    min_interval = _interval(reply, b"min interval", MIN_INTERVAL)
    tracker_id = get_bytes(reply, b"tracker id") or b""
    peers = islice(_peers(reply), MAX_PEERS)
    return AnnounceReply(
        peers=tuple(dict.fromkeys(peers)),
        interval=max(min_interval, _interval(reply, b"interval", DEFAULT_INTERVAL)),
        min_interval=min_interval,
        tracker_id=tracker_id if 0 < len(tracker_id) <= MAX_TRACKER_ID else None,
        warning=_text(reply, b"warning message"),
        seeds=get_int(reply, b"complete", 0, MAX_COUNT),
        leechers=get_int(reply, b"incomplete", 0, MAX_COUNT),
    )


def parse_scrape_reply(body: bytes, info_hash: bytes) -> ScrapeReply | Refusal:
    """Read the body of an answer to a scrape of one torrent.

    Raises:
        TrackerError: it is not a tracker's reply, or not about this torrent.
    """
    reply = _read_reply(body)
    if isinstance(reply, Refusal):
        return reply
    files = get_dictionary(reply, b"files")
    if info_hash not in files:
        raise TrackerError("The tracker does not know this torrent.")
    numbers = get_dictionary(files, info_hash)
    return ScrapeReply(
        seeds=get_int(numbers, b"complete", 0, MAX_COUNT) or 0,
        leechers=get_int(numbers, b"incomplete", 0, MAX_COUNT) or 0,
        downloaded=get_int(numbers, b"downloaded", 0, MAX_COUNT) or 0,
    )


def _split(tracker: str) -> SplitResult:
    # urlsplit drops line ends without a word; such a URL must not get that far.
    if not tracker.isascii() or not tracker.isprintable() or " " in tracker:
        raise TrackerError("The address of this tracker has characters that no URL may have.")
    try:
        parts = urlsplit(tracker)
        _ = parts.port  # raises for a port that cannot be one
    except ValueError:
        raise TrackerError("The address of this tracker is not a URL.") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise TrackerError("This is not an HTTP tracker.")
    return parts


def _is_onion(parts: SplitResult) -> bool:
    return (parts.hostname or "").endswith(".onion")


def _with_query(parts: SplitResult, query: str) -> str:
    both = f"{parts.query}&{query}" if parts.query else query
    return parts._replace(path=parts.path or "/", query=both, fragment="").geturl()


def _read_reply(body: bytes) -> Dictionary | Refusal:
    try:
        reply, _ = read_dictionary(body, TRACKER_LIMITS)
    except BencodeError as error:
        raise TrackerError(f"The tracker's answer cannot be read: {error}") from error
    # BEP 48 spells it with an underscore, trackers do not.
    key = b"failure reason" if b"failure reason" in reply else b"failure_reason"
    reason = _text(reply, key)
    if reason is None:
        return reply
    if reply.get(b"retry in") == b"never":
        return Refusal(reason, is_final=True)
    minutes = _retry_minutes(reply.get(b"retry in"))
    return Refusal(reason, retry_after=min(minutes * 60, MAX_RETRY) if minutes > 0 else None)


def _retry_minutes(value: Value | None) -> int:
    """BEP 31 says that it is a number; some write it as a string."""
    if isinstance(value, bytes) and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
        return int(value)
    return value if isinstance(value, int) else 0


def _text(reply: Dictionary, key: bytes) -> str | None:
    text = get_bytes(reply, key)
    return None if text is None else text.decode("utf-8", "replace")[:MAX_TEXT]


def _interval(reply: Dictionary, key: bytes, default: int) -> int:
    value = reply.get(key)
    seconds = value if isinstance(value, int) else default
    return max(MIN_INTERVAL, min(seconds, MAX_INTERVAL))


def _peers(reply: Dictionary) -> Iterator[PeerAddress]:
    peers = reply.get(b"peers")
    return chain(
        (address for _, address in read_compact_onions(get_bytes(reply, b"peers_onion") or b"")),
        _compact_peers(peers if isinstance(peers, bytes) else b"", IPV4_SIZE),
        _dictionary_peers(peers if isinstance(peers, list) else []),
        _compact_peers(get_bytes(reply, b"peers6") or b"", IPV6_SIZE),
    )


def _compact_peers(data: bytes, address_size: int) -> Iterator[PeerAddress]:
    return (address for _, address in read_compact_peers(data, address_size))


def _dictionary_peers(peers: list[Value]) -> Iterator[PeerAddress]:
    """BEP 3: dictionaries with ``ip`` and ``port``; an onion may stand where an IP does."""
    for peer in peers:
        if isinstance(peer, dict):
            host = get_bytes(peer, b"ip") or b""
            port = get_int(peer, b"port", 1, _MAX_PORT) or 0
            address = _address(host.decode("latin-1"), port)
            if address is not None and (address.is_onion or _is_literal(address.host)):
                yield address


def _address(host: str, port: int) -> PeerAddress | None:
    try:
        return PeerAddress.of(host, port)
    except AddressError:
        return None


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
