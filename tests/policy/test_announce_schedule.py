import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.policy.announce_schedule import (
    FIRST_HUNGER,
    FIRST_RETRY,
    LATENESS,
    MAX_RETRY,
    RETRY_JITTER,
    Announcement,
    AnnounceSchedule,
)
from torrent_onion.protocol.tracker import AnnounceEvent, AnnounceReply, Refusal

A, B, C = "http://a.example/announce", "http://b.example/announce", "http://c.example/announce"
REPLY = AnnounceReply(interval=1800, min_interval=60)


def schedule(*tier: str, seed: int = 1, complete: bool = False) -> AnnounceSchedule:
    return AnnounceSchedule(tier, rng=Random(seed), start=0, complete=complete)


def begin(one: AnnounceSchedule, now: float, *, hungry: bool = False) -> Announcement:
    announcement = one.begin(now, hungry=hungry)
    assert announcement is not None
    return announcement


def announce(one: AnnounceSchedule, now: float, reply: AnnounceReply = REPLY) -> Announcement:
    announcement = begin(one, now)
    one.answered(announcement, reply, now)
    return announcement


def due(one: AnnounceSchedule) -> float:
    return one.due(hungry=False)


class TestTier:
    def test_the_order_is_random_and_then_kept(self) -> None:
        orders = {schedule(A, B, C, seed=seed).trackers for seed in range(50)}
        assert len(orders) == 6
        assert all(set(order) == {A, B, C} for order in orders)

    def test_a_tracker_is_there_once(self) -> None:
        assert schedule(A, A).trackers == (A,)

    def test_the_next_stands_in_at_once_and_goes_to_the_front(self) -> None:
        """The example of BEP 12: 1, 2, 3; then 2, 1, 3; then 3, 2, 1."""
        one = schedule(A, B, C)
        first, second, third = one.trackers
        one.failed(begin(one, 0), 0)
        assert announce(one, 1).tracker == second
        assert one.trackers == (second, first, third)
        now = due(one)
        for tracker in (second, first):
            failed = begin(one, now)
            assert failed.tracker == tracker
            one.failed(failed, now)
        assert announce(one, now).tracker == third
        assert one.trackers == (third, second, first)

    def test_who_answers_is_asked_again_and_nobody_else(self) -> None:
        one = schedule(A, B, C)
        trackers = {announce(one, due(one)).tracker for _ in range(10)}
        assert trackers == {one.trackers[0]}

    def test_when_all_fail_the_first_that_may_be_asked_again_is(self) -> None:
        one = schedule(A, B)
        for _ in range(2):
            one.failed(begin(one, 0), 0)
        assert one.begin(0, hungry=True) is None
        assert FIRST_RETRY * (1 - RETRY_JITTER) <= due(one) <= FIRST_RETRY * (1 + RETRY_JITTER)
        assert begin(one, due(one)).event is AnnounceEvent.STARTED


class TestTime:
    def test_in_turn_never_early_and_never_twice_alike(self) -> None:
        intervals = set()
        for seed in range(20):
            one = schedule(A, seed=seed)
            announce(one, 100)
            intervals.add(due(one) - 100)
            assert 1800 <= due(one) - 100 <= 1800 * (1 + LATENESS)
            assert one.begin(due(one) - 0.01, hungry=False) is None
        assert len(intervals) == 20

    def test_pauses_double_with_jitter_up_to_the_limit(self) -> None:
        one = schedule(A)
        now, expected = 0.0, FIRST_RETRY
        for _ in range(40):
            one.failed(begin(one, now), now)
            pause = due(one) - now
            assert expected * (1 - RETRY_JITTER) <= pause <= expected * (1 + RETRY_JITTER)
            now, expected = due(one), min(2 * expected, MAX_RETRY)
        announce(one, now)
        now = due(one)
        one.failed(begin(one, now), now)
        assert due(one) - now <= FIRST_RETRY * (1 + RETRY_JITTER)

    def test_the_hungry_ask_sooner_but_ever_less(self) -> None:
        one = schedule(A)
        announce(one, 0)
        now, pauses = 0.0, []
        for _ in range(8):
            next_time = one.due(hungry=True)
            pauses.append(next_time - now)
            now = next_time
            one.answered(begin(one, now, hungry=True), REPLY, now)
        for pause, expected in zip(pauses, [60, 120, 240, 480, 960, 1800, 1800, 1800], strict=True):
            assert expected <= pause <= expected * (1 + LATENESS)
        announce(one, due(one))
        assert one.due(hungry=True) - now < due(one) - now

    def test_hunger_respects_the_trackers_minimum(self) -> None:
        one = schedule(A)
        announce(one, 0, AnnounceReply(interval=1800, min_interval=900))
        assert one.due(hungry=True) >= 900 > FIRST_HUNGER

    def test_hunger_passes(self) -> None:
        one = schedule(A)
        announce(one, 0)
        one.answered(begin(one, 70, hungry=True), REPLY, 70)
        announce(one, due(one))
        now = due(one)
        announce(one, now)
        assert one.due(hungry=True) - now <= FIRST_HUNGER * (1 + LATENESS)


