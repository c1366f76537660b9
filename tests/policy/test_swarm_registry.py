"""A tracker's memory: who is remembered, for how long, and who is given to whom."""

import tracemalloc
from dataclasses import replace
from random import Random

import pytest

from torrent_onion.policy.swarm_registry import (
    LIFETIME_MINUTES,
    RegistryLimits,
    RegistryStatistics,
    SwarmPeer,
    SwarmRegistry,
    SwarmSnapshot,
)
from torrent_onion.protocol.tracker_server import TorrentNumbers

HASH, OTHER_HASH = b"h" * 20, b"o" * 20
MINUTE = 60.0
NOW = 1_000_000.0


def onion(number: int, port: int = 80) -> SwarmPeer:
    return SwarmPeer(number.to_bytes(32, "big") + port.to_bytes(2, "big"), is_proven=True)


def counted(number: int) -> SwarmPeer:
    return SwarmPeer(number.to_bytes(8, "big"), is_proven=False)


def given(
    registry: SwarmRegistry, *, asked_by: SwarmPeer, is_seed: bool = False, count: int = 1000
) -> set[bytes]:
    some = registry.sample(HASH, count, Random(1), asked_by=asked_by, is_seed=is_seed)
    return {some[start : start + 34] for start in range(0, len(some), 34)}


def expire_all(registry: SwarmRegistry, now: float) -> None:
    for _ in range(100):
        registry.expire(now)


def torrent(number: int) -> bytes:
    return number.to_bytes(20, "big")


class TestJoining:
    def test_everybody_is_counted_and_only_proven_onions_are_given_out(self) -> None:
        registry = SwarmRegistry()
        assert registry.join(HASH, onion(1), NOW, is_seed=True)
        assert registry.join(HASH, onion(2), NOW, is_seed=False)
        assert registry.join(HASH, counted(1), NOW, is_seed=True)
        assert registry.join(HASH, counted(2), NOW, is_seed=False)
        assert registry.numbers(HASH) == TorrentNumbers(2, 2, 0)
        assert given(registry, asked_by=counted(2)) == {onion(1).record, onion(2).record}
        assert given(registry, asked_by=onion(2)) == {onion(1).record}
        assert registry.statistics() == RegistryStatistics(torrents=1, onions=2, counted=2)

    def test_seeds_are_given_no_seeds(self) -> None:
        registry = SwarmRegistry()
        for number in range(9):
            registry.join(HASH, onion(number), NOW, is_seed=number < 8)
        assert given(registry, asked_by=onion(0), is_seed=True) == {onion(8).record}

    def test_an_onion_with_another_port_is_the_same_peer(self) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1, 80), NOW, is_seed=False)
        registry.join(HASH, onion(1, 81), NOW, is_seed=False)
        assert registry.knows(HASH, onion(1, 82))
        assert given(registry, asked_by=counted(1)) == {onion(1, 81).record}

    def test_torrents_are_apart(self) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1), NOW, is_seed=False)
        assert not registry.knows(OTHER_HASH, onion(1))
        assert not registry.has_torrent(OTHER_HASH)
        assert registry.numbers(OTHER_HASH) == TorrentNumbers(0, 0, 0)
        assert registry.sample(OTHER_HASH, 9, Random(1), asked_by=counted(1), is_seed=False) == b""

    def test_who_leaves_is_gone_and_an_empty_torrent_with_it(self) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1), NOW, is_seed=True)
        registry.join(HASH, counted(1), NOW, is_seed=True)
        registry.leave(HASH, onion(2))
        registry.leave(OTHER_HASH, onion(1))
        assert registry.numbers(HASH) == TorrentNumbers(2, 0, 0)
        registry.leave(HASH, onion(1))
        registry.leave(HASH, counted(1))
        assert registry.statistics() == RegistryStatistics(0, 0, 0)

    @pytest.mark.parametrize("make", [onion, counted])
    def test_completions_are_counted_once_and_only_of_who_was_here(self, make: type) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, make(1), NOW, is_seed=True, has_completed=True)
        registry.join(HASH, make(2), NOW, is_seed=False, has_completed=True)
        assert registry.numbers(HASH) == TorrentNumbers(1, 1, 0)
        for _ in range(3):
            registry.join(HASH, make(2), NOW, is_seed=True, has_completed=True)
        assert registry.numbers(HASH) == TorrentNumbers(2, 0, 1)


