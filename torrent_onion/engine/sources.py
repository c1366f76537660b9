"""Where a torrent finds others, besides the peers it knows: its trackers and its web seeds."""

from collections.abc import Sequence
from random import Random
from typing import Protocol

from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.announcer import AnnouncedTorrent, Announcer, Sign
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.transport import Dial
from torrent_onion.engine.web_seeds import FetchedTorrent, WebSeeds
from torrent_onion.protocol.http import describe_dropped


class SourcedTorrent(AnnouncedTorrent, FetchedTorrent, Protocol):
    """What is asked of a torrent."""


class Sources:
    """The trackers and web seeds of one torrent.

    Args:
        torrent: Whom they are for.
        source: What names them.
        dial: How they are reached.
        rng: For orders and jitter.
        own_address: Where others may connect to us.
        sign: Proves to onion trackers that it is ours.

    Attributes:
        announcer: Talks to the trackers.
        web_seeds: Fetches from the web seeds.
        notices: What the user must hear: in one line each, what is not used and why.
    """

    def __init__(
        self,
        torrent: SourcedTorrent,
        source: Metainfo | Magnet,
        *,
        dial: Dial,
        rng: Random,
        own_address: PeerAddress | None,
        sign: Sign | None,
    ) -> None:
        http = HttpClient(dial)
        self.announcer = Announcer(
            torrent, _tiers(source), http=http, rng=rng, own_address=own_address, sign=sign
        )
        self.web_seeds = WebSeeds(torrent, source.web_seeds, http=http, rng=rng)
        lines = (
            describe_dropped("trackers", self.announcer.dropped),
            describe_dropped("web seeds", self.web_seeds.dropped),
        )
        self.notices: tuple[str, ...] = tuple(line for line in lines if line)


def _tiers(source: Metainfo | Magnet) -> Sequence[Sequence[str]]:
    """The trackers of a link are not ranked: each is a tier."""
    if isinstance(source, Metainfo):
        return source.trackers
    return [(tracker,) for tracker in source.trackers]
