"""What may be asked of an HTTP server and what of its answer is believed, without any I/O.

Rules:

- A URL is judged before anything is done with it, its host's name included. Tor carries streams, so
  UDP trackers are out; what else is no HTTP is out as well, and the reason is kept for the user.
- Every request has the same headers in the same order; only ``Range`` comes and goes. No header
  says who we are, what we take or where we come from.
- A redirect is a new URL, judged like any other. It never leads from an onion to the clearnet or
  from https to http, and there are at most ``MAX_REDIRECTS`` in a row.
- An answer whose length can be read in two ways, or that is compressed, is refused.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from torrent_onion.errors import RemoteError

MAX_URL: Final = 8192
"""Characters; what common servers take."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of a status line and its headers; common servers stay below 8 KiB."""
MAX_REDIRECTS: Final = 5
MAX_RETRY_AFTER: Final = 60 * 60
"""Seconds; who wants us to stay away for longer is asked again all the same."""

OK: Final = 200
PARTIAL_CONTENT: Final = 206
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UDP_SCHEMES: Final = frozenset({"udp"})
_WEB_SOCKET_SCHEMES: Final = frozenset({"ws", "wss"})
_ONION_SUFFIX: Final = ".onion"
_MAX_HOST: Final = 253

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE).match
# Everything a path or query may hold as it is (RFC 3986); "%" because it is encoded already.
_SAFE: Final = "/%:@!$&'()*+,;=~?"
_CONTENT_RANGE = re.compile(rb"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)").fullmatch
_SECONDS = re.compile(rb"[0-9]{1,9}").fullmatch

_MOST_NAMED: Final = 3
"""URLs of one kind that are named to the user; the rest is counted."""

Headers = Iterable[tuple[bytes, bytes]]
"""As h11 gives them: names in lower case."""


class UrlRefused(RemoteError):
    """A URL that is not used. The text is the reason, as it can stand behind "because"."""


class HttpError(RemoteError):
    """A server that broke HTTP, or answered something that cannot be used."""


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A URL that may be asked for. Made by :func:`parse_url`.

    Args:
        scheme: ``http`` or ``https``.
        host: Lower case, without a final dot; IPv6 without brackets.
        port: 1 to 65535.
        target: Path and query as they are sent: ASCII, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def is_onion(self) -> bool:
        """Whether the server is an onion service."""
        return self.host.endswith(_ONION_SUFFIX)

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """The value of ``Host``; the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == _DEFAULT_PORTS[self.scheme]
        return host if usual else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"


@dataclass(frozen=True, slots=True)
class DroppedUrl:
    """A URL of a torrent that is not used.

    Args:
        url: As the torrent has it.
        reason: Why not, as it can stand behind "because".
    """

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which part of a file an answer holds (RFC 9110, 14.4).

    Args:
        start: The first byte.
        end: Behind the last byte.
        total: Length of the whole file, where the server says it.
    """

    start: int
    end: int
    total: int | None


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What the headers of an answer say, as far as we ask.

    Args:
        status: 200 to 999.
        length: Bytes of the body, where that is known beforehand.
        location: Where it has moved to.
        content_range: Of an answer with status 206.
        retry_after: Seconds to stay away.
    """

    status: int
    length: int | None = None
    location: str | None = None
    content_range: ContentRange | None = None
    retry_after: int | None = None

    @property
    def is_redirect(self) -> bool:
        """Whether the answer is elsewhere."""
        return self.status in _REDIRECTS and self.location is not None


def parse_url(text: str) -> HttpUrl:
    """Judge a URL and bring it into the one form in which it is sent.

    Args:
        text: Characters outside ASCII may stand in the path and query, and are encoded there.

    Raises:
        UrlRefused: It is not used; the text says why.
    """
    if len(text) > MAX_URL:
        raise UrlRefused("it is too long")
    # Before urlsplit, which drops tabs and line ends without a word.
    if _FORBIDDEN.search(text) or text != text.strip():
        raise UrlRefused("it has characters that no URL may have")
    _require_http(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UrlRefused("it is not a valid URL") from None
    if not parts.netloc.isascii():
        raise UrlRefused("its host is not written in plain ASCII")
    if "@" in parts.netloc:
        raise UrlRefused("it holds a user name, which would tell who asks")
    if port == 0:
        raise UrlRefused("its port is 0")
    url = HttpUrl(
        parts.scheme,
        _host(parts.hostname or ""),
        port or _DEFAULT_PORTS[parts.scheme],
        _target(parts),
    )
    if len(url.target) > MAX_URL:
        raise UrlRefused("it is too long")
    return url


def sort_out(urls: Iterable[str]) -> tuple[tuple[HttpUrl, ...], tuple[DroppedUrl, ...]]:
    """Part the URLs of a torrent into those that can be used, each once, and the rest."""
    usable: dict[HttpUrl, None] = {}
    dropped: list[DroppedUrl] = []
    for url in urls:
        try:
            usable[parse_url(url)] = None
        except UrlRefused as error:
            dropped.append(DroppedUrl(url, str(error)))
    return tuple(usable), tuple(dropped)


def describe_dropped(what: str, dropped: Sequence[DroppedUrl]) -> str | None:
    """Say in one line what is not used and why; None if there is nothing to say.

    Args:
        what: What these URLs are, in the plural: "trackers".
        dropped: From :func:`sort_out`. The line holds parts of them: it is not safe for a terminal
            before control characters are taken out, nor for a log.
    """
    reasons: dict[str, list[str]] = {}
    for one in dropped:
        reasons.setdefault(one.reason, []).append(_short(one.url))
    groups = []
    for reason, urls in reasons.items():
        more = len(urls) - _MOST_NAMED
        named = ", ".join(urls[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        groups.append(f"{named} ({reason})")
    return f"Not used as {what}: {'; '.join(groups)}." if groups else None


def follow_redirect(url: HttpUrl, location: str, hops: int) -> HttpUrl:
    """Judge where an answer sends us.

    Args:
        url: What was asked for.
        location: As the answer has it; may be relative.
        hops: Redirects followed before this one.

    Raises:
        HttpError: We do not go there.
    """
    if hops >= MAX_REDIRECTS:
        raise HttpError(f"The server redirects more than {MAX_REDIRECTS} times.")
    try:
        target = parse_url(_join(url, location))
    except UrlRefused as error:
        raise HttpError(f"The server redirects to an address that is not used: {error}.") from None
    if url.is_onion and not target.is_onion:
        raise HttpError("The server redirects from an onion service to the clearnet.")
    if url.is_encrypted and not target.is_encrypted:
        raise HttpError("The server redirects from https to http.")
    return target


def request_headers(url: HttpUrl, byte_range: range | None = None) -> list[tuple[str, str]]:
    """Return all headers of a request, in the order in which they are sent.

    Args:
        url: What is asked for.
        byte_range: Only these bytes of it; not empty.
    """
    headers = [
        ("Host", url.host_header),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    if byte_range is not None:
        headers.append(("Range", f"bytes={byte_range.start}-{byte_range.stop - 1}"))
    return headers


def read_head(status: int, headers: Headers) -> ResponseHead:
    """Read the headers of an answer.

    Raises:
        HttpError: Its body is compressed, or could be read in two ways.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise HttpError("The server compresses its answer although it was asked not to.")
        values.setdefault(name, value)
    length = values.get(b"content-length")
    if length is not None and b"transfer-encoding" in values:
        raise HttpError("The server gives two lengths for one answer.")
    return ResponseHead(
        status=status,
        length=None if length is None else int(length),
        location=_text(values.get(b"location")),
        content_range=_content_range(values.get(b"content-range")),
        retry_after=_retry_after(values.get(b"retry-after")),
    )


