"""Tells a torrent's trackers about us and hears from them who else is there.

- Each tracker sees a peer id and a key of its own, over a circuit of its own (one isolation token
  for each tracker and torrent), so that trackers cannot compare notes.
- Only a tracker that is an onion learns our onion. The others see an exit, and port 1.
- ``stopped`` is said on leaving, within ``FAREWELL_SECONDS`` in all and spread at random, so that
  torrents that end together do not show it.
- What a tracker says is a candidate for the pool, a number or a text. Nothing else of it is kept.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Protocol

import trio

from torrent_onion.core.identity import InfoHashes, PeerAddress, PeerId
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.source_statistics import TrackerStatistics
from torrent_onion.engine.statistics import TorrentStatistics
from torrent_onion.engine.tracker_client import EXCHANGE_SECONDS, announce
from torrent_onion.engine.transport import NETWORK_DOWN_PAUSE, is_network_down, new_isolation
from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.errors import RemoteError
from torrent_onion.policy.announce_schedule import Announcement, AnnounceSchedule
from torrent_onion.policy.peer_pool import Source
from torrent_onion.protocol.http import DroppedUrl, HttpUrl, sort_out
from torrent_onion.protocol.tracker import (
    HIDDEN_PORT,
    KEY_SIZE,
    AnnounceEvent,
    AnnounceReply,
    AnnounceRequest,
    Refusal,
    onion_proof_message,
)

log = logging.getLogger(__name__)

MAX_TIERS = 20
"""Tiers that are announced to; each costs a circuit, and real torrents have a handful over HTTP."""
MAX_AT_ONCE = 8
"""Announces of one torrent under way at once."""
START_SPREAD = 1.0
"""Seconds within which a torrent's first announces go out."""
FAREWELL_SECONDS = 3.0
"""For all that is said on leaving together; a command has 5 seconds to end."""
FAREWELL_SPREAD = 1.0
"""Seconds within which trackers begin to hear of it."""
HEAD_START_SECONDS = 1.0
"""Of a ``completed`` on leaving; then comes ``stopped``, whether or not it was answered. Both go
through one circuit of tor, so that they arrive in this order."""
LOOK_SECONDS = 60.0
"""How often we look whether all peers are gone, so that we must ask for others."""

_PEER_ID_SIZE = 20
_SECONDS_A_MINUTE = 60
_TOO_MANY = "there are too many"

Sign = Callable[[bytes], bytes]
"""Signs with the identity key of our onion service: 64 bytes (RFC 8032)."""


class AnnouncedTorrent(Protocol):
    """What is asked of a torrent."""

    info_hashes: InfoHashes
    has_metadata: trio.Event
    all_verified: trio.Event

    @property
    def wants_peers(self) -> bool:
        """Whether others could give us anything."""

    def statistics(self) -> TorrentStatistics:
        """How it stands."""

    def add_candidates(self, addresses: list[PeerAddress], source: str) -> None:
        """Take what a tracker named."""


class _Tracker:
    """What one tracker knows us by, and what it last said."""

    def __init__(self, url: HttpUrl) -> None:
        self.url = url
        self.peer_id = PeerId(secrets.token_bytes(_PEER_ID_SIZE))
        self.key = secrets.token_bytes(KEY_SIZE)
        self.isolation = ""
        self.change_circuit()
        self.statistics = TrackerStatistics(url=str(url))

    def change_circuit(self) -> None:
        """Leave a circuit that does not work; some trackers shut out some exits."""
        self.isolation = new_isolation()


class _Line:
    """One tier and one info-hash: at most one announce under way."""

    def __init__(self, info_hash: bytes, schedule: AnnounceSchedule) -> None:
        self.info_hash = info_hash
        self.schedule = schedule
        self.is_busy = False


