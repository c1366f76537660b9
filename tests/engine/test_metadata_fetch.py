import hashlib
import random

from torrent_onion.core.identity import InfoHashes
from torrent_onion.engine.metadata_fetch import (
    ANSWER_SECONDS,
    COPY_SECONDS,
    MAX_OUTSTANDING,
    MAX_TOGETHER,
    SILENT_SECONDS,
    UNASKED,
    MetadataFetch,
    MetadataResult,
    hashes_match,
)
from torrent_onion.protocol.extensions import MAX_METADATA_SIZE, METADATA_BLOCK_SIZE

RAW = random.Random(1).randbytes(5 * METADATA_BLOCK_SIZE + 77)
HASHES = InfoHashes(v1=hashlib.sha1(RAW).digest(), v2=None)


def piece(number: int, raw: bytes = RAW) -> bytes:
    return raw[number * METADATA_BLOCK_SIZE : (number + 1) * METADATA_BLOCK_SIZE]


def fetch_from(
    fetch: MetadataFetch, peer: int, raw: bytes = RAW, now: float = 0.0
) -> MetadataResult:
    """Answer all that a peer is asked for."""
    result = MetadataResult()
    for number in fetch.requests_for(peer, now):
        result = fetch.data_received(peer, number, piece(number, raw), now)
    return result


def offering(*peers: int, size: int = len(RAW)) -> MetadataFetch:
    fetch = MetadataFetch(HASHES)
    for peer in peers:
        fetch.peer_offers(peer, size)
    return fetch


def test_one_peer_gives_everything() -> None:
    assert fetch_from(offering(1), 1).raw == RAW


def test_two_peers_share_the_work() -> None:
    count = MAX_OUTSTANDING + 5
    fetch = offering(1, 2, size=count * METADATA_BLOCK_SIZE)
    first, second = fetch.requests_for(1, 0), fetch.requests_for(2, 0)
    assert len(first) == MAX_OUTSTANDING
    assert len(second) == 5
    assert not set(first) & set(second)


def test_what_was_asked_of_a_peer_that_left_is_asked_of_the_next() -> None:
    fetch = offering(1, 2)
    fetch.requests_for(1, 0)
    assert fetch.requests_for(2, 0) == []
    fetch.remove_peer(1)
    assert fetch_from(fetch, 2).raw == RAW


def test_what_one_peer_is_slow_with_is_asked_of_another_one_as_well() -> None:
    fetch = offering(1, 2, 3)
    slow = fetch.requests_for(1, 0)
    assert fetch.requests_for(2, COPY_SECONDS - 1) == []
    assert fetch.requests_for(2, COPY_SECONDS) == slow
    assert fetch.requests_for(3, COPY_SECONDS) == []  # one more at a time
    for number in slow[:-1]:
        assert fetch.data_received(2, number, piece(number), 6).raw is None
        fetch.data_received(1, number, bytes(METADATA_BLOCK_SIZE), 6)  # too late to harm
    assert fetch.data_received(1, slow[-1], piece(slow[-1]), 6).raw == RAW


def test_when_several_gave_wrong_data_each_is_tried_alone_and_side_by_side() -> None:
    fetch = offering(1, 2)
    wrong = bytes(len(RAW))
    asked = fetch.requests_for(1, 0)
    for number in asked[:-1]:
        assert fetch.data_received(1, number, piece(number, wrong), 0) == MetadataResult()
    assert fetch.requests_for(2, COPY_SECONDS) == asked[-1:]
    result = fetch.data_received(2, asked[-1], piece(asked[-1]), COPY_SECONDS)
    assert result == MetadataResult()  # one of them lied, and nobody can say who
    first, second = fetch.requests_for(1, 10), fetch.requests_for(2, 10)
    assert first == second == list(range(6))
    for number in second[:-1]:
        fetch.data_received(2, number, piece(number), 11)
    for number in first[:-1]:
        fetch.data_received(1, number, piece(number, wrong), 11)
    assert fetch.data_received(1, first[-1], piece(first[-1], wrong), 11).liars == {1}
    assert fetch.requests_for(1, 12) == []
    assert fetch.data_received(2, second[-1], piece(second[-1]), 12).raw == RAW


def test_a_false_size_keeps_nobody_out() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, MAX_METADATA_SIZE)
    fetch.peer_offers(2, len(RAW) - METADATA_BLOCK_SIZE)
    fetch.peer_offers(3, len(RAW))
    assert fetch.requests_for(1, 0)
    assert fetch.requests_for(2, 0)
    assert fetch_from(fetch, 3).raw == RAW


def test_a_false_size_is_known_by_the_hash() -> None:
    fetch = offering(1)
    fetch.peer_offers(2, METADATA_BLOCK_SIZE)
    assert fetch_from(fetch, 2).liars == {2}
    assert fetch.requests_for(2, 0) == []
    assert fetch_from(fetch, 1).raw == RAW