def _require_http(text: str) -> None:
    match = _SCHEME(text)
    scheme = match[1].lower() if match else ""
    if scheme in _DEFAULT_PORTS:
        return
    if scheme in _UDP_SCHEMES:
        raise UrlRefused("Tor carries no UDP")
    if scheme in _WEB_SOCKET_SCHEMES:
        raise UrlRefused("WebSocket is for browsers only")
    raise UrlRefused("only http and https are spoken" if scheme else "it is not a valid URL")


def _join(url: HttpUrl, location: str) -> str:
    # urljoin drops tabs and line ends, as urlsplit does.
    if _FORBIDDEN.search(location):
        raise UrlRefused("it has characters that no URL may have")
    try:
        return urljoin(str(url), location)
    except ValueError:
        raise UrlRefused("it is not a valid URL") from None


def _host(host: str) -> str:
    if ":" in host:
        try:
            address = IPv6Address(host)
        except AddressValueError:
            raise UrlRefused("its host is no IPv6 address") from None
        if address.scope_id is not None:
            raise UrlRefused("its host is no IPv6 address")
        return str(address)
    # What the final dot hides from a look at the suffix, tor would reach all the same.
    host = host.removesuffix(".")
    if not _HOST(host) or len(host) > _MAX_HOST:
        raise UrlRefused("its host is not written in plain ASCII")
    return host


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _short(url: str) -> str:
    """Scheme and host of a URL, without the key that its path or query may hold."""
    scheme, separator, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return (scheme + separator + host)[:80]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _content_range(value: bytes | None) -> ContentRange | None:
    match = _CONTENT_RANGE(value.strip()) if value is not None else None
    if match is None:
        return None
    total = None if match[3] == b"*" else int(match[3])
    return ContentRange(int(match[1]), int(match[2]) + 1, total)


def _retry_after(value: bytes | None) -> int | None:
    """Only seconds: a date would be read with our clock, which need not be right."""
    if value is None or not _SECONDS(value.strip()):
        return None
    return min(int(value), MAX_RETRY_AFTER)