class TestLimits:
    def test_a_flood_of_the_unproven_leaves_room_for_onions(self) -> None:
        registry = SwarmRegistry(limits=RegistryLimits(peers=10, peers_of_torrent=6, torrents=4))
        for number in range(100):
            registry.join(torrent(number % 9), counted(number), NOW, is_seed=False)
        assert registry.statistics() == RegistryStatistics(torrents=2, onions=0, counted=10)
        assert all(registry.join(torrent(n), onion(n), NOW, is_seed=False) for n in range(4))
        assert not registry.join(torrent(4), onion(4), NOW, is_seed=False)
        assert registry.statistics() == RegistryStatistics(torrents=4, onions=4, counted=10)

    def test_one_torrent_cannot_have_all_the_room(self) -> None:
        registry = SwarmRegistry(limits=RegistryLimits(peers=10, peers_of_torrent=6))
        joined = [registry.join(HASH, onion(number), NOW, is_seed=False) for number in range(9)]
        assert joined == [True] * 6 + [False] * 3
        assert registry.join(HASH, onion(5), NOW, is_seed=True)  # who is here may change
        assert registry.numbers(HASH) == TorrentNumbers(1, 5, 0)
        joined = [registry.join(OTHER_HASH, onion(n), NOW, is_seed=False) for n in range(9)]
        assert joined == [True] * 4 + [False] * 5

    def test_who_leaves_makes_room(self) -> None:
        registry = SwarmRegistry(limits=RegistryLimits(peers=1))
        assert registry.join(HASH, onion(1), NOW, is_seed=False)
        assert not registry.join(HASH, onion(2), NOW, is_seed=False)
        registry.leave(HASH, onion(1))
        assert registry.join(HASH, onion(2), NOW, is_seed=False)


class TestExpiry:
    def test_who_is_silent_for_too_long_is_forgotten(self) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1), NOW, is_seed=True)
        registry.join(HASH, counted(1), NOW, is_seed=True)
        registry.join(HASH, onion(2), NOW + 20 * MINUTE, is_seed=False)
        expire_all(registry, NOW + LIFETIME_MINUTES * MINUTE)
        assert registry.numbers(HASH) == TorrentNumbers(2, 1, 0)
        expire_all(registry, NOW + (LIFETIME_MINUTES + 1) * MINUTE)
        assert registry.numbers(HASH) == TorrentNumbers(0, 1, 0)
        expire_all(registry, NOW + (LIFETIME_MINUTES + 21) * MINUTE)
        assert registry.statistics() == RegistryStatistics(0, 0, 0)

    def test_who_announces_again_stays(self) -> None:
        registry = SwarmRegistry()
        for step in range(30):
            now = NOW + step * 30 * MINUTE
            registry.join(HASH, onion(1), now, is_seed=True)
            expire_all(registry, now)
            assert registry.statistics().onions == 1

    def test_it_goes_in_steps_and_misses_nobody(self) -> None:
        registry = SwarmRegistry()
        for number in range(12_000):
            registry.join(torrent(number % 3000), onion(number), NOW, is_seed=False)
        late = NOW + 100 * MINUTE
        sizes = []
        while registry.statistics().onions:
            registry.expire(late)
            sizes.append(registry.statistics().onions)
        assert len(sizes) == 3
        assert 12_000 - sizes[0] <= 5_000
        assert registry.statistics().torrents == 0

    def test_a_round_begins_at_most_once_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1), NOW, is_seed=False)
        visited: list[bytes] = []

        def visit(info_hash: bytes, is_stale: bytes, limit: int) -> int:
            visited.append(info_hash)
            return 0

        monkeypatch.setattr(registry, "_expire_swarm", visit)
        for second in range(600):
            registry.expire(NOW + second)
        assert 10 <= len(visited) <= 11

    def test_torrents_that_came_and_went_do_not_stop_it(self) -> None:
        registry = SwarmRegistry()
        for number in range(10_000):
            registry.join(torrent(number), onion(number), NOW, is_seed=False)
        registry.expire(NOW)
        for number in range(10_000):
            registry.leave(torrent(number), onion(number))
        registry.join(HASH, onion(1), NOW, is_seed=False)
        expire_all(registry, NOW + 50 * MINUTE)
        expire_all(registry, NOW + 51 * MINUTE)
        assert registry.statistics() == RegistryStatistics(0, 0, 0)


class TestAllowList:
    def test_only_what_is_named_is_served(self) -> None:
        registry = SwarmRegistry(allowed=[HASH])
        assert registry.serves(HASH)
        assert not registry.serves(OTHER_HASH)
        assert not SwarmRegistry(allowed=[]).serves(HASH)
        assert SwarmRegistry().serves(OTHER_HASH)

    def test_completions_outlive_the_peers(self) -> None:
        registry = SwarmRegistry(allowed=[HASH])
        registry.join(HASH, onion(1), NOW, is_seed=False)
        registry.join(HASH, onion(1), NOW, is_seed=True, has_completed=True)
        registry.leave(HASH, onion(1))
        assert registry.numbers(HASH) == TorrentNumbers(0, 0, 1)
        assert registry.join(HASH, onion(2), NOW, is_seed=False)
        assert registry.numbers(HASH) == TorrentNumbers(0, 1, 1)


