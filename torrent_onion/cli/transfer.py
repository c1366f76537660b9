"""What seeding and fetching have in common: watching a torrent, and naming it for others."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import trio

from torrent_onion.cli import text
from torrent_onion.cli.limit_options import LimitOptions
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.settings import Goals, Settings
from torrent_onion.engine.statistics import TorrentState, TorrentStatistics
from torrent_onion.engine.torrent import Torrent
from torrent_onion.errors import NoDataError

SILENCE = 20.0
"""Seconds without any sign of a peer after which people are told, once for each silence."""

MAX_DIALS_ALONE_OF_OUR_TOR = 48
"""Dials at once of a download that has nobody, through a tor whose used circuits to directories we
close. One list of names gets 30 of them; tor begins no more than 32 circuits at once, so that more
dials would not be faster (docs/onion-peers.md)."""


async def watch(torrent: Torrent, ui: Ui) -> None:
    """Report how the torrent stands until it has stopped, or this is cancelled.

    Raises:
        TorrentOnionError: Why it failed.
    """
    said: set[str] = set()
    while True:
        if torrent.error is not None:
            raise torrent.error
        statistics = torrent.statistics()
        for words in _warnings(statistics):
            if words not in said:
                said.add(words)
                ui.warn(words)
        ui.progress(statistics)
        if statistics.state is TorrentState.STOPPED:
            return
        await trio.sleep(ui.interval)


async def serve(torrent: Torrent, ui: Ui) -> None:
    """Report how a complete torrent is served, until its goal is reached or this is cancelled.

    Raises:
        TorrentOnionError: It failed.
    """
    await watch(torrent, ui)
    sent = text.size(torrent.statistics().uploaded)
    ui.note(f"The goal is reached: {sent} sent.")


def settings(
    limits: LimitOptions, circuits: int | None = None, *, is_tor_ours: bool = False
) -> Settings:
    """The options in the words of the engine.

    Args:
        limits: What the user chose.
        circuits: Likewise; None leaves it to the engine.
        is_tor_ours: Whether tor is one of our own.
    """
    made = Settings(max_upload=limits.max_up, max_download=limits.max_down)
    if is_tor_ours:
        made = replace(made, max_dials_alone=MAX_DIALS_ALONE_OF_OUR_TOR)
    if limits.max_connections is not None:
        made = replace(made, max_connections=limits.max_connections)
    return made if circuits is None else replace(made, circuits=circuits)


def goals(limits: LimitOptions) -> Goals:
    """When serving is to end, in the words of the engine."""
    return Goals(ratio=limits.until_ratio, seconds=limits.until, copies=limits.until_copies)


def _warnings(statistics: TorrentStatistics) -> Iterator[str]:
    """What its user should know of a torrent, each worth one line."""
    yield from map(text.printable, statistics.notices)
    for tracker in statistics.trackers:
        for words in (tracker.error, tracker.warning):
            if words:
                host = urlsplit(tracker.url).hostname or "a tracker"
                yield text.printable(f"{host}: {words}")


async def give_up_when_silent(torrent: Torrent, patience: float) -> None:
    """Wait until nothing has arrived for so long.

    Args:
        torrent: Checking what is on disk does not count as silence.
        patience: Seconds.

    Raises:
        NoDataError: That time has come.
    """
    before, since = _arrived(torrent.statistics()), trio.current_time()
    while trio.current_time() - since < patience:
        await trio.sleep(min(1.0, patience / 4))
        statistics = torrent.statistics()
        now = _arrived(statistics)
        if now != before or statistics.state is TorrentState.CHECKING:
            before, since = now, trio.current_time()
    raise NoDataError(
        f"Nothing has arrived for {text.duration(patience)}. "
        "Ask whoever shares this whether they are online, and run the same again."
    )


async def say_when_silent(torrent: Torrent, ui: Ui) -> None:
    """Tell people that nobody answers, for a silent program looks like a broken one."""
    first = before = _arrived(torrent.statistics())
    since: float | None = trio.current_time()
    while True:
        await trio.sleep(1.0)
        statistics = torrent.statistics()
        now = _arrived(statistics)
        if now != before or statistics.state is TorrentState.CHECKING:
            before, since = now, trio.current_time()
        elif since is not None and trio.current_time() - since >= SILENCE:
            ui.warn(_silence(has_begun=now != first))
            since = None


def _silence(*, has_begun: bool) -> str:
    if has_begun:
        return (
            f"Nothing has arrived for {text.duration(SILENCE)}. This goes on by itself when "
            "somebody who has the rest is there. Ctrl-C keeps what is here."
        )
    return (
        f"Nobody has answered for {text.duration(SILENCE)}. This goes on trying: an onion that "
        "has just come up can take a minute to be found."
    )


def _arrived(statistics: TorrentStatistics) -> tuple[object, ...]:
    """Changes with everything that a peer gives us: the metadata, then blocks."""
    return statistics.state, statistics.total, statistics.downloaded


def announce_ready(
    ui: Ui, torrent: Torrent, own: PeerAddress, *, torrent_file: Path | None = None
) -> None:
    """Print the link by which others reach us. Only call it once the descriptor is up.

    Args:
        ui: Where to.
        torrent: What is shared; the link names its trackers and web seeds too.
        own: Our onion.
        torrent_file: The path of the .torrent file that was written, if one was.
    """
    hashes, source = torrent.info_hashes, torrent.spec.source
    trackers = flat_trackers(source)
    magnet = Magnet(
        info_hashes=hashes,
        name=torrent.name,
        trackers=trackers,
        web_seeds=source.web_seeds,
        peers=(own,),
    ).to_uri()
    fields: dict[str, object] = {
        "magnet": magnet,
        "info_hash": hashes.v1.hex() if hashes.v1 else None,
        "info_hash_v2": hashes.v2.hex() if hashes.v2 else None,
        "onion": own.host,
        "port": own.port,
        "torrent": str(torrent_file) if torrent_file else None,
    }
    ui.note("Ready. Whoever has this link can fetch it while this command runs:\n")
    ui.result("ready", fields, magnet)
    ui.qr_code(magnet)
    if not ui.is_part:
        ui.note("\nCtrl-C stops sharing.")


def flat_trackers(source: Metainfo | Magnet) -> tuple[str, ...]:
    """The announce URLs of a torrent, its tiers joined, as a link has them."""
    if isinstance(source, Magnet):
        return source.trackers
    return tuple(chain.from_iterable(source.trackers))
