import tracemalloc
from collections.abc import Iterable
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.identity import PeerAddress
from torrent_onion.policy import peer_pool
from torrent_onion.policy.peer_pool import (
    GIVEN_UP_SECONDS,
    HURRIED_SECONDS,
    LIVED_SECONDS,
    PeerPool,
    Source,
)

OWN = PeerAddress("own.example", 1)
GOOD = PeerAddress("good.example", 1)


def peer(number: int) -> PeerAddress:
    return PeerAddress(f"{number}.example", 6881)


def peers(numbers: Iterable[int]) -> list[PeerAddress]:
    return [peer(number) for number in numbers]


@pytest.fixture
def pool() -> PeerPool:
    return PeerPool(Random(1), OWN)


def dial_all(pool: PeerPool, now: float) -> list[PeerAddress]:
    """Dial until the pool offers no more; nothing ends."""
    return list(iter(lambda: pool.next_to_dial(now), None))


def fail_all(pool: PeerPool, now: float) -> list[PeerAddress]:
    """Dial one after the other, each failing at once."""
    dialled = []
    while (address := pool.next_to_dial(now)) is not None:
        dialled.append(address)
        pool.failed(address, now)
    return dialled


def next_dial_after(pool: PeerPool, now: float, *, within: int) -> float | None:
    """Return the seconds until the pool offers something, looking every second."""
    for second in range(within + 1):
        if pool.next_to_dial(now + second) is not None:
            return second
    return None


def seconds_until_dialled(
    pool: PeerPool, wanted: PeerAddress, *, takes: float, dials: int = 8, now: float = 0.0
) -> float:
    """Run an engine whose every dial takes so long and fails; time goes in seconds."""
    under_way: list[tuple[float, PeerAddress]] = []
    for second in range(3600):
        for dial in [dial for dial in under_way if dial[0] <= now + second]:
            under_way.remove(dial)
            pool.failed(dial[1], now + second)
        while len(under_way) < dials and (address := pool.next_to_dial(now + second)) is not None:
            if address == wanted:
                return float(second)
            under_way.append((now + second + takes, address))
    raise AssertionError("it was never dialled")


# What is a candidate.


def test_an_empty_pool_has_nobody(pool: PeerPool) -> None:
    assert pool.next_to_dial(0.0) is None


def test_a_candidate_is_dialled_once_at_a_time(pool: PeerPool) -> None:
    pool.add([GOOD, GOOD], Source.USER)
    pool.add([GOOD], "tracker:1")
    assert dial_all(pool, 0.0) == [GOOD]
    pool.connected(GOOD, 5.0)
    pool.add([GOOD], "pex:1")
    assert dial_all(pool, 10_000.0) == []


def test_our_own_address_is_never_dialled(pool: PeerPool) -> None:
    pool.add([OWN], Source.USER)
    pool.add([OWN, GOOD], "tracker:1")
    assert dial_all(pool, 0.0) == [GOOD]


def test_a_banned_peer_is_never_dialled_again(pool: PeerPool) -> None:
    pool.add([GOOD], Source.USER)
    pool.next_to_dial(0.0)
    pool.connected(GOOD, 1.0)
    pool.ban(GOOD)
    pool.closed(GOOD, 2.0)
    pool.add([GOOD], Source.USER)
    assert dial_all(pool, 10_000.0) == []


def test_news_of_strangers_is_ignored(pool: PeerPool) -> None:
    pool.connected(GOOD, 0.0)
    pool.failed(GOOD, 0.0)
    pool.closed(GOOD, 0.0)
    assert len(pool) == 0


def test_an_unknown_kind_of_source_is_a_mistake(pool: PeerPool) -> None:
    with pytest.raises(ValueError, match="dht"):
        pool.add([GOOD], "dht:1")


# How it is spoken to.


def hang_up(pool: PeerPool, address: PeerAddress, now: float) -> None:
    assert pool.next_to_dial(now) == address
    pool.connected(address, now)
    pool.hung_up(address, now)