def test_memory_is_bounded_and_small_goes_before_large() -> None:
    fetch = MetadataFetch(HASHES)
    for peer in range(20):
        fetch.peer_offers(peer, MAX_METADATA_SIZE - peer)
        fetch.requests_for(peer, 0)
        assert fetch.promised <= MAX_TOGETHER
    fetch.peer_offers(98, 20 << 20)
    assert fetch.requests_for(98, 0)
    fetch.peer_offers(99, len(RAW))
    assert fetch_from(fetch, 99).raw == RAW
    assert fetch.promised <= MAX_TOGETHER


def test_who_was_put_off_for_want_of_room_is_asked_when_there_is_some() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, MAX_METADATA_SIZE)
    assert fetch.requests_for(1, 0)
    fetch.peer_offers(2, 20 << 20)
    assert fetch.requests_for(2, 0)
    assert fetch.requests_for(1, 0) == []
    fetch.drop_stalled(SILENT_SECONDS - 1)
    fetch.remove_peer(2)
    fetch.drop_stalled(SILENT_SECONDS + 1)  # it owes nothing
    assert fetch.requests_for(1, 40)


def test_memory_is_bounded_when_many_claim_one_size() -> None:
    fetch = offering(*range(100), size=4 << 20)
    for peer in (0, 1, 1, 1):  # two of them spoil it
        for number in fetch.requests_for(peer, 0):
            fetch.data_received(peer, number, bytes(METADATA_BLOCK_SIZE), 0)
    assert fetch.promised == 0
    for peer in range(100):
        fetch.requests_for(peer, 0)
    assert 4 << 20 < fetch.promised <= MAX_TOGETHER


def test_who_sends_nothing_is_asked_no_more() -> None:
    fetch = offering(1)
    assert fetch.requests_for(1, 0)
    fetch.drop_stalled(SILENT_SECONDS)
    fetch.peer_offers(2, len(RAW))
    assert fetch.requests_for(2, 1) == []
    fetch.drop_stalled(SILENT_SECONDS + 1)
    assert len(fetch.requests_for(2, 31)) == 6
    assert fetch.requests_for(1, 100) == []


def test_who_sends_a_piece_now_and_then_is_asked_no_more_in_time() -> None:
    fetch = offering(1)
    asked = fetch.requests_for(1, 0)
    now = 0.0
    while fetch.requests_for(1, now) == [] and now < 1000 and asked:
        now += SILENT_SECONDS - 1
        fetch.data_received(1, asked[0], piece(asked[0]), now)
        asked = asked[1:]
        fetch.drop_stalled(now)
        fetch.peer_offers(1, len(RAW))  # comes back as new
    assert ANSWER_SECONDS < now < 2 * ANSWER_SECONDS


def test_impossible_sizes_are_ignored() -> None:
    for size in (0, -1, MAX_METADATA_SIZE + 1):
        assert offering(1, size=size).requests_for(1, 0) == []


def test_a_peer_that_changes_its_mind_begins_anew() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, MAX_METADATA_SIZE)
    fetch.requests_for(1, 0)
    fetch.peer_offers(1, len(RAW))
    assert fetch_from(fetch, 1).raw == RAW
    assert fetch.promised == len(RAW) or fetch.promised == 0


def test_data_nobody_asked_for_is_ignored() -> None:
    fetch = MetadataFetch(HASHES)
    assert fetch.data_received(9, 0, b"x", 0) == UNASKED
    fetch.peer_offers(1, len(RAW))
    fetch.requests_for(1, 0)
    assert fetch.data_received(2, 0, piece(0), 0) == UNASKED
    assert fetch.data_received(1, 99, piece(0), 0) == UNASKED
    assert fetch.data_received(1, 0, piece(0), 0) == MetadataResult()
    assert fetch.data_received(1, 0, bytes(METADATA_BLOCK_SIZE), 0) == UNASKED


def test_a_piece_of_a_wrong_length_names_a_liar() -> None:
    fetch = offering(1)
    fetch.requests_for(1, 0)
    assert fetch.data_received(1, 0, b"short", 0).liars == {1}
    assert fetch.requests_for(1, 0) == []


def test_a_hybrid_needs_both_hashes() -> None:
    v1, v2 = hashlib.sha1(RAW).digest(), hashlib.sha256(RAW).digest()
    assert hashes_match(RAW, InfoHashes(v1=v1, v2=v2))
    assert hashes_match(RAW, InfoHashes(v1=None, v2=v2))
    assert not hashes_match(RAW, InfoHashes(v1=v1, v2=bytes(32)))
    assert not hashes_match(RAW, InfoHashes(v1=bytes(20), v2=v2))
