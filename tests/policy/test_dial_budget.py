import random
from collections.abc import Iterable

import pytest

from torrent_onion.policy.dial_budget import DialBudget

MOST = 32
WANTED = 16


def fill(budget: DialBudget, torrents: Iterable[str]) -> None:
    """Let each in turn begin one dial after another, until nobody may."""
    torrents, before = list(torrents), -1
    while (now := total(budget, torrents)) != before:
        before = now
        for torrent in torrents:
            if budget.under_way(torrent) < budget.most_of(torrent, WANTED):
                budget.begin(torrent)


def total(budget: DialBudget, torrents: Iterable[str]) -> int:
    return sum(map(budget.under_way, torrents))


def test_one_alone_has_what_it_wants() -> None:
    budget = DialBudget(MOST)
    assert budget.most_of("a", WANTED) == WANTED
    assert budget.most_of("a", 100) == MOST
    fill(budget, "a")
    assert budget.under_way("a") == WANTED
    assert budget.most_of("a", WANTED) == WANTED


@pytest.mark.parametrize(("torrents", "each"), [("ab", 16), ("abcd", 8), ("abcdefgh", 4)])
def test_they_share_evenly(torrents: str, each: int) -> None:
    budget = DialBudget(MOST)
    fill(budget, torrents)
    assert [budget.under_way(torrent) for torrent in torrents] == [each] * len(torrents)


def test_who_comes_late_has_one_at_once_and_its_share_as_those_of_the_others_end() -> None:
    budget = DialBudget(MOST)
    fill(budget, "ab")
    fill(budget, "abc")
    assert [budget.under_way(torrent) for torrent in "abc"] == [16, 16, 1]
    for torrent in "ab" * 6:
        budget.end(torrent)
        fill(budget, "abc")
    assert [budget.under_way(torrent) for torrent in "abc"] == [10, 10, 10]


def test_what_one_leaves_the_others_may_have() -> None:
    budget = DialBudget(MOST)
    fill(budget, "abcd")
    for torrent in "cd" * 8:
        budget.end(torrent)
    fill(budget, "ab")
    assert [budget.under_way(torrent) for torrent in "abcd"] == [16, 16, 0, 0]


def test_very_many_have_one_each() -> None:
    budget = DialBudget(MOST)
    torrents = [f"torrent {number}" for number in range(100)]
    fill(budget, torrents)
    assert {budget.under_way(torrent) for torrent in torrents} == {1}


def test_it_holds_whatever_they_do() -> None:
    rng, budget = random.Random(1), DialBudget(MOST)
    torrents = [f"torrent {number}" for number in range(12)]
    for _ in range(5000):
        torrent = rng.choice(torrents)
        if rng.random() < 0.4 and budget.under_way(torrent):
            budget.end(torrent)
        elif budget.under_way(torrent) < budget.most_of(torrent, WANTED):
            budget.begin(torrent)
        assert total(budget, torrents) < MOST + len(torrents)
