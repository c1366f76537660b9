"""When to announce a torrent to which tracker (BEP 3, 12, 31).

A schedule has one tier of trackers and one info-hash. Rules:

- Of the trackers in a tier, one is announced to; the others stand in for it, in random order, and
  whoever answers goes to the front (BEP 12). Every tier is announced to, as qBittorrent does, not
  only the first that answers: a swarm whose members each found another tracker would be several.
- A tracker that fails is left alone for a while that doubles, with jitter; one that says when to
  come back is believed, "never" included (BEP 31).
- Announces in turn come a little late at random, never early: torrents that were started together
  must not stay together.
- Who has nobody to talk to asks again sooner, but not before the tracker's own minimum.
- ``started`` goes to a tracker once, ``completed`` only to one that knew us incomplete, ``stopped``
  to all that were told that we started, or are just being told. Who leaves with the last byte says
  both, one after the other, and a ``completed`` again whose answer has not come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from torrent_onion.protocol.tracker import AnnounceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from torrent_onion.protocol.tracker import AnnounceReply, Refusal

FIRST_RETRY: Final = 20.0
"""Seconds after a first failure; through Tor that is most often a circuit that broke."""
MAX_RETRY: Final = 60 * 60.0
"""Seconds between attempts at a tracker that never answers."""
_MAX_DOUBLINGS: Final = 10
RETRY_JITTER: Final = 0.25
"""Part by which a retry may come earlier or later."""
FIRST_HUNGER: Final = 60.0
"""Seconds until we ask again because nobody is there; doubles each time."""
LATENESS: Final = 0.1
"""Part of an interval by which an announce in turn may be late."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What to send next.

    Args:
        tracker: The announce URL.
        event: Why; None in turn.
        tracker_id: What the tracker asked us to repeat.
        complete: Whether we had everything when it was begun.
    """

    tracker: str
    event: AnnounceEvent | None
    tracker_id: bytes | None
    complete: bool


class _Tracker:
    """One tracker of the tier.

    Attributes:
        told: Whether we had everything when it last took an announcement; None: it took none.
        not_before: When it may be asked again after a failure.
    """

    __slots__ = ("failures", "not_before", "told", "tracker_id", "url")

    def __init__(self, url: str) -> None:
        self.url: Final = url
        self.told: bool | None = None
        self.tracker_id: bytes | None = None
        self.failures = 0
        self.not_before = -math.inf


class AnnounceSchedule:
    """One tier of trackers and one info-hash.

    Call :meth:`begin` when it is :meth:`due`, announce what it returns, and call
    :meth:`answered`, :meth:`refused`, :meth:`failed` or :meth:`postponed`. Times are
    seconds on any clock.

    Args:
        tier: Announce URLs; at least one.
        rng: For the order and for jitter.
        start: When to announce first.
        complete: We have everything already.
    """

    def __init__(
        self, tier: Sequence[str], *, rng: Random, start: float, complete: bool = False
    ) -> None:
        self._rng = rng
        self._complete = complete
        self._has_fetched = False
        self._trackers = [_Tracker(url) for url in dict.fromkeys(tier)]
        rng.shuffle(self._trackers)
        self._next = self._next_if_hungry = start
        self._hunger = FIRST_HUNGER / 2
        self._sent_hungry = False
        self._under_way: Announcement | None = None

    @property
    def trackers(self) -> tuple[str, ...]:
        """The URLs, in the order in which they are tried."""
        return tuple(tracker.url for tracker in self._trackers)

    def due(self, *, hungry: bool) -> float:
        """When to announce; infinity if none of the trackers wants to hear of us.

        Args:
            hungry: We want peers and know none.
        """
        wanted = self._next_if_hungry if hungry else self._next
        return max(wanted, min(tracker.not_before for tracker in self._trackers))

    def begin(self, now: float, *, hungry: bool) -> Announcement | None:
        """Choose a tracker, if it is time."""
        if now < self.due(hungry=hungry):
            return None
        self._sent_hungry = hungry
        tracker = next(tracker for tracker in self._trackers if tracker.not_before <= now)
        self._under_way = self._announcement(tracker, self._event(tracker))
        return self._under_way

    def answered(self, announcement: Announcement, reply: AnnounceReply, now: float) -> None:
        """Note that a tracker took an announcement: it is the first of its tier from now on."""
        tracker = self._end(announcement)
        self._trackers.remove(tracker)
        self._trackers.insert(0, tracker)
        tracker.failures = 0
        tracker.not_before = -math.inf
        tracker.told = announcement.complete
        tracker.tracker_id = reply.tracker_id or tracker.tracker_id
        self._hunger = min(2 * self._hunger, reply.interval) if self._sent_hungry else FIRST_HUNGER
        hungry = self._late(max(reply.min_interval, self._hunger))
        # The last byte may have come while this announcement was under way.
        in_turn = 0 if self._event(tracker) else self._late(reply.interval)
        self._next = now + in_turn
        self._next_if_hungry = now + min(in_turn, hungry)

    def refused(self, announcement: Announcement, refusal: Refusal, now: float) -> None:
        """Note that a tracker does not want this torrent, or not now."""
        tracker = self._end(announcement)
        self._put_off(tracker, now)
        if refusal.is_final:
            tracker.not_before = math.inf
        elif refusal.retry_after is not None:
            tracker.not_before = now + self._late(refusal.retry_after)

    def failed(self, announcement: Announcement, now: float) -> None:
        """Note that a tracker was not reached, or answered nonsense."""
        self._put_off(self._end(announcement), now)

    def postponed(self, announcement: Announcement, until: float) -> None:
        """Note that there was no network, which says nothing about the tracker."""
        self._end(announcement).not_before = until

    def completed(self, now: float, *, fetched: bool) -> None:
        """Note that we have everything now.

        Args:
            now: The time.
            fetched: Some of it came from peers; else all of it was found on the disk, which is no
                download that a tracker should count.
        """
        self._complete = True
        self._has_fetched = fetched
        if self._event(self._trackers[0]) is AnnounceEvent.COMPLETED:
            self._next = self._next_if_hungry = min(self._next, now)

    def farewells(self) -> list[tuple[Announcement, ...]]:
        """What to send on leaving.

        Returns:
            For every tracker that may believe that we are here, what it must hear in this order. An
            announcement that is under way counts as lost: ``completed`` is said again.
        """
        each = map(self._farewell, self._trackers)
        return [announcements for announcements in each if announcements]

    def _farewell(self, tracker: _Tracker) -> tuple[Announcement, ...]:
        told, under_way = tracker.told, self._under_way
        if told is None and under_way is not None and under_way.tracker == tracker.url:
            told = under_way.complete
        if told is None:
            return ()
        stopped = self._announcement(tracker, AnnounceEvent.STOPPED)
        if told or not self._has_fetched:
            return (stopped,)
        return (self._announcement(tracker, AnnounceEvent.COMPLETED), stopped)

    def _announcement(self, tracker: _Tracker, event: AnnounceEvent | None) -> Announcement:
        return Announcement(tracker.url, event, tracker.tracker_id, self._complete)

    def _event(self, tracker: _Tracker) -> AnnounceEvent | None:
        if tracker.told is None:
            return AnnounceEvent.STARTED
        return AnnounceEvent.COMPLETED if self._has_fetched and not tracker.told else None

    def _end(self, announcement: Announcement) -> _Tracker:
        """Note that an announcement is over; return its tracker."""
        self._under_way = None
        return next(each for each in self._trackers if each.url == announcement.tracker)

    def _put_off(self, tracker: _Tracker, now: float) -> None:
        wait = min(FIRST_RETRY * 2**tracker.failures, MAX_RETRY)
        tracker.failures = min(tracker.failures + 1, _MAX_DOUBLINGS)
        tracker.not_before = now + wait * self._rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)

    def _late(self, interval: float) -> float:
        return interval * self._rng.uniform(1, 1 + LATENESS)
