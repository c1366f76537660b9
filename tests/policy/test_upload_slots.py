from collections.abc import Callable

import pytest

from torrent_onion.policy.upload_slots import MIN_SLOT_RATE, UploadSlots

START = 8


def run(slots: UploadSlots, rate_of: Callable[[int], float], *, rounds: int) -> list[int]:
    """Measure every ten seconds; return the numbers of slots."""
    counts = []
    for number in range(rounds):
        slots.measured(
            10.0 * number, [rate_of(slots.count) / slots.count] * slots.count, contended=True
        )
        counts.append(slots.count)
    return counts


def test_downloaders_on_slow_circuits_get_more_slots_up_to_the_bound() -> None:
    assert run(UploadSlots(START), lambda count: 50_000.0 * count, rounds=100)[-1] == 4 * START


def test_a_line_that_is_full_gets_no_more_slots_for_long() -> None:
    counts = run(UploadSlots(START), lambda _: 500_000.0, rounds=400)
    assert counts.count(START) > 0.85 * len(counts)
    assert max(counts) == START + START // 4


def test_slots_grow_until_the_line_is_full() -> None:
    counts = run(UploadSlots(START), lambda count: min(count, 16) * 50_000.0, rounds=400)
    assert all(14 <= count <= 22 for count in counts[100:])


def test_slots_that_carry_next_to_nothing_close() -> None:
    counts = run(UploadSlots(START), lambda _: 3.5 * MIN_SLOT_RATE, rounds=200)
    assert counts[-1] in {3, 4}
    assert run(UploadSlots(START), lambda _: 1.0, rounds=200)[-1] == 2


@pytest.mark.parametrize("first", [1, 2])
def test_the_last_slots_stay(first: int) -> None:
    assert run(UploadSlots(first), lambda _: 1.0, rounds=200)[-1] == first


def test_slots_that_nobody_uses_stay_as_they_are() -> None:
    assert run(UploadSlots(START), lambda _: 0.0, rounds=200) == [START] * 200


def test_while_nobody_waits_the_rate_says_nothing() -> None:
    slots = UploadSlots(START)
    for number in range(100):
        slots.measured(10.0 * number, [0.0] * START, contended=False)
    assert slots.count == START
