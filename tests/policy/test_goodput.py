import pytest

from torrent_onion.policy.goodput import POINT_SECONDS, REMEMBERED_SECONDS, Goodput


def test_the_mean_is_of_what_came_since_then() -> None:
    goodput = Goodput()
    assert goodput.since(0) == 0
    for second, amount in enumerate([5, 10, 20, 30]):
        goodput.add(second, amount)
    assert goodput.since(0) == pytest.approx(20)
    assert goodput.since(1.5) == pytest.approx(30)
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
    goodput.add(99 + 2 * REMEMBERED_SECONDS, 0)
    assert goodput.since(0) == 0, "nothing is known of the time before"
