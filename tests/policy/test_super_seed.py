"""Super-seeding: one copy goes out, piece by piece, to those who pass it on."""

from random import Random

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.super_seed import SHOWN_AT_ONCE, SuperSeed

ONE, STRIPE, OTHER = PeerKey(1), PeerKey(2), PeerKey(3)
PIECES = 8


def with_peers(*peers: PeerKey) -> tuple[SuperSeed, dict[PeerKey, Bitfield], list[int]]:
    """Peers that have nothing, and what the first of them is shown."""
    seeder = SuperSeed(PIECES, Random(1))
    pieces = {peer: Bitfield(PIECES) for peer in peers}
    first, *_ = [seeder.add_peer(peer, pieces[peer]) for peer in peers]
    return seeder, pieces, first


def test_each_is_shown_a_little_and_nobody_the_same() -> None:
    seeder = SuperSeed(PIECES, Random(1))
    shown = [*seeder.add_peer(ONE, Bitfield(PIECES)), *seeder.add_peer(OTHER, Bitfield(PIECES))]
    assert len(set(shown)) == 2 * SHOWN_AT_ONCE


def test_more_is_shown_to_whoever_passes_on() -> None:
    seeder, _, (piece, _) = with_peers(ONE, OTHER)
    assert seeder.peer_has({ONE}, piece) == []
    ((shown_to, _),) = seeder.peer_has({OTHER}, piece)
    assert shown_to == ONE


def test_what_is_shown_is_awaited_until_it_is_passed_on() -> None:
    seeder, _, first = with_peers(ONE, OTHER)
    assert set(first) < seeder.awaited
    assert len(seeder.awaited) == 2 * SHOWN_AT_ONCE
    seeder.peer_has({OTHER}, first[0])
    assert first[0] not in seeder.awaited


def test_what_one_person_tells_on_several_connections_was_not_passed_on() -> None:
    seeder, _, (piece, _) = with_peers(ONE, STRIPE, OTHER)
    person = {ONE, STRIPE}
    assert [seeder.peer_has(person, piece) for _ in person] == [[], []]


def test_with_nobody_to_pass_on_to_having_it_is_enough() -> None:
    seeder, _, (piece, _) = with_peers(ONE, STRIPE)
    ((shown_to, _),) = seeder.peer_has({ONE, STRIPE}, piece)
    assert shown_to == ONE


def test_a_copy_is_out_when_all_have_it_between_them() -> None:
    seeder, pieces, _ = with_peers(ONE, OTHER)
    for index in range(PIECES):
        assert not seeder.is_out
        who = ONE if index % 3 else OTHER
        pieces[who].set(index)
        seeder.peer_has({who}, index)
    assert seeder.is_out
    seeder.remove_peer(OTHER)
    assert not seeder.is_out
