import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.policy.rate import WINDOW, RateMeter


def test_a_new_meter_shows_nothing() -> None:
    assert RateMeter().rate(5) == 0


@pytest.mark.parametrize("start", [0.0, 0.7, 12345.6])
def test_a_steady_flow_is_measured_from_the_first_seconds(start: float) -> None:
    meter = RateMeter()
    for tick in range(1, 400):
        now = start + tick / 10
        meter.add(now, 100)
        if tick > 20:
            assert meter.rate(now) == pytest.approx(1000, rel=0.1)


def test_a_single_burst_is_spread_over_a_second_at_least() -> None:
    meter = RateMeter()
    meter.add(3.0, 500)
    assert meter.rate(3.0) == 500


def test_what_is_older_than_the_window_is_forgotten() -> None:
    meter = RateMeter()
    meter.add(0.0, 10**6)
    meter.add(5.5, 1000)
    assert meter.rate(WINDOW + 0.5) == pytest.approx(1000 / (WINDOW - 0.5))
    assert meter.rate(WINDOW + 6) == 0
    meter.add(10**6, 10)
    assert meter.rate(10**6) == pytest.approx(10 / (WINDOW - 1))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 1000))))
def test_the_sum_is_that_of_the_last_seconds(steps: list[tuple[float, int]]) -> None:
    meter, now, added = RateMeter(), 100.0, []
    for wait, amount in steps:
        now += wait
        meter.add(now, amount)
        added.append((int(now), amount))
        recent = sum(amount for when, amount in added if when > int(now) - WINDOW)
        assert meter._sum == recent
        assert meter.rate(now) <= recent
