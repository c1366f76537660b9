"""The request queue against a simulated link: a peer that sends so fast, so far away."""

import heapq
from collections.abc import Callable

import pytest

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.policy.request_queue import (
    DEFAULT_LIMIT,
    FIRST_BLOCKS,
    MAX_SECONDS,
    MIN_BLOCKS,
    SNUB_SECONDS,
    RequestQueue,
)


class Link:
    """A peer that answers in order: each request waits for those before it, then for the way back.

    Args:
        rate: Bytes a second, as a function of the time.
        trip: Seconds from a request to its block when the peer is idle, the same.
        nap: For so long at the start of every second we do not look at what has come.
    """

    def __init__(
        self,
        queue: RequestQueue,
        rate: Callable[[float], float],
        trip: Callable[[float], float],
        nap: float = 0.0,
    ) -> None:
        self.queue = queue
        self.now = 0.0
        self.arrivals: list[float] = []
        self._rate = rate
        self._trip = trip
        self._nap = nap
        self._busy_until = 0.0
        self._last_arrival = 0.0
        self._coming: list[tuple[float, Block]] = []
        self._next = 0

    def run(self, until: float) -> None:
        self._ask()
        while self._coming and self._coming[0][0] <= until:
            self.now = self._coming[0][0]
            while self._coming and self._coming[0][0] == self.now:  # as much as one read brings
                self.queue.block_arrived(heapq.heappop(self._coming)[1], self.now)
                self.arrivals.append(self.now)
            self._ask()
        self.now = until

    def delivered(self, since: float, until: float) -> float:
        """Bytes a second between two times."""
        count = sum(since <= arrival < until for arrival in self.arrivals)
        return count * BLOCK_SIZE / (until - since)

    def _ask(self) -> None:
        for _ in range(self.queue.room(self.now)):
            block = Block(self._next, 0, BLOCK_SIZE)
            self._next += 1
            self.queue.request_sent(block, self.now)
            trip = self._trip(self.now)
            start = max(self.now + trip / 2, self._busy_until)
            self._busy_until = start + BLOCK_SIZE / self._rate(start)
            self._last_arrival = max(self._last_arrival, self._busy_until + trip / 2)
            seen = max(self._last_arrival, int(self._last_arrival) + self._nap)
            heapq.heappush(self._coming, (seen, block))


def constant(value: float) -> Callable[[float], float]:
    return lambda _: value


RATES = [50e3, 300e3, 1e6, 4e6]
TRIPS = [0.3, 1.0, 2.0]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("trip", TRIPS)
def test_a_constant_link_is_filled_within_a_few_round_trips(rate: float, trip: float) -> None:
    link = Link(RequestQueue(), constant(rate), constant(trip))
    link.run(60)
    # Whatever the rate: 32 blocks doubled five times are enough for 4 MB/s over 2 s.
    start = 8 * trip
    assert link.delivered(start, start + 10) > 0.95 * rate
    assert link.delivered(start, 60) > 0.95 * rate


@pytest.mark.parametrize("rate", [2e3, 20e3, 100e3, 1e6])
@pytest.mark.parametrize("trip", TRIPS)
def test_no_more_is_asked_for_than_comes_in_a_few_seconds(rate: float, trip: float) -> None:
    queue = RequestQueue()
    link = Link(queue, constant(rate), constant(trip))
    for second in range(1, 900):
        link.run(second)
        least = MIN_BLOCKS if second > 300 else FIRST_BLOCKS
        assert queue.outstanding <= max(least, MAX_SECONDS * rate / BLOCK_SIZE + 1)
        if second > 300 and rate >= 100e3:  # slower ones wait for the least number of blocks
            assert queue.outstanding <= 1.5 * (2 * trip + 1) * rate / BLOCK_SIZE
    assert queue.round_trip == pytest.approx(
        trip, rel=0.3, abs=(MIN_BLOCKS + 1) * BLOCK_SIZE / rate
    )


@pytest.mark.parametrize("trip", TRIPS)
def test_the_queue_doubles_every_round_trip_from_the_start(trip: float) -> None:
    link = Link(RequestQueue(), constant(1e9), constant(trip))
    link.run(4.5 * trip)
    for passed in range(1, 4):
        before = link.delivered(passed * trip, (passed + 1) * trip - 0.01)
        after = link.delivered((passed + 1) * trip, (passed + 2) * trip - 0.01)
        assert after >= 1.9 * before


def test_the_rate_is_measured() -> None:
    queue = RequestQueue()
    Link(queue, constant(1e6), constant(0.5)).run(30)
    assert queue.rate == pytest.approx(1e6, rel=0.1)


@pytest.mark.parametrize("stall", [5.0, 50.0])
def test_a_stall_is_made_up_for_at_once(stall: float) -> None:
    def rate(now: float) -> float:
        return BLOCK_SIZE / (30 + stall - now) if 30 <= now < 30 + stall else 1e6

    link = Link(RequestQueue(), rate, constant(1.0))
    link.run(60 + stall)
    assert link.delivered(31.5, 30 + stall) < 0.2e6
    assert link.delivered(30 + stall + 1, 30 + stall + 11) > 0.9e6
    assert link.delivered(30 + stall + 1, 60 + stall) > 0.95e6


