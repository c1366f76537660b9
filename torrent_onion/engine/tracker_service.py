"""A tracker for onion peers: what comes in over HTTP, answered from the registry of swarms.

``Tracker`` is the one owner of the registry and changes it in synchronous methods only. Beside the
server two tasks run: one forgets peers that are gone, one writes to the database, if there is one.
Nothing is logged of who announced what.
"""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.http_server import NOT_FOUND, OK, Answer, HttpServer
from torrent_onion.engine.parallel import first_error
from torrent_onion.engine.tracker_database import TrackerDatabase
from torrent_onion.engine.transport import PeerListener
from torrent_onion.errors import AddressError
from torrent_onion.policy.swarm_registry import COUNTED_KEY_LENGTH, SwarmPeer, SwarmRegistry
from torrent_onion.protocol.tracker import AnnounceEvent
from torrent_onion.protocol.tracker_server import (
    INTERVAL,
    LONELY_INTERVAL,
    Announce,
    BadQuery,
    announce_reply,
    failure_reply,
    is_proven,
    peers_wanted,
    read_announce,
    read_scrape,
    scrape_reply,
)

ANNOUNCE_PATH = "/announce"
SCRAPE_PATH = "/scrape"  # where BEP 48 puts it

EXPIRE_SECONDS = 1.0  # between two small steps of forgetting
SAVE_SECONDS = 60.0  # between two visits to the database
LAST_SAVE_SECONDS = 3.0  # for the last one; the whole program ends within 5
SAVE_BYTES = 16 * 1024 * 1024  # of one transaction: a fraction of a second, and bounded memory

_SECONDS_OF_MINUTE = 60

_NOT_SERVED = "This tracker does not serve this torrent."
_NOT_PROVEN = (
    "Your onion address is not given to others: its proof is wrong. Check this computer's clock."
)
_FULL = "This tracker is full: it answers you, but does not give your address to others."


@dataclass(frozen=True, slots=True)
class TrackerStatistics:
    """The figures of one moment.

    Args:
        torrents: That somebody is in, or that the tracker was told to serve and has seen.
        onions: Peers that are given to others, counted once for each torrent.
        counted: Peers that are only counted.
        announces: That were answered since the start.
        scrapes: The same for scrapes.
        refused: Requests that were no announce or scrape, or for torrents that are not served.
        connections: That are open.
    """

    torrents: int
    onions: int
    counted: int
    announces: int
    scrapes: int
    refused: int
    connections: int


