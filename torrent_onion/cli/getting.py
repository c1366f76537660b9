"""``get``: fetch a torrent, and with ``--seed`` go on serving it."""

import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import trio

from tor_control.config import TorConfig
from tor_control.controller import Tor
from tor_control.onion_service import OnionService
from torrent_onion.cli import text
from torrent_onion.cli.content_options import Tiers
from torrent_onion.cli.fetch_options import FetchOptions
from torrent_onion.cli.parts import parts_of, run_each
from torrent_onion.cli.sources import Source, UnreadSource
from torrent_onion.cli.tor_session import open_tor_and_read, publish_onion
from torrent_onion.cli.transfer import (
    announce_ready,
    give_up_when_silent,
    goals,
    say_when_silent,
    serve,
    settings,
    watch,
)
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.engine.selection import by_name
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import AddressError, NoDataError, PathError, TorrentOnionError

_REACHABLE = ("http://", "https://")
"""What Tor can carry; trackers over UDP are out of its reach."""


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What the user wants to have.

    Args:
        source: What names it.
        peers: Who may have it, beside those that its trackers know.
        options: How it is wanted.
    """

    source: Source
    peers: tuple[PeerAddress, ...]
    options: FetchOptions

    @property
    def name(self) -> str:
        """What people call it."""
        if isinstance(self.source, Magnet):
            return self.source.name or self.source.info_hashes.display
        return self.source.info.name

    @property
    def source_hash(self) -> bytes:
        """Tells torrents apart."""
        source = self.source
        hashes = source.info_hashes if isinstance(source, Magnet) else source.info.info_hashes
        return hashes.primary


def read_request(unread: UnreadSource, options: FetchOptions) -> GetRequest:
    """Understand what was asked for.

    Raises:
        RemoteError: The source or a peer's address makes no sense.
        NoDataError: It names nobody to ask.
    """
    source = _with_trackers(unread.read(), options.trackers)
    named = source.peers if isinstance(source, Magnet) else ()
    peers = (*parse_peers(options.peers), *named)
    if not peers and not _has_other_sources(source):
        what = "This link" if isinstance(source, Magnet) else "This .torrent file"
        raise NoDataError(
            f"{what} names nobody whom Tor can reach. "
            "Ask for a link that `torrent-onion seed` printed, whole, or name a peer with --peer."
        )
    return GetRequest(source, peers, options)


def parse_peers(peers: Sequence[str]) -> tuple[PeerAddress, ...]:
    """Understand ``--peer``.

    Raises:
        AddressError: One of them cannot be a peer.
    """
    try:
        return tuple(PeerAddress.parse(peer) for peer in peers)
    except AddressError as error:
        raise AddressError(f"--peer: {error}") from error


def _with_trackers(source: Source, tiers: Tiers) -> Source:
    """The same with more trackers, which are asked after its own."""
    if isinstance(source, Magnet):
        return replace(source, trackers=(*source.trackers, *chain.from_iterable(tiers)))
    return replace(source, trackers=(*source.trackers, *tiers))


def _has_other_sources(source: Source) -> bool:
    """Whether trackers or web seeds may help; a link needs a peer for what is in it."""
    if isinstance(source, Magnet):
        urls = source.trackers
    else:
        urls = (*chain.from_iterable(source.trackers), *source.web_seeds)
    return any(url.lower().startswith(_REACHABLE) for url in urls)


def prepare_folder(folder: Path) -> None:
    """Make the folder that the data goes into, if it is not there, before anything slow begins.

    Raises:
        PathError: It cannot be made, or not be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PathError(
            f"The folder {folder} cannot be made ({error.strerror}). Choose another with --dir."
        ) from error
    if not os.access(folder, os.W_OK):
        raise PathError(f"No permission to write into {folder}. Choose another with --dir.")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One of several that makes no sense.

    Args:
        name: What people call it.
        error: Why.
    """

    name: str
    error: TorrentOnionError


Reading = GetRequest | Unreadable
"""What came of one thing that the user named."""


def read_requests(sources: Sequence[UnreadSource], options: FetchOptions) -> list[Reading]:
    """Understand all that was asked for.

    Raises:
        RemoteError: The only one makes no sense.
        NoDataError: The only one names nobody to ask.
    """
    if len(sources) == 1:
        return [read_request(sources[0], options)]
    readings: list[Reading] = []
    seen: set[bytes] = set()
    for source in sources:
        try:
            request = read_request(source, options)
        except TorrentOnionError as error:
            readings.append(Unreadable(source.name, error))
            continue
        if request.source_hash in seen:
            twice = PathError("The same torrent is named twice. Name it once.")
            readings.append(Unreadable(request.name, twice))
        else:
            seen.add(request.source_hash)
            readings.append(request)
    return readings


async def get(read: Callable[[], list[Reading]], config: TorConfig, ui: Ui) -> None:
    """Fetch until complete; those that are to be shared, until cancelled.

    Args:
        read: Reads what is asked for; called when nothing but Tor can be reached any more.
        config: Which Tor.
        ui: Where to report.

    Raises:
        RemoteError: What is asked for makes no sense.
        TorError: Tor cannot be had.
        NoDataError: Nothing arrived for the time allowed.
        LocalError: The disk stands in the way.
        SeveralFailed: One of several has not come.
    """
    async with open_tor_and_read(config, ui, read) as (tor, readings):
        options = next((one.options for one in readings if isinstance(one, GetRequest)), None)
        limits = None
        if options is not None:
            limits = settings(options.limits, options.circuits, is_tor_ours=tor.is_launched)
        async with open_session(dial=tor.dial, settings=limits) as session:
            uis = parts_of(ui, [one.name for one in readings])
            await run_each([partial(_get_one, tor, session, one) for one in readings], uis)


async def _get_one(tor: Tor, session: Session, request: Reading, ui: Ui) -> None:
    if isinstance(request, Unreadable):
        raise request.error
    async with AsyncExitStack() as stack:
        onion = None
        if request.options.keep_serving:
            onion = await stack.enter_async_context(publish_onion(tor, ui))
        spec = make_spec(request, onion)
        torrent = session.add(spec, listener=onion.listener if onion else None)
        began = trio.current_time()
        await _fetch(torrent, request.options.timeout, ui)
        statistics = torrent.statistics()
        path = statistics.path or request.options.folder
        size, took = text.size(statistics.wanted), text.duration(trio.current_time() - began)
        came = f"{size} in {took}" if statistics.downloaded else f"all {size} were here already"
        ui.note(f"Complete: {came}.")
        ui.result("complete", {"path": str(path)}, text.printable(str(path)))
        if spec.own_address is not None:
            announce_ready(ui, torrent, spec.own_address)
            await serve(torrent, ui)
        else:
            await torrent.stop()


def make_spec(request: GetRequest, onion: OnionService | None) -> TorrentSpec:
    """Say to the engine what the user wants."""
    source, options = request.source, request.options
    numbers = source.select_only if isinstance(source, Magnet) else None
    chooses = bool(options.only or options.skip) or numbers is not None
    return TorrentSpec(
        source,
        folder=options.folder,
        peers=request.peers,
        own_address=PeerAddress.of(onion.address, onion.port) if onion else None,
        sign=onion.sign if onion else None,
        select=by_name(options.only, options.skip, numbers) if chooses else None,
        sequential=options.sequential,
        preallocate=options.preallocate,
        reuse=options.reuse,
        goals=goals(options.limits),
    )


async def _fetch(torrent: Torrent, patience: float | None, ui: Ui) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, torrent, ui)
        nursery.start_soon(say_when_silent, torrent, ui)
        if patience is not None:
            nursery.start_soon(give_up_when_silent, torrent, patience)
        try:
            await torrent.wait_complete()
        except trio.Cancelled:
            if torrent.info is not None:
                ui.note("What has arrived is kept: the same command goes on with it.")
            raise
        nursery.cancel_scope.cancel()