def test_a_link_that_gets_faster_is_filled_again() -> None:
    link = Link(RequestQueue(), lambda now: 0.2e6 if now < 40 else 4e6, constant(1.0))
    link.run(80)
    assert link.delivered(50, 80) > 0.95 * 4e6


def test_a_link_that_gets_slower_does_not_keep_its_long_queue() -> None:
    queue = RequestQueue()
    link = Link(queue, lambda now: 4e6 if now < 40 else 0.1e6, constant(1.0))
    link.run(300)
    # It takes 100 seconds to receive what was asked for at the rate before.
    assert queue.outstanding * BLOCK_SIZE / 0.1e6 < 5
    assert link.delivered(60, 300) > 0.95 * 0.1e6


def test_a_short_way_is_kept_filled_though_we_are_busy_at_times() -> None:
    link = Link(RequestQueue(), constant(1e6), constant(0.02), nap=0.4)
    link.run(60)
    assert link.delivered(3, 60) > 0.95e6


@pytest.mark.parametrize("later", [1.5, 3.0])
def test_a_longer_way_is_measured_anew(later: float) -> None:
    link = Link(RequestQueue(), constant(1e6), lambda now: 0.3 if now < 40 else later)
    link.run(120)
    assert link.delivered(90, 120) > 0.95e6


def test_a_shorter_way_is_measured_anew() -> None:
    queue = RequestQueue()
    link = Link(queue, constant(1e6), lambda now: 3.0 if now < 60 else 0.3)
    link.run(240)
    assert queue.round_trip < 1
    assert link.delivered(100, 240) > 0.95e6


def test_the_peers_limit_holds() -> None:
    queue = RequestQueue(20)
    Link(queue, constant(1e6), constant(1.0)).run(10)
    assert queue.outstanding == 20
    queue.set_limit(10)
    assert queue.room(10) == 0
    queue.set_limit(10**9)
    Link(queue, constant(1e9), constant(1.0)).run(30)
    assert queue.outstanding <= DEFAULT_LIMIT
    queue.set_limit(0)
    assert RequestQueue(0).room(0) == 1


def test_a_queue_with_nothing_to_ask_for_does_not_grow() -> None:
    queue = RequestQueue()
    now = 0.0
    for number in range(1000):
        now += 1
        queue.request_sent(Block(number, 0, BLOCK_SIZE), now)
        queue.block_arrived(Block(number, 0, BLOCK_SIZE), now + 0.5)
    assert queue.room(now) <= FIRST_BLOCKS


def test_after_a_long_pause_it_begins_again() -> None:
    queue = RequestQueue()
    link = Link(queue, constant(4e6), constant(1.0))
    link.run(30)
    for block in [Block(*key) for key in queue._sent]:
        queue.request_gone(block)
    assert queue.room(40) > FIRST_BLOCKS
    assert queue.room(30 + SNUB_SECONDS + 2) == FIRST_BLOCKS
    assert queue.rate == 0


def blocks(count: int, first: int = 0) -> list[Block]:
    return [Block(number, 0, BLOCK_SIZE) for number in range(first, first + count)]


def test_all_is_overdue_when_nothing_comes() -> None:
    queue = RequestQueue()
    assert queue.overdue(1e6) == []
    for block in blocks(3):
        queue.request_sent(block, 100)
    assert queue.overdue(100 + SNUB_SECONDS - 1) == []
    queue.block_arrived(blocks(1)[0], 130)
    assert queue.overdue(100 + SNUB_SECONDS) == []
    assert queue.overdue(130 + SNUB_SECONDS) == blocks(2, first=1)


def test_a_peer_that_sends_nothing_is_asked_for_one_block_until_it_does() -> None:
    queue = RequestQueue()
    for block in blocks(3):
        queue.request_sent(block, 0)
    for block in queue.overdue(SNUB_SECONDS):
        queue.request_gone(block)
    assert queue.room(SNUB_SECONDS) == 1
    queue.request_sent(blocks(1)[0], SNUB_SECONDS)
    assert queue.overdue(SNUB_SECONDS + 1) == []
    queue.block_arrived(blocks(1)[0], SNUB_SECONDS + 1)
    assert queue.room(SNUB_SECONDS + 1) > 1


def test_a_request_that_the_peer_passed_over_is_overdue() -> None:
    queue = RequestQueue()
    forgotten = Block(10**6, 0, BLOCK_SIZE)
    queue.request_sent(forgotten, 0)
    link = Link(queue, constant(1e6), constant(0.5))
    link.run(SNUB_SECONDS - 1)
    assert queue.overdue(link.now) == []
    link.run(SNUB_SECONDS + 1)
    assert queue.overdue(link.now) == [forgotten]


def test_a_block_that_was_given_up_is_late_and_not_measured() -> None:
    queue = RequestQueue()
    block = blocks(1)[0]
    queue.request_sent(block, 0)
    queue.request_gone(block)
    queue.request_gone(block)
    assert queue.outstanding == 0
    queue.block_arrived(block, 100)
    assert queue.round_trip == 0
    assert queue.rate == 0