class Tracker:
    """Answers announces and scrapes.

    Args:
        url: Its own announce URL, which proofs must name.
        registry: Its memory.
        rng: Chooses the peers that are given.
        clock: Monotonic seconds.
        wall_clock: Unix time, which proofs must name too.
    """

    def __init__(
        self,
        url: str,
        registry: SwarmRegistry,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._registry = registry
        self._rng = rng
        self._clock = clock
        self._wall_clock = wall_clock
        self.announces = self.scrapes = self.refused = 0

    def respond(self, target: bytes) -> Answer:
        """Answer a request's target. What cannot be read is answered with the reason (BEP 3)."""
        path, _, query = _origin_form(target).partition(b"?")
        try:
            if path == ANNOUNCE_PATH.encode():
                return Answer(OK, self._announce(read_announce(query)))
            if path == SCRAPE_PATH.encode():
                return Answer(OK, self._scrape(query))
        except BadQuery as error:
            self.refused += 1
            return Answer(OK, failure_reply(str(error)))
        self.refused += 1
        return Answer(NOT_FOUND)

    def _announce(self, announce: Announce) -> bytes:
        registry, info_hash = self._registry, announce.info_hash
        if not registry.serves(info_hash):
            self.refused += 1
            return failure_reply(_NOT_SERVED, is_final=True)
        self.announces += 1
        peer, warning = self._identify(announce)
        if announce.event is AnnounceEvent.STOPPED:
            registry.leave(info_hash, peer)
        elif not registry.join(
            info_hash,
            peer,
            self._clock(),
            is_seed=announce.is_seed,
            has_completed=announce.event is AnnounceEvent.COMPLETED,
        ):
            warning = warning or _FULL
        dictionaries = not peer.is_proven
        count = peers_wanted(announce, dictionaries=dictionaries)
        onions = registry.sample(
            info_hash, count, self._rng, asked_by=peer, is_seed=announce.is_seed
        )
        is_lonely = count > 0 and not onions and not announce.is_seed
        return announce_reply(
            registry.numbers(info_hash),
            onions,
            interval=LONELY_INTERVAL if is_lonely else INTERVAL,
            dictionaries=dictionaries,
            warning=warning,
        )

    def _identify(self, announce: Announce) -> tuple[SwarmPeer, str | None]:
        """Tell who announces, and what its user should know about that."""
        # The end of a peer id is random in every client, its start is the client's name (BEP 20).
        counted = SwarmPeer(announce.peer_id[-COUNTED_KEY_LENGTH:], is_proven=False)
        if announce.onion is None or announce.signature is None:
            return counted, None
        minute = int(self._wall_clock() // _SECONDS_OF_MINUTE)
        onion = SwarmPeer(announce.onion, is_proven=True)
        if not is_proven(announce, self._url, minute) or not self._is_onion(announce, onion):
            return counted, _NOT_PROVEN
        self._registry.leave(announce.info_hash, counted)  # in case it had no proof before
        return onion, None

    def _is_onion(self, announce: Announce, onion: SwarmPeer) -> bool:
        """Whether it is an address that tor accepts; a slow check, so not of who is known."""
        if self._registry.knows(announce.info_hash, onion):
            return True
        try:
            PeerAddress.from_compact_onion(onion.record)
        except AddressError:
            return False
        return True

    def _scrape(self, query: bytes) -> bytes:
        hashes = read_scrape(query)
        self.scrapes += 1
        known = filter(self._registry.has_torrent, hashes)
        return scrape_reply({one: self._registry.numbers(one) for one in known})


class TrackerService:
    """A tracker that serves; made by :func:`open_tracker`."""

    def __init__(self, tracker: Tracker, registry: SwarmRegistry, server: HttpServer) -> None:
        self._tracker = tracker
        self._registry = registry
        self._server = server

    def statistics(self) -> TrackerStatistics:
        """Return the figures of this moment."""
        registry = self._registry.statistics()
        return TrackerStatistics(
            torrents=registry.torrents,
            onions=registry.onions,
            counted=registry.counted,
            announces=self._tracker.announces,
            scrapes=self._tracker.scrapes,
            refused=self._tracker.refused,
            connections=self._server.statistics().connections,
        )


@asynccontextmanager
async def open_tracker(
    url: str,
    listener: PeerListener,
    registry: SwarmRegistry,
    *,
    database: TrackerDatabase | None = None,
) -> AsyncIterator[TrackerService]:
    """Serve announces and scrapes for as long as the block lasts.

    Args:
        url: The announce URL, as clients see it.
        listener: Where they come in; closing it is the caller's business.
        registry: The memory; what is in the database is in it already.
        database: Where it is written to now and then, and on leaving the block.

    Raises:
        StorageError: The database cannot be written to.
    """
    # Unpredictable enough: whoever guesses it learns whom others were told of, out of those that
    # anybody may ask for. The system's generator takes longer than all else that a reply needs.
    rng = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311
    tracker = Tracker(url, registry, rng=rng, clock=trio.current_time)
    server = HttpServer(listener, tracker.respond)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            nursery.start_soon(_expire, registry)
            if database is not None:
                nursery.start_soon(_save_regularly, registry, database)
            yield TrackerService(tracker, registry, server)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None
    finally:
        if database is not None:
            with trio.move_on_after(LAST_SAVE_SECONDS, shield=True):
                await _save(registry, database)


async def _expire(registry: SwarmRegistry) -> None:
    while True:
        await trio.sleep(EXPIRE_SECONDS)
        registry.expire(trio.current_time())


async def _save_regularly(registry: SwarmRegistry, database: TrackerDatabase) -> None:
    while True:
        await trio.sleep(SAVE_SECONDS)
        await _save(registry, database)


async def _save(registry: SwarmRegistry, database: TrackerDatabase) -> None:
    """Write what has changed, in transactions that are not too large."""
    while snapshots := registry.take_changes(SAVE_BYTES, trio.current_time()):
        await database.save(snapshots)


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target; it may be a whole URL (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        return target
    return b"/" + rest.partition(b"/")[2]
