from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from torrent_onion.policy.choker import (
    MAX_STRIPES,
    OPTIMISTIC_TURN,
    ROUND,
    SEED_TURN,
    TURN_RATE,
    Candidate,
    Choker,
)

SLOTS = 4


class Room:
    """A choker and the connections that it decides about; time goes in rounds."""

    def __init__(self, *, seeding: bool, slots: int = SLOTS) -> None:
        self.choker = Choker(slots, Random(1))
        self.seeding = seeding
        self.now = 1000.0
        self.candidates: dict[int, Candidate] = {}

    def add(self, peer: int, *, rate: float = 0.0, person: bytes | None = None) -> None:
        self.candidates[peer] = Candidate(
            peer=peer,
            interested=True,
            is_seed=False,
            download_rate=rate,
            upload_rate=0.0,
            connected_since=self.now,
            unchoked=False,
            person=person,
        )

    def rechoke(self) -> frozenset[int]:
        unchoked = self.choker.rechoke(
            self.now, list(self.candidates.values()), seeding=self.seeding
        )
        for peer, candidate in self.candidates.items():
            self.candidates[peer] = replace(candidate, unchoked=peer in unchoked)
        return unchoked

    def rounds(self, number: int) -> list[frozenset[int]]:
        results = []
        for _ in range(number):
            results.append(self.rechoke())
            self.now += ROUND
        return results

    def change(self, peer: int, **changes: object) -> None:
        self.candidates[peer] = replace(self.candidates[peer], **changes)  # type: ignore[arg-type] # any field


@pytest.fixture
def leeching() -> Room:
    return Room(seeding=False)


@pytest.fixture
def seeding() -> Room:
    return Room(seeding=True)


def test_nobody_is_there(leeching: Room) -> None:
    assert leeching.rechoke() == frozenset()


@pytest.mark.parametrize("is_seeding", [True, False])
def test_everybody_who_wants_has_a_slot_while_there_are_enough(is_seeding: bool) -> None:
    room = Room(seeding=is_seeding)
    for peer in range(SLOTS):
        room.add(peer)
    assert room.rounds(20) == [frozenset(range(SLOTS))] * 20


@pytest.mark.parametrize("change", [{"interested": False}, {"is_seed": True}])
def test_who_wants_nothing_has_no_slot(leeching: Room, change: dict[str, bool]) -> None:
    for peer in range(SLOTS):
        leeching.add(peer, rate=10)
    leeching.change(0, **change)
    assert leeching.rechoke() == {1, 2, 3}


def test_the_slots_but_one_go_to_those_who_give_most(leeching: Room) -> None:
    for peer in range(20):
        leeching.add(peer, rate=1000.0 * peer)
    for unchoked in leeching.rounds(30):
        assert {17, 18, 19} < unchoked
        assert len(unchoked) == SLOTS


def test_the_optimistic_slot_changes_every_thirty_seconds_and_not_before(leeching: Room) -> None:
    for peer in range(20):
        leeching.add(peer, rate=1000.0 * peer)
    per_turn = round(OPTIMISTIC_TURN / ROUND)
    optimistic = [unchoked - {17, 18, 19} for unchoked in leeching.rounds(40 * per_turn)]
    turns = [set(optimistic[n : n + per_turn]) for n in range(0, len(optimistic), per_turn)]
    assert all(len(turn) == 1 for turn in turns)
    assert all(one != other for one, other in pairwise(turns))
    assert len(set.union(*turns)) > 12


def test_a_newcomer_is_three_times_as_likely_to_be_the_optimistic_one() -> None:
    hits = 0
    trials = 600
    for trial in range(trials):
        room = Room(seeding=False, slots=1)
        room.choker = Choker(1, Random(trial))
        for peer in range(8):
            room.add(peer)
        room.rounds(1)
        room.add(99)
        room.rounds(2)
        hits += room.rechoke() == {99}
    # 7 others are choked with a ticket each, the newcomer has 3 of 10.
    assert 0.25 < hits / trials < 0.35


def test_an_optimistic_one_who_gives_becomes_a_giver_and_another_is_drawn(leeching: Room) -> None:
    for peer in range(10):
        leeching.add(peer, rate=100.0 if peer < 3 else 0.0)
    (optimistic,) = leeching.rounds(1)[0] - {0, 1, 2}
    leeching.change(optimistic, download_rate=500.0)
    unchoked = leeching.rounds(1)[0]
    assert optimistic in unchoked
    assert len(unchoked & {0, 1, 2}) == 2
    assert len(unchoked - {0, 1, 2, optimistic}) == 1


def test_a_giver_is_not_replaced_for_a_little_more(leeching: Room) -> None:
    for peer in range(3):
        leeching.add(peer, rate=1000.0)
    leeching.add(10)
    leeching.add(11)
    leeching.rounds(1)
    leeching.add(3, rate=1100.0)
    assert {0, 1, 2} < leeching.rounds(1)[0]
    leeching.change(3, download_rate=1300.0)
    assert 3 in leeching.rounds(1)[0]