class Announcer:
    """The announces of one torrent.

    Args:
        torrent: Whom it is for.
        tiers: Announce URLs as the torrent has them (BEP 12).
        http: Asks the trackers.
        rng: For orders and jitter.
        own_address: Where others may connect to us; only an onion is ever announced.
        sign: Proves that it is ours, to trackers that want that.
        clock: Unix time, for the proof.

    Attributes:
        dropped: Trackers that are not used, with the reasons; tell the user.
    """

    def __init__(
        self,
        torrent: AnnouncedTorrent,
        tiers: Iterable[Sequence[str]],
        *,
        http: HttpClient,
        rng: Random,
        own_address: PeerAddress | None = None,
        sign: Sign | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._torrent = torrent
        self._http = http
        self._rng = rng
        self._own_address = own_address if own_address and own_address.is_onion else None
        self._sign = sign
        self._clock = clock
        self._changed = Wakeup()
        self._trackers: dict[str, _Tracker] = {}
        self._tiers: list[tuple[str, ...]] = []
        self._lines: list[_Line] = []
        self.dropped: tuple[DroppedUrl, ...] = tuple(self._take(tiers))

    def statistics(self) -> tuple[TrackerStatistics, ...]:
        """One moment of all trackers that are in use."""
        return tuple(tracker.statistics for tracker in self._trackers.values())

    async def run(self) -> None:
        """Announce until cancelled; then say goodbye, which takes ``FAREWELL_SECONDS`` at most."""
        if not self._tiers:
            return
        self._add_lines()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_torrent)
                while True:
                    self._begin_announces(nursery)
                    with trio.move_on_at(self._next_look()):
                        await self._changed.wait()
        finally:
            with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._say_goodbye()

    def _take(self, tiers: Iterable[Sequence[str]]) -> Iterator[DroppedUrl]:
        """Keep what can be used of the torrent's trackers; yield the rest."""
        for tier in tiers:
            usable, dropped = sort_out(tier)
            yield from dropped
            fresh = tuple(str(url) for url in usable if str(url) not in self._trackers)
            if len(self._tiers) >= MAX_TIERS:
                yield from (DroppedUrl(url, _TOO_MANY) for url in fresh)
            elif fresh:
                self._tiers.append(fresh)
                self._trackers.update(
                    (str(url), _Tracker(url)) for url in usable if str(url) in fresh
                )

    def _add_lines(self) -> None:
        """Begin to announce info-hashes that are not announced yet: hybrids have two."""
        known = {line.info_hash for line in self._lines}
        now = trio.current_time()
        for info_hash in self._torrent.info_hashes.wire_hashes:
            if info_hash in known:
                continue
            for tier in self._tiers:
                schedule = AnnounceSchedule(
                    tier,
                    rng=self._rng,
                    start=now + self._rng.uniform(0, START_SPREAD),
                    complete=self._is_complete(),
                )
                self._lines.append(_Line(info_hash, schedule))

    async def _watch_torrent(self) -> None:
        """See what changes about the torrent: a second info-hash, and that it is complete."""
        await self._torrent.has_metadata.wait()
        self._add_lines()
        self._changed.ring()
        await self._torrent.all_verified.wait()
        self._note_completion()
        self._changed.ring()

    def _note_completion(self) -> None:
        if not self._is_complete():
            return  # only some of the files were wanted, or we leave before the end
        fetched = self._torrent.statistics().downloaded > 0
        for line in self._lines:
            line.schedule.completed(trio.current_time(), fetched=fetched)

    def _is_complete(self) -> bool:
        statistics = self._torrent.statistics()
        return self._torrent.all_verified.is_set() and statistics.done == statistics.total

    # When.

    def _is_hungry(self) -> bool:
        return self._torrent.wants_peers and self._torrent.statistics().peers == 0

    def _begin_announces(self, nursery: trio.Nursery) -> None:
        now, hungry = trio.current_time(), self._is_hungry()
        under_way = sum(line.is_busy for line in self._lines)
        for line in self._lines:
            if under_way >= MAX_AT_ONCE:
                return
            if line.is_busy or (announcement := line.schedule.begin(now, hungry=hungry)) is None:
                continue
            line.is_busy = True
            under_way += 1
            nursery.start_soon(self._announce, line, announcement)

    def _next_look(self) -> float:
        """When something may be due; a line that is busy rings when it is not any more."""
        waiting = [line.schedule for line in self._lines if not line.is_busy]
        if len(self._lines) - len(waiting) >= MAX_AT_ONCE:
            return trio.current_time() + LOOK_SECONDS
        hungry = self._is_hungry()
        next_due = min((schedule.due(hungry=hungry) for schedule in waiting), default=float("inf"))
        if self._torrent.wants_peers:
            return min(next_due, trio.current_time() + LOOK_SECONDS)
        return next_due

    # What.

    async def _announce(self, line: _Line, announcement: Announcement) -> None:
        tracker = self._trackers[announcement.tracker]
        try:
            reply = await self._ask(line, announcement, tracker, EXCHANGE_SECONDS)
        except (RemoteError, OSError) as error:
            log.debug("an announce failed: %s", error)
            reason = str(error) or "The tracker cannot be reached."
            tracker.statistics = replace(tracker.statistics, error=reason)
            tracker.change_circuit()
            now = trio.current_time()
            if is_network_down(error):
                line.schedule.postponed(announcement, now + NETWORK_DOWN_PAUSE)
            else:
                line.schedule.failed(announcement, now)
        else:
            self._take_reply(line, announcement, tracker, reply)
        line.is_busy = False
        self._changed.ring()

    def _take_reply(
        self,
        line: _Line,
        announcement: Announcement,
        tracker: _Tracker,
        reply: AnnounceReply | Refusal,
    ) -> None:
        now = trio.current_time()
        if isinstance(reply, Refusal):
            reason = reply.reason or "The tracker refuses this torrent."
            tracker.statistics = replace(tracker.statistics, error=reason, last_answer=now)
            line.schedule.refused(announcement, reply, now)
            return
        tracker.statistics = TrackerStatistics(
            url=str(tracker.url),
            warning=reply.warning,
            seeds=reply.seeds,
            leechers=reply.leechers,
            peers=len(reply.peers),
            last_answer=now,
        )
        line.schedule.answered(announcement, reply, now)
        # Port 1 is announced by those who, like us, sit behind a proxy: nobody listens there.
        peers = [peer for peer in reply.peers if peer.port != HIDDEN_PORT]
        self._torrent.add_candidates(peers, f"{Source.TRACKER}:{tracker.url}")

    async def _ask(
        self, line: _Line, announcement: Announcement, tracker: _Tracker, seconds: float
    ) -> AnnounceReply | Refusal:
        statistics = self._torrent.statistics()
        left = statistics.total - statistics.done if statistics.total else None
        request = AnnounceRequest(
            info_hash=line.info_hash,
            peer_id=tracker.peer_id,
            key=tracker.key,
            uploaded=statistics.uploaded,
            downloaded=statistics.downloaded,
            left=0 if announcement.complete else left,
            event=announcement.event or self._event_in_turn(),
            own_address=self._own_address,
            onion_sig=self._proof(line.info_hash, tracker.url),
            tracker_id=announcement.tracker_id,
        )
        return await announce(self._http, tracker.url, request, tracker.isolation, seconds=seconds)

    def _event_in_turn(self) -> AnnounceEvent | None:
        """Say of a torrent of which no more is wanted that it is neither a seed nor in need."""
        is_partial = self._torrent.all_verified.is_set() and not self._is_complete()
        return AnnounceEvent.PAUSED if is_partial else None

    def _proof(self, info_hash: bytes, url: HttpUrl) -> bytes | None:
        """Sign that the onion is ours, for onion trackers; nobody else is shown it."""
        if self._sign is None or self._own_address is None or not url.is_onion:
            return None
        minute = int(self._clock()) // _SECONDS_A_MINUTE
        return self._sign(onion_proof_message(info_hash, str(url), minute))

    async def _say_goodbye(self) -> None:
        self._note_completion()  # the last byte may have come a moment ago
        async with trio.open_nursery() as nursery:
            for line in self._lines:
                for announcements in line.schedule.farewells():
                    nursery.start_soon(self._farewell, line, announcements)

    async def _farewell(self, line: _Line, announcements: Sequence[Announcement]) -> None:
        await trio.sleep(self._rng.uniform(0, FAREWELL_SPREAD / len(announcements)))
        async with trio.open_nursery() as nursery:
            for announcement in announcements:
                was_heard = trio.Event()
                nursery.start_soon(self._say_last, line, announcement, was_heard)
                with trio.move_on_after(HEAD_START_SECONDS):
                    await was_heard.wait()

    async def _say_last(
        self, line: _Line, announcement: Announcement, was_heard: trio.Event
    ) -> None:
        tracker = self._trackers[announcement.tracker]
        with suppress(RemoteError, OSError):
            await self._ask(line, announcement, tracker, FAREWELL_SECONDS)
        was_heard.set()
