"""All web seeds of one torrent, while it is being fetched."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

import trio

from torrent_onion.core.metainfo import Info
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.source_statistics import WebSeedStatistics
from torrent_onion.engine.web_seed import WebSeed, WebSeedDownloads
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.http import DroppedUrl, sort_out

MAX_WEB_SEEDS = 8
"""Asked at once; more would only share one line, and each has a circuit."""
_TOO_MANY = "there are too many"


class FetchedTorrent(Protocol):
    """What is asked of a torrent."""

    all_verified: trio.Event
    bans: dict[PeerKey, Callable[[], None]]

    @property
    def info(self) -> Info | None:
        """What it is."""

    @property
    def downloads(self) -> WebSeedDownloads:
        """What takes the blocks."""


class WebSeeds:
    """The web seeds of one torrent.

    Args:
        torrent: Whom they are for.
        urls: As the torrent has them (BEP 19).
        http: Asks them.
        rng: For jitter, and where to begin.

    Attributes:
        dropped: Those that are not used, with the reasons; tell the user.
    """

    def __init__(
        self, torrent: FetchedTorrent, urls: Sequence[str], *, http: HttpClient, rng: Random
    ) -> None:
        usable, dropped = sort_out(urls)
        self._torrent = torrent
        self._http = http
        self._rng = rng
        self._urls = usable[:MAX_WEB_SEEDS]
        self._seeds: list[WebSeed] = []
        too_many = (DroppedUrl(str(url), _TOO_MANY) for url in usable[MAX_WEB_SEEDS:])
        self.dropped: tuple[DroppedUrl, ...] = (*dropped, *too_many)

    def statistics(self) -> tuple[WebSeedStatistics, ...]:
        """One moment of all that are in use; empty before the data is checked."""
        return tuple(seed.statistics() for seed in self._seeds)

    async def run(self) -> None:
        """Fetch until the torrent is complete. Call it once the data on disk is checked."""
        torrent = self._torrent
        if torrent.all_verified.is_set():
            return
        if torrent.info is None:
            raise RuntimeError("the metadata is not known yet")
        for number, url in enumerate(self._urls, 1):
            key = -number  # connections have positive numbers
            seed = WebSeed(
                key,
                url,
                torrent.info,
                downloads=torrent.downloads,
                http=self._http,
                rng=self._rng,
            )
            torrent.bans[key] = seed.ban
            self._seeds.append(seed)
        async with trio.open_nursery() as nursery:
            for seed in self._seeds:
                nursery.start_soon(seed.run)
            await torrent.all_verified.wait()
            nursery.cancel_scope.cancel()