def test_who_hangs_up_is_dialled_at_once_in_the_obfuscated_way_and_once_only(
    pool: PeerPool,
) -> None:
    pool.add([GOOD], "tracker:1")
    assert not pool.wants_obfuscation(GOOD)
    hang_up(pool, GOOD, 0.0)
    assert pool.wants_obfuscation(GOOD)
    hang_up(pool, GOOD, 0.0)  # that was no use
    assert not pool.wants_obfuscation(GOOD)
    assert pool.next_to_dial(1.0) is None
    hang_up(pool, GOOD, 100.0)
    assert not pool.wants_obfuscation(GOOD)


def test_what_could_not_be_reached_any_more_is_not_tried_obfuscated_again(pool: PeerPool) -> None:
    pool.add([GOOD], "tracker:1")
    hang_up(pool, GOOD, 0.0)
    assert pool.next_to_dial(0.0) == GOOD
    pool.failed(GOOD, 30.0)
    assert not pool.wants_obfuscation(GOOD)


def test_who_was_met_in_the_obfuscated_way_is_spoken_to_in_it_for_ever(pool: PeerPool) -> None:
    pool.add([GOOD], "tracker:1")
    hang_up(pool, GOOD, 0.0)
    assert pool.next_to_dial(0.0) == GOOD
    pool.connected(GOOD, 1.0)
    pool.closed(GOOD, 100.0)
    for now in (200.0, 1000.0, 5000.0):
        assert pool.wants_obfuscation(GOOD)
        hang_up(pool, GOOD, now)


def test_an_onion_that_hangs_up_has_failed(pool: PeerPool) -> None:
    onion = PeerAddress("a" * 56 + ".onion", 1)
    pool.add([onion], "tracker:1")
    hang_up(pool, onion, 0.0)
    assert not pool.wants_obfuscation(onion)
    assert pool.next_to_dial(1.0) is None


# When it is dialled again.


def test_what_the_user_named_is_tried_for_ever_after_two_seconds_up_to_a_minute(
    pool: PeerPool,
) -> None:
    pool.add([GOOD], Source.USER)
    now = 0.0
    for expected in [2, 4, 8, 16, 32, 60, 60, 60, *[60] * 2000]:
        assert pool.next_to_dial(now) == GOOD
        pool.failed(GOOD, now)
        assert pool.next_to_dial(now + 0.79 * expected) is None
        now += 1.21 * expected


def test_pauses_are_never_the_same(pool: PeerPool) -> None:
    pool.add(peers(range(5)), Source.USER)
    fail_all(pool, 0.0)
    times = {round(tenth / 100, 2) for tenth in range(100, 300) if dial_all(pool, tenth / 100)}
    assert len(times) > 3


@pytest.mark.parametrize("source", ["tracker:1", "pex:1", "handshake:1"])
def test_a_stranger_s_name_is_given_up_after_some_tries(pool: PeerPool, source: str) -> None:
    pool.add([GOOD], source)
    tries = sum(len(fail_all(pool, 1000.0 * n)) for n in range(20))
    assert 3 <= tries <= 4
    assert len(pool) == 0


