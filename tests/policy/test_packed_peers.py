"""The packed records of a swarm, against a dictionary that does the same."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.policy import packed_peers
from torrent_onion.policy.packed_peers import MINUTES, PackedPeers

KEY, RECORD = 3, 5


def record(number: int, value: int = 0) -> bytes:
    return number.to_bytes(KEY, "big") + value.to_bytes(RECORD - KEY, "big")


def key(number: int) -> bytes:
    return record(number)[:KEY]


def stale(*minutes: int) -> bytes:
    return bytes(minute in minutes for minute in range(MINUTES))


def filled(fetching: int, seeds: int) -> PackedPeers:
    peers = PackedPeers(KEY, RECORD)
    for number in range(fetching + seeds):
        peers.put(record(number), 7, is_seed=number >= fetching)
    return peers


def split(records: bytes) -> list[bytes]:
    return [records[start : start + RECORD] for start in range(0, len(records), RECORD)]


PUT = st.tuples(
    st.just("put"), st.integers(0, 40), st.integers(0, 9), st.integers(0, 3), st.booleans()
)
REMOVE = st.tuples(st.just("remove"), st.integers(0, 40))
EXPIRE = st.tuples(st.just("expire"), st.integers(0, 3), st.integers(0, 5))


@given(st.lists(PUT | REMOVE | EXPIRE, max_size=150), st.booleans())
def test_it_does_what_a_dictionary_does(steps: list[tuple[object, ...]], collide: bool) -> None:
    """With all keys in one place of the table, and spread as they are."""
    if collide:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packed_peers, "hash", lambda _: 6, raising=False)
            run_beside_dictionary(steps)
    else:
        run_beside_dictionary(steps)


def run_beside_dictionary(steps: list[tuple[object, ...]]) -> None:
    peers = PackedPeers(KEY, RECORD)
    model: dict[bytes, tuple[bytes, int, bool]] = {}
    for step in steps:
        match step:
            case ("put", int(number), int(value), int(minute), bool(is_seed)):
                peers.put(record(number, value), minute, is_seed=is_seed)
                model[key(number)] = (record(number, value), minute, is_seed)
            case ("remove", int(number)):
                slot = peers.find(key(number))
                assert (slot is None) == (model.pop(key(number), None) is None)
                if slot is not None:
                    peers.remove(slot)
            case ("expire", int(minute), int(limit)):
                before = set(model)
                gone = [one for one, entry in model.items() if entry[1] == minute]
                assert peers.remove_stale(stale(minute), limit) == min(limit, len(gone))
                left = {one for one in before if peers.find(one) is not None}
                assert before - left <= set(gone)
                model = {one: entry for one, entry in model.items() if one in left}
        agree(peers, model)


def agree(peers: PackedPeers, model: dict[bytes, tuple[bytes, int, bool]]) -> None:
    assert len(peers) == len(model)
    assert peers.num_fetching == sum(not is_seed for _, _, is_seed in model.values())
    assert peers.num_seeds == len(model) - peers.num_fetching
    records = split(peers.records)
    for one, (whole, minute, is_seed) in model.items():
        slot = peers.find(one)
        assert slot is not None
        assert (records[slot], peers.minutes[slot]) == (whole, minute)
        assert peers.is_seed(slot) == is_seed
    assert peers.find(key(999)) is None


def test_it_grows_and_shrinks() -> None:
    peers = filled(3000, 2000)
    assert (peers.num_fetching, peers.num_seeds) == (3000, 2000)
    assert all(peers.find(key(number)) is not None for number in range(5000))
    for number in range(4999):
        slot = peers.find(key(number))
        assert slot is not None
        peers.remove(slot)
    assert split(peers.records) == [record(4999)]
    assert len(peers._table) <= 8


class TestSample:
    def test_each_has_the_same_chance(self) -> None:
        peers = filled(12, 8)
        rng = Random(1)
        picked: Counter[bytes] = Counter()
        for _ in range(4000):
            some = split(peers.sample(5, rng))
            assert len(set(some)) == 5
            picked.update(some)
        assert len(picked) == 20
        # Expected 1,000 each, with a standard deviation of 27.
        assert all(abs(times - 1000) < 4 * 27 for times in picked.values())

    def test_who_asks_is_left_out_and_the_others_have_the_same_chance(self) -> None:
        peers = filled(10, 0)
        rng = Random(2)
        picked: Counter[bytes] = Counter()
        for _ in range(4000):
            some = split(peers.sample(3, rng, without=4))
            assert len(set(some)) == 3
            picked.update(some)
        assert record(4) not in picked
        # Expected 1,333 each, with a standard deviation of 30.
        assert all(abs(times - 1333) < 4 * 30 for times in picked.values())

    def test_without_seeds(self) -> None:
        some = split(filled(10, 1000).sample(50, Random(3), with_seeds=False))
        assert sorted(some) == [record(number) for number in range(10)]

    @pytest.mark.parametrize(("count", "given"), [(0, 0), (1, 1), (6, 6), (7, 7), (100, 7)])
    def test_no_more_than_there_are(self, count: int, given: int) -> None:
        assert len(split(filled(3, 4).sample(count, Random(4)))) == given

    def test_of_nobody(self) -> None:
        assert PackedPeers(KEY, RECORD).sample(5, Random(5)) == b""
        assert filled(1, 0).sample(5, Random(5), without=0) == b""