class TestRefusal:
    def test_come_back_then(self) -> None:
        one = schedule(A)
        one.refused(begin(one, 0), Refusal("busy", retry_after=3600), 0)
        assert 3600 <= due(one) <= 3600 * (1 + LATENESS)

    def test_never_come_back(self) -> None:
        one = schedule(A)
        one.refused(begin(one, 0), Refusal("no", is_final=True), 0)
        assert due(one) == math.inf
        assert one.begin(1e9, hungry=True) is None
        assert one.farewells() == []

    def test_without_a_word_like_a_failure(self) -> None:
        one = schedule(A, B)
        one.refused(begin(one, 0), Refusal("no"), 0)
        assert due(one) == 0
        assert begin(one, 0).tracker == one.trackers[1]
        assert begin(one, 1000).tracker == one.trackers[0]


class TestEvents:
    def test_started_until_it_is_heard_and_then_no_more(self) -> None:
        one = schedule(A)
        one.failed(begin(one, 0), 0)
        assert announce(one, due(one)).event is AnnounceEvent.STARTED
        assert announce(one, due(one)).event is None

    def test_each_tracker_that_stands_in_hears_started(self) -> None:
        one = schedule(A, B)
        announce(one, 0)
        now = due(one)
        one.failed(begin(one, now), now)
        assert announce(one, now).event is AnnounceEvent.STARTED

    def test_completed_at_once_and_only_once(self) -> None:
        one = schedule(A)
        assert not announce(one, 0).complete
        one.completed(10, fetched=True)
        assert due(one) == 10
        announcement = announce(one, 10)
        assert announcement.event is AnnounceEvent.COMPLETED
        assert announcement.complete
        assert announce(one, due(one)).event is None

    def test_completed_is_repeated_until_it_is_heard(self) -> None:
        one = schedule(A)
        announce(one, 0)
        one.completed(10, fetched=True)
        one.failed(begin(one, 10), 10)
        assert announce(one, due(one)).event is AnnounceEvent.COMPLETED

    def test_completed_while_started_was_under_way(self) -> None:
        one = schedule(A)
        started = begin(one, 0)
        one.completed(1, fetched=True)
        one.answered(started, REPLY, 2)
        assert announce(one, 2).event is AnnounceEvent.COMPLETED
        assert announce(one, due(one)).event is None

    def test_completed_before_anybody_heard_of_us_is_no_event(self) -> None:
        one = schedule(A)
        one.failed(begin(one, 0), 0)
        one.completed(1, fetched=True)
        assert announce(one, due(one)).event is AnnounceEvent.STARTED
        assert announce(one, due(one)).event is None

    def test_a_seed_never_completes(self) -> None:
        one = schedule(A, complete=True)
        assert announce(one, 0).complete
        one.completed(1, fetched=False)
        assert due(one) >= 1800
        assert announce(one, due(one)).event is None

    def test_what_was_on_the_disk_is_no_download(self) -> None:
        one = schedule(A)
        announce(one, 0)
        one.completed(1, fetched=False)
        assert due(one) >= 1800
        assert announce(one, due(one)).event is None

    def test_farewell_to_all_who_know_us_and_to_nobody_else(self) -> None:
        one = schedule(A, B, C)
        assert one.farewells() == []
        announce(one, 0, AnnounceReply(tracker_id=b"id"))
        now = due(one)
        one.failed(begin(one, now), now)
        announce(one, now)
        second, first, _ = one.trackers
        assert one.farewells() == [
            (Announcement(second, AnnounceEvent.STOPPED, None, complete=False),),
            (Announcement(first, AnnounceEvent.STOPPED, b"id", complete=False),),
        ]


