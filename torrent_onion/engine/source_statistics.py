"""Frozen pictures of where peers and data come from besides peers: trackers and web seeds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerStatistics:
    """One tracker of one torrent. Texts from trackers are not safe for a terminal as they are.

    Attributes:
        url: Where it is announced to; holds a key at times, so it is not for logs.
        error: Why the last announce failed, for users; None if it did not.
        warning: What the tracker wants its users to know.
        seeds: Peers that have everything, as it says.
        leechers: Peers that have not.
        peers: Addresses in its last answer.
        last_answer: When it last answered, on trio's clock; None if it never did.
    """

    url: str
    error: str | None = None
    warning: str | None = None
    seeds: int | None = None
    leechers: int | None = None
    peers: int = 0
    last_answer: float | None = None


@dataclass(frozen=True, slots=True)
class WebSeedStatistics:
    """One web seed of one torrent. Texts from servers are not safe for a terminal as they are.

    Attributes:
        url: As the torrent has it.
        error: Why it is not asked, or was not when that last failed, for users.
        is_active: It is being asked, or would be if there were something to ask for.
        downloaded: Bytes that came from it.
        download_rate: Bytes a second, now.
    """

    url: str
    error: str | None
    is_active: bool
    downloaded: int
    download_rate: float
