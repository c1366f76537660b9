"""What a torrent is made from: all that a user says of it."""

from dataclasses import dataclass
from pathlib import Path

from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.announcer import Sign
from torrent_onion.engine.selection import Select
from torrent_onion.engine.settings import NO_GOALS, Goals


@dataclass(frozen=True, slots=True)
class TorrentSpec:
    """What a torrent is made from.

    Attributes:
        source: A .torrent's content, or a magnet link.
        folder: Where downloads go.
        shared_path: The data is here already, complete and unchanged: seed it from this path.
        peers: Addresses to dial first.
        own_address: Where others reach us, if they do; never dialled.
        sign: Signs with the key of that onion: the proof for trackers that it is ours (RFC 8032).
        select: Given what the torrent is, says which files to fetch, by their numbers; what it
            raises fails the torrent. None fetches all.
        sequential: Fetch in order, the first and last piece of each file first, so that files can
            be opened early.
        preallocate: Reserve room for all files before anything is fetched, where the file system
            can; else they grow as pieces come.
        reuse: Folders with files that may be the same as some of the torrent's: those are copied
            rather than fetched (BEP 52). Only these are looked into.
        super_seed: Give out one copy as fast as possible (BEP 16); only for data that is shared.
        max_upload: Payload bytes a second; None is no limit beside the session's.
        max_download: The same, coming in.
        goals: When to stop serving; never by default.
    """

    source: Metainfo | Magnet
    folder: Path
    shared_path: Path | None = None
    peers: tuple[PeerAddress, ...] = ()
    own_address: PeerAddress | None = None
    sign: Sign | None = None
    select: Select | None = None
    sequential: bool = False
    preallocate: bool = False
    reuse: tuple[Path, ...] = ()
    super_seed: bool = False
    max_upload: float | None = None
    max_download: float | None = None
    goals: Goals = NO_GOALS