class TestFarewell:
    def events(self, one: AnnounceSchedule) -> list[list[AnnounceEvent | None]]:
        return [[each.event for each in farewell] for farewell in one.farewells()]

    def test_also_to_a_tracker_that_is_just_being_told(self) -> None:
        one = schedule(A)
        started = begin(one, 0)
        assert self.events(one) == [[AnnounceEvent.STOPPED]]
        one.failed(started, 1)
        assert self.events(one) == []

    def test_who_does_not_know_that_we_completed_hears_it_first(self) -> None:
        one = schedule(A, B)
        announce(one, 0)
        one.completed(10, fetched=True)
        assert one.farewells() == [
            (
                Announcement(one.trackers[0], AnnounceEvent.COMPLETED, None, complete=True),
                Announcement(one.trackers[0], AnnounceEvent.STOPPED, None, complete=True),
            )
        ]
        announce(one, 10)
        assert self.events(one) == [[AnnounceEvent.STOPPED]]

    def test_completed_is_said_again_if_it_was_not_heard_yet(self) -> None:
        one = schedule(A)
        announce(one, 0)
        one.completed(10, fetched=True)
        begin(one, 10)
        assert self.events(one) == [[AnnounceEvent.COMPLETED, AnnounceEvent.STOPPED]]

    def test_completed_while_started_is_under_way(self) -> None:
        one = schedule(A)
        begin(one, 0)
        one.completed(1, fetched=True)
        assert self.events(one) == [[AnnounceEvent.COMPLETED, AnnounceEvent.STOPPED]]

    def test_a_seed_that_is_just_starting_never_completes(self) -> None:
        one = schedule(A, complete=True)
        begin(one, 0)
        one.completed(1, fetched=True)
        assert self.events(one) == [[AnnounceEvent.STOPPED]]

    def test_what_was_on_the_disk_is_no_download(self) -> None:
        one = schedule(A)
        started = begin(one, 0)
        one.completed(1, fetched=False)
        assert self.events(one) == [[AnnounceEvent.STOPPED]]
        one.answered(started, REPLY, 2)
        assert self.events(one) == [[AnnounceEvent.STOPPED]]
        assert announce(one, due(one)).event is None


def test_a_tracker_id_goes_back_to_its_own_tracker_only() -> None:
    one = schedule(A, B)
    assert announce(one, 0, AnnounceReply(tracker_id=b"one")).tracker_id is None
    assert announce(one, due(one), AnnounceReply()).tracker_id == b"one"
    assert announce(one, due(one), AnnounceReply(tracker_id=b"two")).tracker_id == b"one"
    now = due(one)
    failed = begin(one, now)
    assert failed.tracker_id == b"two"
    one.failed(failed, now)
    assert begin(one, now).tracker_id is None


@given(
    st.integers(),
    st.lists(
        st.sampled_from(["answered", "failed", "busy", "completed", "wait"]),
        max_size=60,
    ),
)
def test_whatever_happens_no_tracker_is_asked_too_often(seed: int, events: list[str]) -> None:
    one = schedule(A, B, seed=seed)
    now = 0.0
    last: dict[str, float] = {}
    for event in events:
        if event == "wait":
            now += 30
            continue
        if event == "completed":
            one.completed(now, fetched=True)
            continue
        now = max(now, one.due(hungry=True))
        announcement = begin(one, now, hungry=True)
        if announcement.event is not AnnounceEvent.COMPLETED:
            pause = now - last.get(announcement.tracker, -math.inf)
            assert pause >= FIRST_RETRY * (1 - RETRY_JITTER)
        last[announcement.tracker] = now
        if event == "answered":
            one.answered(announcement, REPLY, now)
        elif event == "failed":
            one.failed(announcement, now)
        else:
            one.refused(announcement, Refusal("busy", retry_after=120), now)