def test_what_was_given_up_is_not_taken_again_for_a_while(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    last = 2000.0
    for now in (0.0, 1000.0, last):
        assert fail_all(pool, now) == [GOOD]
    pool.add([GOOD], "pex:2")
    pool.add([GOOD], "tracker:1")
    assert dial_all(pool, last) == []
    pool.next_to_dial(last + GIVEN_UP_SECONDS)
    pool.add([GOOD], "pex:2")
    assert dial_all(pool, last + GIVEN_UP_SECONDS) == [GOOD]


def test_the_user_may_name_what_was_given_up(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    for n in range(20):
        fail_all(pool, 1000.0 * n)
    pool.add([GOOD], Source.USER)
    assert dial_all(pool, 19_000.0) == [GOOD]


def test_a_peer_that_was_one_is_tried_for_ever(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    pool.next_to_dial(0.0)
    pool.connected(GOOD, 1.0)
    pool.closed(GOOD, 500.0)
    assert dial_all(pool, 505.0) == []
    assert len([1 for n in range(50) if fail_all(pool, 1000.0 * (n + 1))]) == 50


def test_who_hangs_up_at_once_waits_longer_each_time(pool: PeerPool) -> None:
    pool.add([GOOD], "tracker:1")
    now, pauses = 0.0, []
    for _ in range(8):
        pool.next_to_dial(now)
        pool.connected(GOOD, now)
        pool.closed(GOOD, now + 1)
        pause = next_dial_after(pool, now + 1, within=1000)
        assert pause is not None
        pauses.append(pause)
        now += 1 + pause
    assert pauses[0] < 15
    assert pauses[:6] == sorted(pauses[:6])
    assert pauses[-1] > 450


def test_a_long_connection_makes_up_for_failures(pool: PeerPool) -> None:
    pool.add([GOOD], Source.USER)
    for n in range(10):
        fail_all(pool, 100.0 * n)
    pool.next_to_dial(2000.0)
    pool.connected(GOOD, 2000.0)
    pool.closed(GOOD, 2000.0 + LIVED_SECONDS)
    assert dial_all(pool, 2000.0 + LIVED_SECONDS + 3) == [GOOD]


def test_whoever_answers_but_is_no_peer_has_failed(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    for n in range(3):
        assert pool.next_to_dial(1000.0 * n) == GOOD
        pool.connected(GOOD, 1000.0 * n + 1)
        pool.failed(GOOD, 1000.0 * n + 60)
    assert pool.next_to_dial(10_000.0) is None


def test_who_could_not_be_dialled_for_want_of_a_network_is_not_given_up(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    for n in range(100):
        assert pool.next_to_dial(3.0 * n) == GOOD
        assert pool.next_to_dial(3.0 * n) is None
        pool.postponed(GOOD, 3.0 * (n + 1))
        assert pool.next_to_dial(3.0 * n + 2) is None
    assert pool.next_to_dial(300.0) == GOOD


# Who is first.


def test_what_the_user_named_is_first(pool: PeerPool) -> None:
    pool.add(peers(range(100)), "tracker:1")
    pool.add(peers(range(200, 203)), Source.USER)
    assert set(dial_all(pool, 0.0)[:3]) == set(peers(range(200, 203)))


def test_more_trusted_sources_are_first_and_then_they_take_turns(pool: PeerPool) -> None:
    pool.add(peers(range(50)), "pex:1")
    pool.add(peers(range(100, 200)), "tracker:1")
    order = [
        "tracker" if address in peers(range(100, 200)) else "pex" for address in dial_all(pool, 0)
    ]
    assert order[:6] == ["tracker", "pex"] * 3


def test_sources_of_a_kind_take_turns(pool: PeerPool) -> None:
    for source in range(4):
        pool.add(peers(range(100 * source, 100 * source + 50)), f"pex:{source}")
    dialled = dial_all(pool, 0.0)
    assert len({int(address.host.split(".")[0]) // 100 for address in dialled[:4]}) == 4


def test_what_several_sources_named_is_preferred() -> None:
    early = 0
    for seed in range(40):
        pool = PeerPool(Random(seed), OWN)
        pool.add([*peers(range(20)), GOOD, *peers(range(20, 50))], "pex:1")
        pool.add([GOOD], "pex:2")
        early += pool.next_to_dial(0.0) == GOOD
    assert early > 25


def test_what_was_named_last_is_preferred() -> None:
    early = 0
    for seed in range(40):
        pool = PeerPool(Random(seed), OWN)
        pool.add([*peers(range(20)), GOOD], "pex:1")
        pool.add(peers(range(20, 40)), "pex:1")
        pool.add([GOOD], "pex:1")
        early += pool.next_to_dial(0.0) == GOOD
    assert early > 25


def test_a_better_source_raises_what_a_worse_one_named(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    fail_all(pool, 0.0)
    pool.add(peers(range(10)), "tracker:1")
    pool.add([GOOD], Source.USER)
    assert pool.next_to_dial(1.0) == GOOD


@pytest.mark.parametrize("dials", [1, 2, 3, 8, 50])
def test_no_source_and_no_kind_has_all_dials(dials: int) -> None:
    pool = PeerPool(Random(1), OWN, max_dials=dials)
    pool.add(peers(range(500)), "tracker:1")
    assert 1 <= len(dial_all(pool, 0.0)) <= max(1, dials - 1)
    pool.add(peers(range(1000, 1500)), "tracker:2")
    dial_all(pool, 0.0)
    for source in range(20):
        pool.add(peers(range(2000 + 50 * source, 2050 + 50 * source)), f"pex:{source}")
    dial_all(pool, 0.0)
    pool.add([GOOD], Source.USER)
    assert pool.next_to_dial(0.0) == GOOD


# One good peer among dead ones.


@pytest.mark.parametrize("takes", [0.5, 20.0, 125.0])
def test_a_user_s_peer_among_a_thousand_dead_ones(pool: PeerPool, takes: float) -> None:
    pool.add(peers(range(500)), "tracker:1")
    pool.add(peers(range(1000, 1500)), "tracker:2")
    dial_all(pool, 0.0)  # the dead ones came first
    pool.add([GOOD], Source.USER)
    assert seconds_until_dialled(pool, GOOD, takes=takes) <= 1


@pytest.mark.parametrize("good", ["tracker:3", "pex:99", "handshake:1"])
@pytest.mark.parametrize("takes", [0.5, 20.0])
def test_a_good_source_among_sources_of_dead_ones(pool: PeerPool, good: str, takes: float) -> None:
    pool.add(peers(range(6)), Source.USER)
    for tracker in range(2):
        pool.add(peers(range(1000 * tracker, 1000 * tracker + 500)), f"tracker:{tracker}")
    for source in range(4):
        pool.add(peers(range(5000 + 50 * source, 5050 + 50 * source)), f"pex:{source}")
    pool.add([GOOD], good)
    assert seconds_until_dialled(pool, GOOD, takes=takes) <= 60


@pytest.mark.parametrize("good", [Source.USER, "tracker:1", "handshake:1"])
def test_a_better_source_than_the_flood_is_heard_at_once(pool: PeerPool, good: str) -> None:
    for source in range(10):
        pool.add(peers(range(50 * source, 50 * source + 50)), f"pex:{source}")
    dial_all(pool, 0.0)
    pool.add([GOOD], good)
    assert seconds_until_dialled(pool, GOOD, takes=125.0) <= 1


def test_a_lost_peer_is_dialled_again_in_the_middle_of_a_flood(pool: PeerPool) -> None:
    pool.add([GOOD], "pex:1")
    pool.next_to_dial(0.0)
    pool.connected(GOOD, 1.0)
    for source in range(10):
        pool.add(peers(range(50 * source, 50 * source + 50)), f"pex:{source}")
        pool.add(peers(range(1000, 1500)), "tracker:1")
    dial_all(pool, 2.0)
    pool.closed(GOOD, 300.0)
    assert seconds_until_dialled(pool, GOOD, takes=125.0, now=300.0) <= 13


# How long a dial may take.


def test_who_others_wait_for_is_given_less_time_at_first(pool: PeerPool) -> None:
    pool.add([GOOD], "tracker:1")
    pool.next_to_dial(0.0)
    assert pool.next_to_dial(0.0) is None
    assert pool.patience(GOOD) == inf  # nobody waits
    pool.add(peers(range(20)), "tracker:1")
    dial_all(pool, 0.0)
    assert pool.patience(GOOD) == HURRIED_SECONDS
    pool.failed(GOOD, 20.0)
    dial_all(pool, 100.0)
    assert pool.patience(GOOD) == 2 * HURRIED_SECONDS


def test_the_user_s_peers_are_given_all_the_time(pool: PeerPool) -> None:
    pool.add([GOOD, *peers(range(20))], Source.USER)
    dial_all(pool, 0.0)
    assert pool.patience(GOOD) == inf


def test_trust_and_later_dials(pool: PeerPool) -> None:
    named, told = peers(range(2))
    pool.add([named], Source.USER)
    pool.add([told], "tracker:1")
    assert pool.is_trusted(named)
    assert not pool.is_trusted(told)
    assert not pool.is_trusted(GOOD)
    dial_all(pool, 0.0)
    assert not pool.was_dialled_before(told)
    pool.connected(told, 1.0)
    pool.closed(told, 2.0)
    assert pool.is_trusted(told)
    pool.failed(named, 3.0)
    pool.add([named], "tracker:1")
    dial_all(pool, 100.0)
    assert pool.was_dialled_before(named)
    assert pool.was_dialled_before(told)
    assert not pool.was_dialled_before(GOOD)


def test_more_dials_at_once_are_told_to_a_pool_that_has_no_room(pool: PeerPool) -> None:
    pool.add(peers(range(500)), "tracker:1")
    assert len(dial_all(pool, 0.0)) == 5
    pool.set_max_dials(16)
    assert len(dial_all(pool, 0.0)) == 5


# Memory.


def test_floods_leave_the_pool_small_and_the_good_in_it(pool: PeerPool) -> None:
    pool.add([GOOD], Source.USER)
    for flood in range(200):
        pool.add(peers(range(1000 * flood, 1000 * flood + 1000)), f"tracker:{flood % 20}")
        pool.add(peers(range(10**6 + 100 * flood, 10**6 + 100 * flood + 100)), f"pex:{flood}")
        pool.add(peers(range(10**7 + flood, 10**7 + flood + 2)), f"handshake:{flood}")
    assert 1000 < len(pool) < 2400
    assert pool.next_to_dial(0.0) == GOOD


def test_one_source_holds_only_its_share(pool: PeerPool) -> None:
    pool.add(peers(range(10_000)), "pex:1")
    assert len(pool) == 50
    pool.add(peers(range(10_000, 20_000)), "tracker:1")
    assert len(pool) == 50 + 1024


def test_the_longest_list_makes_room_for_another_tracker(pool: PeerPool) -> None:
    pool.add(peers(range(10_000)), "tracker:1")
    pool.add([GOOD], "tracker:2")
    assert len(pool) == 1024
    assert GOOD in dial_all(pool, 0.0)


def test_the_largest_source_makes_room_for_a_new_one(pool: PeerPool) -> None:
    for source in range(10):
        pool.add(peers(range(100 * source, 100 * source + 50)), f"pex:{source}")
    pool.add([GOOD], "pex:99")
    assert len(pool) == 500
    assert GOOD in fail_all(pool, 0.0)


def test_an_endless_list_of_names_is_not_read_to_its_end(pool: PeerPool) -> None:
    pool.add((peer(number) for number in iter(int, 1)), "tracker:1")
    assert len(pool) == 1


def test_memory_is_flat_under_a_long_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_pool, "MAX_REMEMBERED", 100)  # full sooner
    pool = PeerPool(Random(1), None)

    def flood(rounds: range) -> int:
        for n in rounds:
            pool.add(peers(range(50 * n, 50 * n + 50)), f"pex:{n}")
            for address in fail_all(pool, 1000.0 * n)[:20]:
                pool.ban(address)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = flood(range(20))
    assert flood(range(20, 40)) < before + (32 << 10)
    tracemalloc.stop()


@given(st.data())
def test_whatever_happens_the_rules_hold(data: st.DataObject) -> None:
    pool = PeerPool(Random(data.draw(st.integers(0, 5))), peer(0), max_dials=8)
    now = 0.0
    dialling: set[PeerAddress] = set()
    connected: set[PeerAddress] = set()
    banned: set[PeerAddress] = set()
    sources = ["user", "tracker:1", "tracker:2", "handshake:1", "pex:1", "pex:2"]
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 1.0, 100.0]))
        action = data.draw(st.sampled_from(["add", "dial", "dial", "end", "close", "ban"]))
        if action == "add":
            numbers = data.draw(st.lists(st.integers(0, 20), max_size=8))
            pool.add(peers(numbers), data.draw(st.sampled_from(sources)))
        elif action == "dial" and len(dialling) < 8:
            address = pool.next_to_dial(now)
            if address is not None:
                assert address not in dialling | connected | banned | {peer(0)}
                dialling.add(address)
        elif action == "end" and dialling:
            address = data.draw(st.sampled_from(sorted(dialling)))
            dialling.remove(address)
            if data.draw(st.booleans()):
                connected.add(address)
                pool.connected(address, now)
            elif data.draw(st.booleans()):
                pool.postponed(address, now + 3)
            else:
                pool.failed(address, now)
        elif action == "close" and connected:
            address = data.draw(st.sampled_from(sorted(connected)))
            connected.remove(address)
            data.draw(st.sampled_from([pool.closed, pool.failed, pool.hung_up]))(address, now)
        elif action == "ban" and connected:
            address = data.draw(st.sampled_from(sorted(connected)))
            banned.add(address)
            pool.ban(address)
    assert len(pool) <= 20
