"""What the picker decides, case by case; the state machine shows that it stays consistent."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, PieceLayout
from torrent_onion.policy import piece_board
from torrent_onion.policy.endgame import MAX_COPIES
from torrent_onion.policy.picker_peer import MAX_LATE
from torrent_onion.policy.picker_results import Received, UnaskedBlock
from torrent_onion.policy.piece_board import PieceState
from torrent_onion.policy.piece_picker import PiecePicker

Bits = Callable[..., Bitfield]
Content = Callable[[Block], memoryview]
ALL = range(10)


def pieces_of(blocks: list[Block]) -> list[int]:
    return list(dict.fromkeys(block.piece for block in blocks))


def receive(picker: PiecePicker, peer: int, block: Block, content: Content) -> Received:
    return picker.block_received(peer, block.piece, block.begin, content(block))


def fetch(picker: PiecePicker, peer: int, index: int, content: Content) -> None:
    """Let a peer send a whole piece, and verify it."""
    for block in picker.pick(peer, 3, allowed={index}):
        receive(picker, peer, block, content)
    picker.piece_verified(index)


def have(picker: PiecePicker, *indices: int) -> None:
    for index in indices:
        picker.piece_verified(index)


# The order of pieces


def test_the_rarest_piece_that_a_peer_has_comes_first(picker: PiecePicker, bits: Bits) -> None:
    have(picker, 0, 1, 2, 3)
    picker.add_peer(1, bits(*ALL))
    picker.add_peer(2, bits(4, 5, 6, 8, 9))
    picker.add_peer(3, bits(4, 5, 6, 8))
    assert pieces_of(picker.pick(1, 6)) == [7, 9]
    picker.peer_lost(3, 8)
    assert pieces_of(picker.pick(2, 3)) == [8]


def test_equally_rare_pieces_are_chosen_at_random(layout: PieceLayout, bits: Bits) -> None:
    chosen = Counter[int]()
    for seed in range(200):
        picker = PiecePicker(layout, bits(0, 1, 2, 3), rng=Random(seed))
        picker.add_peer(1, bits(*ALL))
        chosen.update(pieces_of(picker.pick(1, 3)))
    assert set(chosen) == {4, 5, 6, 7, 8, 9}


def test_the_first_pieces_are_chosen_at_random_whatever_their_rarity(
    layout: PieceLayout, bits: Bits
) -> None:
    chosen = Counter[int]()
    for seed in range(200):
        picker = PiecePicker(layout, bits(0, 1, 2), rng=Random(seed))
        picker.add_peer(1, bits(*ALL))
        picker.add_peer(2, bits(*range(9)))
        chosen.update(pieces_of(picker.pick(1, 3)))
    assert set(chosen) == {3, 4, 5, 6, 7, 8, 9}


def test_a_peer_goes_on_with_its_piece(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(*ALL))
    blocks = [block for _ in range(6) for block in picker.pick(1, 1)]
    first, second = pieces_of(blocks)
    assert blocks[:3] == [
        Block(first, n * BLOCK_SIZE, [BLOCK_SIZE, BLOCK_SIZE, 5][n]) for n in range(3)
    ]
    assert [block.piece for block in blocks[3:]] == [second] * 3


def test_sequential_mode_begins_with_the_first(
    layout: PieceLayout, rng: Random, bits: Bits
) -> None:
    picker = PiecePicker(layout, bits(1), rng=rng, sequential=True)
    picker.add_peer(1, bits(*ALL))
    assert picker.sequential
    assert pieces_of(picker.pick(1, 9)) == [0, 2, 3]
    picker.set_priority(9, 7)
    assert pieces_of(picker.pick(1, 3)) == [9]
    assert pieces_of(picker.pick(1, 3)) == [4]


def test_in_sequential_mode_peers_finish_the_first_pieces_together(bits: Bits) -> None:
    layout = PieceLayout(64 * BLOCK_SIZE, [640 * BLOCK_SIZE])
    picker = PiecePicker(layout, Bitfield(10), rng=Random(1), sequential=True)
    picker.add_peer(1, Bitfield.full(10))
    picker.add_peer(2, Bitfield.full(10))
    assert pieces_of(picker.pick(1, 32)) == [0]
    assert pieces_of(picker.pick(2, 100)) == [0, 1, 2]


def big_picker(rng: Random, *, blocks: int = 64, pieces: int = 100) -> PiecePicker:
    layout = PieceLayout(blocks * BLOCK_SIZE, [pieces * blocks * BLOCK_SIZE])
    picker = PiecePicker(layout, Bitfield(pieces), rng=rng)
    for peer in (1, 2, 3):
        picker.add_peer(peer, Bitfield.full(pieces))
    return picker


def test_fast_peers_take_whole_pieces_and_slow_ones_join(rng: Random) -> None:
    picker = big_picker(rng)
    (first,) = pieces_of(picker.pick(1, 20))
    (second,) = pieces_of(picker.pick(2, 20))
    assert first != second
    assert pieces_of(picker.pick(1, 1)) == [first]
    assert pieces_of(picker.pick(3, 4))[0] in {first, second}


def test_an_abandoned_piece_is_taken_up_before_a_new_one_is_begun(
    rng: Random, content: Content
) -> None:
    picker = big_picker(rng)
    blocks = picker.pick(1, 20)
    receive(picker, 1, blocks[0], content)
    picker.remove_peer(1)
    assert picker.pick(2, 19) == blocks[1:]


def test_a_piece_of_which_nothing_came_is_open_again(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(4))
    blocks = picker.pick(1, 2)
    assert picker.state(4) is PieceState.PARTIAL
    for block in blocks:
        picker.request_dropped(1, block)
    assert picker.state(4) is PieceState.OPEN
    assert picker.pick(1, 2) == blocks


def test_allowed_pieces_only(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(*range(5)))
    current = pieces_of(picker.pick(1, 1))[0]
    others = {0, 1, 2, 3, 4} - {current}
    two = set(sorted(others)[:2])
    assert set(pieces_of(picker.pick(1, 100, allowed=two | {9}))) == two
    assert picker.pick(1, 1, allowed=set()) == []
    assert picker.pick(1, 2)[0].piece == current


def test_nothing_is_asked_of_a_peer_that_has_nothing(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits())
    assert picker.pick(1, 10) == []
    assert not picker.is_interesting(1)
    picker.peer_has(1, 3)
    picker.peer_has(1, 3)
    assert picker.is_interesting(1)
    assert picker.availability(3) == 1
    assert picker.pick(1, 0) == []
    assert len(picker.pick(1, 10)) == 3


def test_a_piece_that_a_peer_has_lost_is_not_asked_of_it(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(4))
    picker.add_peer(2, bits(4))
    assert len(picker.pick(1, 1)) == 1
    picker.peer_lost(1, 4)
    picker.peer_lost(1, 4)
    assert not picker.is_interesting(1)
    assert picker.pick(1, 3) == []
    assert len(picker.pick(2, 2)) == 2
    assert picker.availability(4) == 1


def test_a_peer_is_counted_once(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(1))
    with pytest.raises(ValueError, match="known"):
        picker.add_peer(1, bits(1))


def test_an_empty_torrent_is_done(rng: Random) -> None:
    picker = PiecePicker(PieceLayout(BLOCK_SIZE, []), Bitfield(0), rng=rng)
    picker.add_peer(1, Bitfield(0))
    assert picker.is_done
    assert picker.pick(1, 5) == []


# Blocks that come


def test_a_whole_torrent_arrives(picker: PiecePicker, bits: Bits, content: Content) -> None:
    picker.add_peer(1, bits(*ALL))
    seen = set()
    while blocks := picker.pick(1, 4):
        for block in blocks:
            complete = receive(picker, 1, block, content).complete
            if complete is not None:
                seen.add(complete.index)
                assert picker.state(complete.index) is PieceState.CHECKING
                assert picker.is_interesting(1)
                assert picker.piece_verified(complete.index) == frozenset()
    assert seen == set(ALL)
    assert picker.is_done
    assert not picker.is_interesting(1)


@pytest.mark.parametrize(
    ("piece", "begin", "length"),
    [
        (4, 0, BLOCK_SIZE - 1),
        (4, 1, BLOCK_SIZE),
        (4, BLOCK_SIZE, BLOCK_SIZE),
        (5, 0, BLOCK_SIZE),
        (99, 0, BLOCK_SIZE),
    ],
)
def test_what_was_not_asked_for_is_refused(
    picker: PiecePicker, bits: Bits, piece: int, begin: int, length: int
) -> None:
    picker.add_peer(1, bits(4))
    picker.add_peer(2, bits(4))
    assert picker.pick(1, 1) == [Block(4, 0, BLOCK_SIZE)]
    with pytest.raises(UnaskedBlock):
        picker.block_received(1, piece, begin, memoryview(bytes(length)))
    with pytest.raises(UnaskedBlock):
        picker.block_received(2, 4, 0, memoryview(bytes(BLOCK_SIZE)))


def test_a_block_sent_twice_is_refused(picker: PiecePicker, bits: Bits, content: Content) -> None:
    picker.add_peer(1, bits(4))
    block = picker.pick(1, 2)[0]
    receive(picker, 1, block, content)
    with pytest.raises(UnaskedBlock):
        receive(picker, 1, block, content)


def test_a_late_block_is_welcome_while_it_is_missing(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(4))
    picker.add_peer(2, bits(4))
    first, second, third = picker.pick(1, 3)
    assert picker.drop_requests(1) == [first, second, third]
    assert receive(picker, 1, first, content) == Received()
    assert picker.state(4) is PieceState.PARTIAL
    assert picker.pick(2, 3) == [second, third]
    assert receive(picker, 1, second, content) == Received(cancel=(2,))
    assert receive(picker, 2, second, content).duplicate
    assert receive(picker, 1, third, content).complete is not None


def test_a_late_block_of_a_piece_that_is_here_is_thrown_away(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(4))
    block = picker.pick(1, 1)[0]
    have(picker, 4)
    assert not picker.is_requested(1, block)
    assert receive(picker, 1, block, content) == Received(duplicate=True)


def test_what_may_come_late_is_bounded(rng: Random) -> None:
    picker = big_picker(rng)
    for _ in range(5):
        picker.pick(1, 2000)
        picker.drop_requests(1)
    assert len(picker._peers[1].late) == MAX_LATE


# Endgame


def test_endgame_begins_when_all_is_asked_for_and_takes_from_the_end(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(*ALL))
    picker.add_peer(2, bits(*ALL))
    asked = picker.pick(1, 29)
    last = picker.pick(2, 5)
    assert len(last) == 1
    assert not picker.statistics().endgame
    copies = picker.pick(2, 4)
    assert picker.statistics().endgame
    assert copies == asked[:-5:-1]
    assert receive(picker, 2, copies[0], content) == Received(cancel=(1,))
    assert not picker.is_requested(1, copies[0])
    assert receive(picker, 1, copies[0], content).duplicate


def test_a_block_has_few_copies(picker: PiecePicker, bits: Bits) -> None:
    for peer in range(6):
        picker.add_peer(peer, bits(4))
    copies = Counter(block for peer in range(6) for block in picker.pick(peer, 9))
    assert set(copies.values()) == {MAX_COPIES}


def test_endgame_ends_when_a_block_is_missing_again(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(4))
    picker.add_peer(2, bits(4))
    first, second, third = picker.pick(1, 3)
    assert picker.pick(2, 1) == [third]
    picker.request_dropped(1, first)
    assert picker.pick(2, 3) == [first]
    assert not picker.statistics().endgame
    assert picker.pick(2, 3) == [second]


def test_a_piece_that_nobody_has_does_not_hold_up_endgame(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(4))
    picker.add_peer(2, bits(4))
    picker.pick(1, 3)
    assert len(picker.pick(2, 3)) == 3


def test_a_call_in_endgame_gives_up_after_a_few_looks(rng: Random) -> None:
    picker = big_picker(rng, pieces=4)
    asked = picker.pick(1, 256)
    copies = picker.pick(2, 1)
    assert copies == [asked[-1]]
    assert picker.pick(1, 5) == []
    picker.drop_requests(2)
    # Its one look at the block of peer 2 comes when it has looked at all of its own.
    assert not any(picker.pick(1, 1) for _ in range(3))


# Memory


def test_pieces_in_memory_are_bounded(rng: Random) -> None:
    picker = big_picker(rng, blocks=256)
    assert len(picker.pick(1, 100_000)) == 16 * 256
    assert picker.pick(1, 1) == []
    assert len(picker.pick(2, 10_000)) == 4, "an idle peer helps with what others were asked for"
    assert picker.pick(2, 10_000) == []


def test_the_last_places_are_for_fast_peers_that_cannot_help(rng: Random) -> None:
    picker = PiecePicker(
        PieceLayout(256 * BLOCK_SIZE, [100 * 256 * BLOCK_SIZE]), Bitfield(100), rng=rng
    )
    for peer in range(20):
        bits = Bitfield(100)
        bits.set(peer)
        picker.add_peer(peer, bits)
        picker.pick(peer, 4)
    assert picker.statistics().partial == 12
    picker.add_peer(50, Bitfield.full(100))
    for peer in range(12):
        picker.peer_lost(50, peer)
    assert len(picker.pick(50, 64)) == 64
    assert picker.statistics().partial == 13


def test_fast_peers_that_can_help_leave_the_last_places_free(rng: Random) -> None:
    picker = big_picker(rng, blocks=256)
    for peer in range(10, 30):
        picker.add_peer(peer, Bitfield.full(100))
        assert len(picker.pick(peer, 64)) == 64
    assert picker.statistics().partial == 12


def test_a_piece_left_half_done_makes_room(rng: Random, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_board, "MAX_BUFFERED", 0)
    picker = PiecePicker(PieceLayout(2 * BLOCK_SIZE, [20 * BLOCK_SIZE]), Bitfield(10), rng=rng)
    rare = Bitfield(10)
    for index in range(4):
        rare.set(index)
    picker.add_peer(1, rare)
    for block in picker.pick(1, 8):
        if block.begin == 0:
            picker.block_received(1, block.piece, 0, memoryview(bytes(BLOCK_SIZE)))
    assert picker.statistics().buffered == 4 * 2 * BLOCK_SIZE
    others = Bitfield(10)
    for index in range(4, 10):
        others.set(index)
    picker.add_peer(2, others)
    picker.drop_requests(1)
    assert len(picker.pick(2, 2)) == 2
    assert len(picker.pick(2, 4)) == 4
    assert picker.statistics().partial <= 4


# Priorities


def test_a_higher_priority_goes_first_and_zero_is_skipped(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(*ALL))
    picker.set_priority(range(5, 10), 0)
    picker.set_priority(3, 7)
    picker.set_priority(2, 6)
    assert pieces_of(picker.pick(1, 6)) == [3, 2]
    assert sorted(pieces_of(picker.pick(1, 100))) == [0, 1, 4]
    assert picker.num_wanted_missing == 5
    assert picker.state(7) is PieceState.SKIPPED
    assert picker.priority(7) == 0
    picker.set_priority(7, 1)
    assert picker.state(7) is PieceState.OPEN


def test_a_piece_that_becomes_urgent_goes_before_one_that_is_begun(
    picker: PiecePicker, bits: Bits
) -> None:
    picker.add_peer(1, bits(*ALL))
    current = picker.pick(1, 1)[0].piece
    urgent = (current + 1) % 10
    picker.set_priority(urgent, 5)
    assert pieces_of(picker.pick(1, 3)) == [urgent]
    assert pieces_of(picker.pick(1, 2)) == [current]


def test_what_is_skipped_is_cancelled_and_thrown_away(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(4))
    first, second, third = picker.pick(1, 3)
    receive(picker, 1, first, content)
    assert picker.set_priority(4, 0) == [(1, second), (1, third)]
    assert picker.statistics().buffered == 0
    assert not picker.is_interesting(1)
    assert picker.is_done is False
    assert receive(picker, 1, second, content).duplicate
    picker.set_priority(4, 1)
    assert picker.is_interesting(1)
    assert picker.pick(1, 9) == [first, second, third]


def test_a_complete_piece_that_is_skipped_is_kept(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(4))
    for block in picker.pick(1, 3):
        receive(picker, 1, block, content)
    assert picker.set_priority(4, 0) == []
    assert picker.state(4) is PieceState.CHECKING
    picker.piece_failed(4, [0])
    assert picker.state(4) is PieceState.SKIPPED


def test_there_are_eight_priorities(picker: PiecePicker) -> None:
    with pytest.raises(ValueError, match="8"):
        picker.set_priority(0, 8)


# Bad data


def send(
    picker: PiecePicker, peer: int, blocks: list[Block], *, bad: bool, content: Content
) -> None:
    for block in blocks:
        data = memoryview(bytes(block.length)) if bad else content(block)
        picker.block_received(peer, block.piece, block.begin, data)


def test_a_single_sender_of_a_bad_piece_is_guilty(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    picker.add_peer(1, bits(4))
    send(picker, 1, picker.pick(1, 3), bad=True, content=content)
    assert picker.piece_failed(4) == {1}
    assert picker.state(4) is PieceState.OPEN


def test_one_of_several_senders_is_found_when_a_piece_from_one_peer_is_good(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    for peer in (1, 2, 3):
        picker.add_peer(peer, bits(4))
    send(picker, 1, picker.pick(1, 1), bad=False, content=content)
    send(picker, 2, picker.pick(2, 1), bad=True, content=content)
    send(picker, 1, picker.pick(1, 1), bad=False, content=content)
    assert picker.piece_failed(4) == {1, 2}
    blocks = picker.pick(3, 2)
    assert picker.pick(1, 9) == [], "from one peer alone"
    send(picker, 3, blocks, bad=False, content=content)
    assert picker.pick(1, 9) == []
    send(picker, 3, picker.pick(3, 9), bad=False, content=content)
    picker.remove_peer(2)
    assert picker.piece_verified(4) == {2}


def test_one_of_several_senders_is_found_when_it_lies_again(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    for peer in (1, 2):
        picker.add_peer(peer, bits(4))
    send(picker, 1, picker.pick(1, 1), bad=False, content=content)
    send(picker, 2, picker.pick(2, 9), bad=True, content=content)
    assert picker.piece_failed(4) == {1, 2}
    send(picker, 2, picker.pick(2, 9), bad=True, content=content)
    assert picker.piece_failed(4) == {2}
    picker.remove_peer(2)
    send(picker, 1, picker.pick(1, 9), bad=False, content=content)
    assert picker.piece_verified(4) == {2}


def test_a_piece_from_one_peer_alone_begins_anew_with_the_next(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    for peer in (1, 2):
        picker.add_peer(peer, bits(4))
    send(picker, 1, picker.pick(1, 1), bad=False, content=content)
    send(picker, 2, picker.pick(2, 9), bad=True, content=content)
    picker.piece_failed(4)
    first, second = picker.pick(1, 2)
    receive(picker, 1, first, content)
    picker.drop_requests(1)
    assert len(picker.pick(2, 9)) == 3
    assert receive(picker, 1, second, content).duplicate


def test_evidence_ends_with_a_good_piece(picker: PiecePicker, bits: Bits, content: Content) -> None:
    for peer in (1, 2):
        picker.add_peer(peer, bits(4))
    send(picker, 1, picker.pick(1, 1), bad=False, content=content)
    send(picker, 2, picker.pick(2, 9), bad=True, content=content)
    picker.piece_failed(4)
    (late,) = picker.pick(1, 1)
    picker.drop_requests(1)
    assert receive(picker, 1, late, content).duplicate, "no late block begins a suspect piece"
    assert picker.state(4) is PieceState.OPEN
    assert picker.piece_verified(4) == frozenset()
    assert not picker._bad_data.is_suspect(4)


def test_a_bad_block_that_is_known_is_asked_for_alone(
    picker: PiecePicker, bits: Bits, content: Content
) -> None:
    for peer in (1, 2):
        picker.add_peer(peer, bits(4))
    send(picker, 1, picker.pick(1, 2), bad=False, content=content)
    send(picker, 2, picker.pick(2, 9), bad=True, content=content)
    assert picker.piece_failed(4, [2]) == {2}
    (block,) = picker.pick(1, 9)
    assert block.begin == 2 * BLOCK_SIZE
    assert receive(picker, 1, block, content).complete is not None


def test_only_a_complete_piece_can_fail(picker: PiecePicker, bits: Bits) -> None:
    picker.add_peer(1, bits(4))
    picker.pick(1, 1)
    for index in (3, 4):
        with pytest.raises(ValueError, match="not being checked"):
            picker.piece_failed(index)
