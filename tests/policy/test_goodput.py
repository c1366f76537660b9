import pytest

from torrent_onion.policy.goodput import REMEMBERED_SECONDS, Goodput


def test_the_mean_is_of_what_came_since_then() -> None:
    goodput = Goodput()
    assert goodput.since(0) == 0
    for second, amount in enumerate([5, 10, 20, 30]):
        goodput.add(second, amount)
    assert goodput.since(0) == pytest.approx(20)
    assert goodput.since(1.5) == pytest.approx(30)
    assert goodput.since(3) == 0
    assert goodput.since(4) == 0


def test_it_looks_back_no_longer_than_it_has_to() -> None:
    goodput = Goodput()
    goodput.add(0, 1000)
    for second in range(1, 100):
        goodput.add(second, 1)
    assert goodput.since(0) == pytest.approx(1)
    goodput.add(99 + 2 * REMEMBERED_SECONDS, 0)
    assert goodput.since(0) == 0, "nothing is known of the time before"