class TestKeeping:
    def test_onions_come_back_as_old_as_they_were(self) -> None:
        registry = SwarmRegistry(keep_changes=True)
        registry.join(HASH, onion(1), NOW, is_seed=True)
        registry.join(HASH, onion(2), NOW + 30 * MINUTE, is_seed=False)
        registry.join(HASH, onion(2), NOW + 30 * MINUTE, is_seed=True, has_completed=True)
        registry.join(HASH, onion(3), NOW + 40 * MINUTE, is_seed=False)
        registry.join(HASH, counted(1), NOW + 40 * MINUTE, is_seed=False)
        (snapshot,) = registry.take_changes(10**6, NOW + 40 * MINUTE)
        assert snapshot.info_hash == HASH
        assert registry.take_changes(10**6, NOW) == []

        again = SwarmRegistry(keep_changes=True)
        again.restore(snapshot, 10, 5.0)  # ten minutes later, with another clock
        assert again.numbers(HASH) == TorrentNumbers(1, 1, 1)  # the first is 50 minutes old
        assert given(again, asked_by=counted(1)) == {onion(2).record, onion(3).record}
        expire_all(again, 5.0 + 26 * MINUTE)
        assert given(again, asked_by=counted(1)) == {onion(3).record}

    def test_what_is_gone_is_told_as_empty(self) -> None:
        registry = SwarmRegistry(keep_changes=True)
        registry.join(HASH, onion(1), NOW, is_seed=True)
        registry.leave(HASH, onion(1))
        empty = SwarmSnapshot(HASH, completed=0, num_fetching=0, onions=b"", ages=b"")
        assert registry.take_changes(10**6, NOW) == [empty]

    def test_expiry_is_a_change(self) -> None:
        registry = SwarmRegistry(keep_changes=True)
        registry.join(HASH, onion(1), NOW, is_seed=True)
        registry.take_changes(10**6, NOW)
        expire_all(registry, NOW + 60 * MINUTE)
        assert [one.onions for one in registry.take_changes(10**6, NOW)] == [b""]

    def test_changes_come_in_batches(self) -> None:
        registry = SwarmRegistry(keep_changes=True)
        for number in range(100):
            registry.join(torrent(number), onion(number), NOW, is_seed=True)
        batches = []
        while batch := registry.take_changes(10 * (20 + 34), NOW):
            batches.append(len(batch))
        assert batches == [10] * 10

    def test_without_being_asked_nothing_is_noted(self) -> None:
        registry = SwarmRegistry()
        registry.join(HASH, onion(1), NOW, is_seed=True)
        assert registry.take_changes(10**6, NOW) == []

    def test_what_is_not_served_any_more_is_not_taken_in_but_removed(self) -> None:
        snapshot = SwarmSnapshot(HASH, 3, 1, onion(1).record, b"\0")
        registry = SwarmRegistry(allowed=[OTHER_HASH], keep_changes=True)
        registry.restore(snapshot, 0, NOW)
        assert registry.statistics() == RegistryStatistics(0, 0, 0)
        assert [one.onions for one in registry.take_changes(10**6, NOW)] == [b""]

    def test_completions_of_an_empty_torrent_come_back_if_it_is_named(self) -> None:
        snapshot = SwarmSnapshot(HASH, 3, 0, b"", b"")
        named, open_to_all = SwarmRegistry(allowed=[HASH]), SwarmRegistry()
        named.restore(snapshot, 0, NOW)
        open_to_all.restore(snapshot, 0, NOW)
        assert named.numbers(HASH).downloaded == 3
        assert not open_to_all.has_torrent(HASH)

    @pytest.mark.parametrize(
        "changes",
        [{"onions": bytes(35)}, {"ages": b""}, {"num_fetching": 2}, {"num_fetching": -1}],
    )
    def test_a_snapshot_that_does_not_fit_together(self, changes: dict[str, object]) -> None:
        good = SwarmSnapshot(HASH, 0, 1, onion(1).record, b"\0")
        with pytest.raises(ValueError, match="do not fit"):
            SwarmRegistry().restore(replace(good, **changes), 0, NOW)  # type: ignore[arg-type]  # any field


def test_many_peers_take_little_memory() -> None:
    """In all kinds of swarms: a million must fit into 1 GiB, with much room left."""
    rng = Random(1)
    registry = SwarmRegistry()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            swarm = rng.randrange(1 + number // 50)
            peer = SwarmPeer(rng.randbytes(34), is_proven=True)
            registry.join(torrent(swarm), peer, NOW, is_seed=number % 3 == 0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert registry.statistics().onions == 20_000
    assert (after - before) / 20_000 < 200  # about 80 measured, torrents of 50 peers on average