def test_slots_that_no_giver_takes_go_round(leeching: Room) -> None:
    for peer in range(12):
        leeching.add(peer)
    served = Counter(peer for unchoked in leeching.rounds(120) for peer in unchoked)
    assert set(served) == set(range(12))
    assert max(served.values()) < 2 * min(served.values())


def test_calls_between_rounds_fill_free_slots_and_take_none(leeching: Room) -> None:
    for peer in range(10):
        leeching.add(peer, rate=float(peer))
    before = leeching.rechoke()
    leaver = min(before)
    del leeching.candidates[leaver]
    for peer in leeching.candidates:
        leeching.change(peer, download_rate=100.0 - peer)
    leeching.now += 1
    after = leeching.rechoke()
    assert before - {leaver} < after
    assert len(after) == SLOTS


def test_many_calls_do_not_turn_faster(seeding: Room) -> None:
    for peer in range(10):
        seeding.add(peer)
    first = seeding.rechoke()
    for _ in range(int(SEED_TURN) - 2):
        seeding.now += 1
        assert seeding.rechoke() == first


def test_a_seed_gives_everybody_the_same_time(seeding: Room) -> None:
    for peer in range(13):
        seeding.add(peer)
    served = Counter(peer for unchoked in seeding.rounds(13 * 30) for peer in unchoked)
    assert set(served) == set(range(13))
    assert max(served.values()) - min(served.values()) <= 2 * SEED_TURN / ROUND


def test_a_seed_ends_the_turn_of_who_had_much(seeding: Room) -> None:
    for peer in range(8):
        seeding.add(peer)
    first = seeding.rounds(1)[0]
    fast = min(first)
    seeding.change(fast, upload_rate=4 * TURN_RATE)
    assert seeding.rounds(1)[0] == first
    later = seeding.rounds(1)[0]
    assert fast not in later
    assert first - {fast} < later


def test_a_seed_serves_a_newcomer_before_those_who_were_served_lately(seeding: Room) -> None:
    for peer in range(8):
        seeding.add(peer)
    per_turn = round(SEED_TURN / ROUND)
    *_, last = seeding.rounds(2 * per_turn)
    assert last == {4, 5, 6, 7}
    seeding.add(99)
    assert 99 in seeding.rechoke()


def test_newcomers_without_end_do_not_keep_others_out(seeding: Room) -> None:
    for peer in range(8):
        seeding.add(peer)
    served: Counter[int] = Counter()
    for number in range(300):
        for peer in [peer for peer in seeding.candidates if peer >= 100]:
            if seeding.candidates[peer].unchoked:
                del seeding.candidates[peer]
        for fresh in range(SLOTS):
            seeding.add(100 + SLOTS * number + fresh)
        served.update(seeding.rounds(1)[0])
    assert min(served[peer] for peer in range(8)) > 300 * SLOTS / 8 / 20


def test_stripes_of_one_person_share_one_slot(leeching: Room) -> None:
    for stripe in range(4):
        leeching.add(stripe, rate=400.0, person=b"a")
    for peer in range(10, 14):
        leeching.add(peer, rate=1000.0)
    unchoked = leeching.rechoke()
    assert unchoked == {0, 1, 2, 3, *(unchoked - {0, 1, 2, 3})}, "their rates count together"
    assert len(unchoked - {0, 1, 2, 3}) == SLOTS - 1


def test_a_stripe_that_asks_for_nothing_yet_is_unchoked_with_the_others(leeching: Room) -> None:
    leeching.add(1, person=b"a")
    leeching.add(2, person=b"a")
    leeching.change(2, interested=False)
    assert leeching.rechoke() == {1, 2}


def test_stripes_are_no_more_likely_to_have_a_turn(seeding: Room) -> None:
    for peer in range(7):
        seeding.add(peer)
    for stripe in range(100, 108):
        seeding.add(stripe, person=b"striped")
    served = Counter(peer for unchoked in seeding.rounds(400) for peer in unchoked)
    assert served[100] == served[107]
    assert served[100] < 1.1 * min(served[peer] for peer in range(7))


def test_a_copied_token_opens_no_more_connections_than_one_person_may_have(leeching: Room) -> None:
    for stripe in range(MAX_STRIPES):
        leeching.add(stripe, person=b"a")
    leeching.now += 1
    for thief in range(100, 120):
        leeching.add(thief, person=b"a")
    assert leeching.rechoke() == set(range(MAX_STRIPES))


def test_a_token_is_never_mistaken_for_the_number_of_a_connection(seeding: Room) -> None:
    seeding.add(1)
    seeding.add(2)
    seeding.change(2, person=1)
    for peer in range(3, 9):
        seeding.add(peer)
    assert all(len(unchoked) == SLOTS for unchoked in seeding.rounds(50))


def test_more_slots_open_where_the_downloaders_are_the_bottleneck(seeding: Room) -> None:
    for peer in range(40):
        seeding.add(peer)
    for _ in range(100):
        for peer, candidate in seeding.candidates.items():
            seeding.change(peer, upload_rate=100_000.0 if candidate.unchoked else 0.0)
        seeding.rounds(1)
    assert seeding.choker.slots == 4 * SLOTS
    assert len(seeding.rechoke()) == 4 * SLOTS


def test_a_choker_without_slots_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="slot"):
        Choker(0, Random(1))
