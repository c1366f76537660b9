import hashlib
import random

from torrent_onion.core.identity import InfoHashes
from torrent_onion.engine.metadata_fetch import (
    MAX_OUTSTANDING,
    MetadataFetch,
    MetadataResult,
    hashes_match,
)
from torrent_onion.protocol.extensions import MAX_METADATA_SIZE, METADATA_BLOCK_SIZE

RAW = random.Random(1).randbytes(5 * METADATA_BLOCK_SIZE + 77)
HASHES = InfoHashes(v1=hashlib.sha1(RAW).digest(), v2=None)


def piece(number: int, raw: bytes = RAW) -> bytes:
    return raw[number * METADATA_BLOCK_SIZE : (number + 1) * METADATA_BLOCK_SIZE]


def fetch_from(fetch: MetadataFetch, peer: int, raw: bytes = RAW) -> MetadataResult:
    result = MetadataResult()
    for number in fetch.requests_for(peer):
        result = fetch.data_received(peer, number, piece(number, raw))
    return result


def test_one_peer_gives_everything() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, len(RAW))
    assert fetch_from(fetch, 1).raw == RAW


def test_two_peers_share_the_work() -> None:
    raw = random.Random(2).randbytes(
        MAX_OUTSTANDING * METADATA_BLOCK_SIZE + 5 * METADATA_BLOCK_SIZE
    )
    fetch = MetadataFetch(InfoHashes(v1=hashlib.sha1(raw).digest(), v2=None))
    fetch.peer_offers(1, len(raw))
    fetch.peer_offers(2, len(raw))
    first, second = fetch.requests_for(1), fetch.requests_for(2)
    assert len(first) == MAX_OUTSTANDING
    assert len(second) == 5
    assert not set(first) & set(second)


def test_a_liar_among_two_is_found_by_asking_one_at_a_time() -> None:
    fetch = MetadataFetch(HASHES)
    wrong = bytes(len(RAW))
    fetch.peer_offers(1, len(RAW))
    fetch.peer_offers(2, len(RAW))
    asked = fetch.requests_for(1)
    for number in asked[:-1]:
        assert fetch.data_received(1, number, piece(number)) == MetadataResult()
    fetch.remove_peer(1)
    fetch.peer_offers(1, len(RAW))
    result = fetch_from(fetch, 2, wrong)
    # One of them lied, and nobody can say who.
    while result.raw is None and not result.liars:
        result = fetch_from(fetch, 2, wrong)
    assert result.liars == {2}
    assert fetch.requests_for(2) == []
    assert fetch_from(fetch, 1).raw == RAW


def test_what_was_asked_of_a_peer_that_left_is_asked_of_the_next() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, len(RAW))
    fetch.peer_offers(2, len(RAW))
    fetch.requests_for(1)
    assert fetch.requests_for(2) == []
    fetch.remove_peer(1)
    assert fetch_from(fetch, 2).raw == RAW


def test_a_giant_size_from_one_peer_does_not_keep_out_the_others() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, MAX_METADATA_SIZE)
    fetch.peer_offers(2, len(RAW))
    assert fetch.requests_for(1)
    assert fetch.requests_for(2) == []
    fetch.remove_peer(1)  # the engine does so when nothing comes
    assert fetch_from(fetch, 2).raw == RAW


def test_impossible_sizes_are_ignored() -> None:
    fetch = MetadataFetch(HASHES)
    for size in (0, -1, MAX_METADATA_SIZE + 1):
        fetch.peer_offers(1, size)
        assert fetch.requests_for(1) == []


def test_data_nobody_asked_for_is_ignored() -> None:
    fetch = MetadataFetch(HASHES)
    assert fetch.data_received(9, 0, b"x") == MetadataResult()
    fetch.peer_offers(1, len(RAW))
    fetch.requests_for(1)
    assert fetch.data_received(2, 0, piece(0)) == MetadataResult()
    assert fetch.data_received(1, 99, piece(0)) == MetadataResult()


def test_a_piece_of_a_wrong_length_names_a_liar() -> None:
    fetch = MetadataFetch(HASHES)
    fetch.peer_offers(1, len(RAW))
    fetch.requests_for(1)
    assert fetch.data_received(1, 0, b"short").liars == {1}


def test_a_hybrid_needs_both_hashes() -> None:
    v1, v2 = hashlib.sha1(RAW).digest(), hashlib.sha256(RAW).digest()
    assert hashes_match(RAW, InfoHashes(v1=v1, v2=v2))
    assert hashes_match(RAW, InfoHashes(v1=None, v2=v2))
    assert not hashes_match(RAW, InfoHashes(v1=v1, v2=bytes(32)))
    assert not hashes_match(RAW, InfoHashes(v1=bytes(20), v2=v2))
