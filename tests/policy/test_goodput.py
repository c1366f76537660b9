import pytest

from torrent_onion.policy.goodput import POINT_SECONDS, REMEMBERED_SECONDS, Goodput


def test_the_mean_is_of_what_came_since_then() -> None:
    goodput = Goodput()
    assert goodput.since(0) == 0
    for second, amount in enumerate([5, 10, 20, 30]):
        goodput.add(second, amount)
    assert goodput.since(0) == pytest.approx(20)
    assert goodput.since(2) == pytest.approx(30)
    assert goodput.since(1.5) == pytest.approx(25), "from the moment before"
    assert goodput.since(3) == 0
    assert goodput.since(4) == 0


def test_many_moments_take_no_more_memory_than_few() -> None:
    goodput = Goodput()
    for number in range(10_000):
        goodput.add(number / 500, 1)
    assert goodput.since(10) == pytest.approx(500, rel=0.01)
    assert len(goodput._points) <= REMEMBERED_SECONDS / POINT_SECONDS + 2


def test_it_looks_back_no_longer_than_it_has_to() -> None:
    goodput = Goodput()
    goodput.add(0, 1000)
    for second in range(1, 100):
        goodput.add(second, 1)
    assert goodput.since(0) == pytest.approx(1)


def test_what_came_while_nobody_counted_is_no_stall() -> None:
    goodput = Goodput()
    for second in range(20):
        goodput.add(second, 100)
    gap = 4 * REMEMBERED_SECONDS
    goodput.add(19 + gap, int(100 * gap))
    assert goodput.since(19 + gap - 1) == pytest.approx(100)
