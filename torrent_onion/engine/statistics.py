"""Frozen pictures of what the engine is doing, for user interfaces and tests."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from torrent_onion.engine.source_statistics import TrackerStatistics, WebSeedStatistics


class TorrentState(Enum):
    """What a torrent is busy with.

    ::

        FETCHING_METADATA -> CHECKING -> DOWNLOADING -> SEEDING
                any of them -> FAILED (a local error) or STOPPED (by us)
    """

    FETCHING_METADATA = "fetching metadata"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    SEEDING = "seeding"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TorrentStatistics:
    """One moment of one torrent.

    Attributes:
        done: Bytes that are on disk and verified.
        total: Bytes in all; 0 until the metadata is known.
        unwanted: Bytes of them that are not fetched, for only some files are wanted.
        checked: Bytes of the data on disk that the check at the start has gone through.
        downloaded: Payload bytes that came in since the start, useful or not.
        uploaded: Payload bytes that went out since the start.
        download_rate: Payload bytes a second, now.
        upload_rate: Payload bytes a second, now.
        peers: Connections that have finished their handshake.
        seeds: Those of them that have everything.
        last_block: When the last useful block came in, on trio's clock; None before the first.
        error: Why it failed, for users.
        path: Where the data is, or will be; None until the metadata is known.
        trackers: Those that are used.
        web_seeds: Those that are used; none before the data is checked.
        notices: What of the torrent is not used and why, a line each, for users.
    """

    state: TorrentState
    done: int
    total: int
    checked: int
    downloaded: int
    uploaded: int
    download_rate: float
    upload_rate: float
    peers: int
    seeds: int
    last_block: float | None
    error: str | None
    path: Path | None
    trackers: tuple[TrackerStatistics, ...] = ()
    web_seeds: tuple[WebSeedStatistics, ...] = ()
    notices: tuple[str, ...] = ()
    unwanted: int = 0

    @property
    def wanted(self) -> int:
        """What ``done`` is when the torrent is complete; 0 until the metadata is known."""
        return self.total - self.unwanted
