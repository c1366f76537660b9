"""``get``: fetch a torrent, and with ``--seed`` go on serving it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import trio

from tor_control.config import TorConfig
from tor_control.onion_service import OnionService
from torrent_onion.cli import text
from torrent_onion.cli.sources import Source, UnreadSource
from torrent_onion.cli.tor_session import open_tor_and_read, publish_onion
from torrent_onion.cli.transfer import announce_ready, give_up_when_silent, serve, watch
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.torrent import Torrent, TorrentSpec
from torrent_onion.errors import NoDataError, PathError

_REACHABLE = ("http://", "https://")
"""What Tor can carry; trackers over UDP are out of its reach."""


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What the user wants to have.

    Args:
        source: What names it.
        folder: Where it goes.
        peers: Who may have it, beside those that its trackers know.
        patience: Seconds without anything after which to give up; None never does.
        keep_serving: Share it as well, from the start and after it is complete.
    """

    source: Source
    folder: Path
    peers: tuple[PeerAddress, ...]
    patience: float | None
    keep_serving: bool


def read_request(
    unread: UnreadSource,
    folder: Path,
    peer_texts: tuple[str, ...],
    *,
    timeout: float | None,
    keep_serving: bool,
) -> GetRequest:
    """Understand what was asked for.

    Raises:
        RemoteError: The source or a peer's address makes no sense.
        NoDataError: It names nobody to ask.
    """
    source = unread.read()
    named = source.peers if isinstance(source, Magnet) else ()
    peers = (*(PeerAddress.parse(peer) for peer in peer_texts), *named)
    if not peers and not _has_other_sources(source):
        what = "This link" if isinstance(source, Magnet) else "This .torrent file"
        raise NoDataError(
            f"{what} names nobody whom Tor can reach. "
            "Ask for a link that `torrent-onion seed` printed, or name a peer with --peer."
        )
    return GetRequest(source, folder, peers, timeout, keep_serving)


def _has_other_sources(source: Source) -> bool:
    """Whether trackers or web seeds may help; a link needs a peer for what is in it."""
    if isinstance(source, Magnet):
        urls = source.trackers
    else:
        urls = (*chain.from_iterable(source.trackers), *source.web_seeds)
    return any(url.lower().startswith(_REACHABLE) for url in urls)


def make_folder(folder: Path) -> None:
    """Make the folder that the data goes into, if it is not there.

    Raises:
        PathError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PathError(
            f"The folder {folder} cannot be made ({error.strerror}). Choose another with --dir."
        ) from error


async def get(read: Callable[[], GetRequest], config: TorConfig, ui: Ui) -> None:
    """Fetch until complete; with ``keep_serving`` serve until cancelled.

    Args:
        read: Reads what is asked for; called when nothing but Tor can be reached any more.
        config: Which Tor.
        ui: Where to report.

    Raises:
        RemoteError: What is asked for makes no sense.
        TorError: Tor cannot be had.
        NoDataError: Nothing arrived for the time allowed.
        LocalError: The disk stands in the way.
    """
    async with AsyncExitStack() as stack:
        tor, request = await stack.enter_async_context(open_tor_and_read(config, ui, read))
        onion = None
        if request.keep_serving:
            onion = await stack.enter_async_context(publish_onion(tor, ui))
        own = PeerAddress.of(onion.address, onion.port) if onion else None
        session = await stack.enter_async_context(open_session(dial=tor.dial))
        torrent = _add(session, request, onion, own)
        began = trio.current_time()
        await _fetch(torrent, request.patience, ui)
        statistics = torrent.statistics()
        path = statistics.path or request.folder
        took = text.duration(trio.current_time() - began)
        ui.note(f"Complete: {text.size(statistics.total)} in {took}.")
        ui.result("complete", {"path": str(path)}, text.printable(str(path)))
        if own is not None:
            announce_ready(ui, torrent, own)
            await serve(torrent, ui)


def _add(
    session: Session, request: GetRequest, onion: OnionService | None, own: PeerAddress | None
) -> Torrent:
    spec = TorrentSpec(request.source, folder=request.folder, peers=request.peers, own_address=own)
    return session.add(spec, listener=onion.listener if onion else None)


async def _fetch(torrent: Torrent, patience: float | None, ui: Ui) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, torrent, ui)
        if patience is not None:
            nursery.start_soon(give_up_when_silent, torrent, patience)
        await torrent.wait_complete()
        nursery.cancel_scope.cancel()
