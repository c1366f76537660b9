"""One question to one tracker: an announce or a scrape, over HTTP."""

from torrent_onion.core.bencoding import TRACKER_LIMITS
from torrent_onion.engine.http_client import HttpClient, HttpReply
from torrent_onion.errors import TrackerError
from torrent_onion.protocol.http import OK, HttpUrl, parse_url
from torrent_onion.protocol.tracker import (
    AnnounceReply,
    AnnounceRequest,
    Refusal,
    ScrapeReply,
    parse_announce_reply,
    parse_scrape_reply,
    scrape_url,
)

EXCHANGE_SECONDS = 90.0
"""For a question, redirects and the way through Tor included; then it is another tracker's turn."""


async def announce(
    http: HttpClient,
    tracker: HttpUrl,
    request: AnnounceRequest,
    isolation: str,
    *,
    seconds: float = EXCHANGE_SECONDS,
) -> AnnounceReply | Refusal:
    """Tell a tracker about us and hear about others.

    Raises:
        RemoteError: It broke HTTP or answered nonsense, or the connection was lost.
        OSError: It cannot be reached.
    """
    url = parse_url(request.url(str(tracker)))
    reply = await _fetch(http, url, isolation, seconds)
    return parse_announce_reply(reply.body) if reply.head.status == OK else _refusal(reply)


async def scrape(
    http: HttpClient, tracker: HttpUrl, info_hash: bytes, isolation: str
) -> ScrapeReply | Refusal | None:
    """Ask a tracker for a torrent's peers in numbers (BEP 48).

    Args:
        http: Asks.
        tracker: The announce URL.
        info_hash: The 20 bytes of one torrent.
        isolation: The token of this tracker and torrent, or one that is used for nothing else.

    Returns:
        None where this tracker has no page for it.

    Raises:
        RemoteError: It broke HTTP or answered nonsense, or the connection was lost.
        OSError: It cannot be reached.
    """
    page = scrape_url(str(tracker), info_hash)
    if page is None:
        return None
    reply = await _fetch(http, parse_url(page), isolation, EXCHANGE_SECONDS)
    if reply.head.status != OK:
        return _refusal(reply)
    return parse_scrape_reply(reply.body, info_hash)


async def _fetch(http: HttpClient, url: HttpUrl, isolation: str, seconds: float) -> HttpReply:
    return await http.fetch(url, isolation, max_bytes=TRACKER_LIMITS.max_bytes, seconds=seconds)


def _refusal(reply: HttpReply) -> Refusal:
    """Read an error page. Some trackers give their reason in it, as if it were an answer."""
    try:
        answer = parse_announce_reply(reply.body)
    except TrackerError:
        answer = None
    if isinstance(answer, Refusal):
        return answer
    reason = f"The tracker answered with the HTTP status {reply.head.status}."
    if reply.head.retry_after is None:
        raise TrackerError(reason)
    return Refusal(reason, retry_after=reply.head.retry_after)
