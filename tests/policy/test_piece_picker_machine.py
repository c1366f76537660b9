"""The picker against a model that looks at everything: peers come, go, lie, choke and reject."""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.examples import examples
from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, PieceLayout
from torrent_onion.policy import piece_board
from torrent_onion.policy.endgame import MAX_COPIES
from torrent_onion.policy.picker_results import UnaskedBlock
from torrent_onion.policy.piece_board import PieceState
from torrent_onion.policy.piece_download import BlockState, PieceDownload, Shelf
from torrent_onion.policy.piece_picker import PiecePicker

NUM_PIECES = 8
PIECE_LENGTH = 2 * BLOCK_SIZE + 5
PIECES = st.integers(0, NUM_PIECES - 1)
SEED = frozenset(range(NUM_PIECES))


def content(block: Block) -> bytes:
    return bytes([block.piece * 16 + block.begin // BLOCK_SIZE]) * block.length


def bitfield_of(pieces: frozenset[int]) -> Bitfield:
    bitfield = Bitfield(NUM_PIECES)
    for index in pieces:
        bitfield.set(index)
    return bitfield


class PickerMachine(RuleBasedStateMachine):
    """Rules act on the picker and on the model; invariants compare them."""

    def __init__(self) -> None:
        super().__init__()
        data = 2 * PIECE_LENGTH + BLOCK_SIZE + 3  # piece 2 has two blocks, and padding behind them
        padding = 3 * PIECE_LENGTH - data
        rest = (NUM_PIECES - 3) * PIECE_LENGTH - 7
        self.layout = PieceLayout(PIECE_LENGTH, [data, padding, rest], padding=[1])
        self.picker = PiecePicker(self.layout, Bitfield(NUM_PIECES), rng=Random(0))
        self.pieces: dict[int, set[int]] = {}
        self.liars: set[int] = set()
        self.asked: dict[int, list[Block]] = {}
        self.late: dict[int, list[Block]] = {}
        self.have: set[int] = set()
        self.priority = dict.fromkeys(range(NUM_PIECES), piece_board.NORMAL_PRIORITY)
        self.checking: dict[int, PieceDownload] = {}
        self.next_peer = 0

    # Peers

    def join(self, pieces: frozenset[int], *, liar: bool) -> int:
        peer = self.next_peer
        self.next_peer += 1
        self.picker.add_peer(peer, bitfield_of(pieces))
        self.pieces[peer] = set(pieces)
        self.asked[peer] = []
        self.late[peer] = []
        if liar:
            self.liars.add(peer)
        return peer

    @initialize(pieces=st.frozensets(PIECES))
    def first_peers(self, pieces: frozenset[int]) -> None:
        self.join(SEED, liar=False)
        self.join(pieces, liar=False)

    @precondition(lambda self: len(self.pieces) < 6)
    @rule(pieces=st.frozensets(PIECES) | st.just(SEED), liar=st.booleans())
    def peer_joins(self, pieces: frozenset[int], *, liar: bool) -> None:
        self.join(pieces, liar=liar)

    @precondition(lambda self: self.pieces)
    @rule(data=st.data())
    def peer_leaves(self, data: st.DataObject) -> None:
        self.leave(self.some_peer(data))

    def leave(self, peer: int) -> None:
        self.picker.remove_peer(peer)
        del self.pieces[peer], self.asked[peer], self.late[peer]

    @precondition(lambda self: self.pieces)
    @rule(data=st.data(), index=PIECES)
    def peer_has(self, data: st.DataObject, index: int) -> None:
        peer = self.some_peer(data)
        self.picker.peer_has(peer, index)
        self.pieces[peer].add(index)

    @precondition(lambda self: self.pieces)
    @rule(data=st.data(), pieces=st.frozensets(PIECES) | st.just(SEED))
    def peer_has_also(self, data: st.DataObject, pieces: frozenset[int]) -> None:
        peer = self.some_peer(data)
        self.picker.peer_has_also(peer, bitfield_of(pieces))
        self.pieces[peer] |= pieces

    @precondition(lambda self: self.pieces)
    @rule(data=st.data(), index=PIECES)
    def peer_lost(self, data: st.DataObject, index: int) -> None:
        peer = self.some_peer(data)
        self.picker.peer_lost(peer, index)
        self.pieces[peer].discard(index)

    def some_peer(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.pieces)))

    def asked_peers(self) -> list[int]:
        return [peer for peer, blocks in self.asked.items() if blocks]

    # Blocks

    @precondition(lambda self: self.pieces)
    @rule(
        data=st.data(),
        count=st.integers(0, 9),
        allowed=st.none() | st.frozensets(PIECES, max_size=3),
    )
    def pick(self, data: st.DataObject, count: int, allowed: frozenset[int] | None) -> None:
        self.do_pick(self.some_peer(data), count, allowed)

    def do_pick(self, peer: int, count: int, allowed: frozenset[int] | None) -> int:
        before = {block for blocks in self.asked.values() for block in blocks}
        mine = set(self.asked[peer])
        missing_before = self.missing_blocks()
        picked = self.picker.pick(peer, count, allowed=allowed)
        assert len(picked) == len(set(picked)) <= count
        copies = [block for block in picked if block in before]
        if copies:
            assert copies == picked, "copies only when there is nothing else"
            assert not missing_before or (not mine and self.board.is_full)
        for block in picked:
            assert block not in mine
            assert self.layout.is_valid_request(*block)
            assert block.piece in self.pieces[peer]
            assert allowed is None or block.piece in allowed
            assert self.priority[block.piece] > 0
            assert block.piece not in self.have
        self.asked[peer] += picked
        # Withdrawn when a piece that was bad begins again with another peer.
        for other, blocks in self.asked.items():
            for block in tuple(blocks):
                if not self.picker.is_requested(other, block):
                    assert self.download(block.piece) is None or self.download(block.piece).solo
                    self.forget(other, block)
        if len(picked) < count and not copies and not self.is_full():
            eligible = self.pieces[peer] if allowed is None else self.pieces[peer] & allowed
            assert not [block for block in self.missing_blocks() if block.piece in eligible]
        return len(picked)

    def missing_blocks(self) -> list[Block]:
        """Blocks that could be asked for, of pieces that somebody has."""
        blocks = []
        for index in set().union(*self.pieces.values()):
            state, download = self.picker.state(index), self.download(index)
            blocks += [
                self.layout.block(index, number)
                for number in range(self.layout.num_blocks(index))
                if state is PieceState.OPEN
                or (
                    state is PieceState.PARTIAL
                    and not (download.solo and download.taker is not None)
                    and download.state(number) is BlockState.MISSING
                )
            ]
        return blocks

    def is_full(self) -> bool:
        return self.board.is_full

    @precondition(lambda self: self.asked_peers())
    @rule(data=st.data(), corrupt=st.booleans())
    def block_arrives(self, data: st.DataObject, *, corrupt: bool) -> None:
        peer = data.draw(st.sampled_from(self.asked_peers()))
        block = data.draw(st.sampled_from(self.asked[peer]))
        self.deliver(peer, block, corrupt=corrupt)

    @precondition(lambda self: self.asked_peers())
    @rule(data=st.data())
    def all_blocks_arrive(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(self.asked_peers()))
        for block in tuple(self.asked[peer]):
            self.deliver(peer, block, corrupt=False)

    def deliver(self, peer: int, block: Block, *, corrupt: bool) -> None:
        data = content(block)
        if corrupt and peer in self.liars:
            data = b"\xff" + data[1:]
        others = {
            other for other, blocks in self.asked.items() if other != peer and block in blocks
        }
        result = self.picker.block_received(peer, block.piece, block.begin, memoryview(data))
        assert not result.duplicate
        assert set(result.cancel) == others
        self.asked[peer].remove(block)
        self.after_arrival(block, result.complete)

    def after_arrival(self, block: Block, complete: PieceDownload | None) -> None:
        for other, blocks in self.asked.items():
            if block in blocks:
                self.forget(other, block)
        if complete is not None:
            self.checking[block.piece] = complete

    @precondition(lambda self: any(self.late.values()))
    @rule(data=st.data())
    def late_block_arrives(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from([peer for peer, late in self.late.items() if late]))
        block = data.draw(st.sampled_from(self.late[peer]))
        if block in self.asked[peer]:
            return
        self.late[peer] = [late for late in self.late[peer] if late != block]
        result = self.picker.block_received(
            peer, block.piece, block.begin, memoryview(content(block))
        )
        if result.duplicate:
            assert not result.cancel
            assert result.complete is None
        else:
            assert self.priority[block.piece] > 0
            self.after_arrival(block, result.complete)

    @precondition(lambda self: self.pieces)
    @rule(data=st.data(), index=PIECES)
    def unasked_block_arrives(self, data: st.DataObject, index: int) -> None:
        peer = self.some_peer(data)
        block = self.layout.block(index, 0)
        if block not in self.asked[peer] and block not in self.late[peer]:
            with pytest.raises(UnaskedBlock):
                self.picker.block_received(peer, index, 0, memoryview(content(block)))

    @precondition(lambda self: self.asked_peers())
    @rule(data=st.data())
    def request_is_rejected(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(self.asked_peers()))
        block = data.draw(st.sampled_from(self.asked[peer]))
        self.picker.request_dropped(peer, block)
        self.picker.request_dropped(peer, block)
        self.forget(peer, block)

    @precondition(lambda self: self.pieces)
    @rule(data=st.data())
    def peer_chokes(self, data: st.DataObject) -> None:
        peer = self.some_peer(data)
        assert self.picker.drop_requests(peer) == self.asked[peer]
        for block in tuple(self.asked[peer]):
            self.forget(peer, block)

    def forget(self, peer: int, block: Block) -> None:
        self.asked[peer].remove(block)
        self.late[peer].append(block)

    # Pieces

    @precondition(lambda self: self.checking)
    @rule(data=st.data(), knows_blocks=st.booleans())
    def piece_is_checked(self, data: st.DataObject, *, knows_blocks: bool) -> None:
        self.check(data.draw(st.sampled_from(sorted(self.checking))), knows_blocks=knows_blocks)

    def check(self, index: int, *, knows_blocks: bool) -> None:
        download = self.checking.pop(index)
        bad = [
            number
            for number in range(download.num_blocks)
            if download.buffer[number * BLOCK_SIZE :][: download.block(number).length]
            != content(download.block(number))
        ]
        if not bad:
            buffer = download.buffer
            fetched = self.layout.fetched_size(index)
            assert not any(buffer[fetched:]), "padding is zeros, whatever the buffer had before"
            assert self.picker.piece_verified(index) <= self.liars
            self.picker.buffers.give_back(buffer)
            self.have.add(index)
        elif knows_blocks:
            suspects = self.picker.piece_failed(index, bad)
            assert suspects
            assert suspects <= self.liars
        else:
            suspects = self.picker.piece_failed(index)
            assert suspects & self.liars
            assert len(suspects) > 1 or suspects <= self.liars

    @rule(index=PIECES)
    def piece_is_found_on_disk(self, index: int) -> None:
        if self.picker.state(index) is PieceState.CHECKING:
            return
        assert not self.picker.piece_verified(index)
        self.have.add(index)
        for peer, blocks in self.asked.items():
            for block in tuple(blocks):
                if block.piece == index:
                    self.forget(peer, block)

    @rule(first=PIECES, length=st.integers(1, 3), priority=st.sampled_from([0, 1, 4, 7]))
    def priority_changes(self, first: int, length: int, priority: int) -> None:
        pieces = range(first, min(first + length, NUM_PIECES))
        cancelled = self.picker.set_priority(pieces, priority)
        expected = []
        for index in pieces:
            self.priority[index] = priority
            if priority == 0:
                expected += [
                    (peer, block)
                    for peer, blocks in self.asked.items()
                    for block in blocks
                    if block.piece == index
                ]
        assert sorted(cancelled) == sorted(expected)
        for peer, block in expected:
            self.forget(peer, block)

    @rule(sequential=st.booleans())
    def order_changes(self, *, sequential: bool) -> None:
        self.picker.sequential = sequential

    # What must hold at any time

    @property
    def board(self) -> piece_board.PieceBoard:
        return self.picker._board

    def download(self, index: int) -> Any:
        return self.board.downloads.get(index)

    @invariant()
    def every_piece_is_in_one_state(self) -> None:
        open_pieces = 0
        for index in range(NUM_PIECES):
            state = self.picker.state(index)
            assert (state is PieceState.HAVE) == (index in self.have)
            assert (state is PieceState.CHECKING) == (index in self.checking)
            download = self.download(index)
            assert (download is None) == (state not in {PieceState.PARTIAL, PieceState.CHECKING})
            if state is PieceState.PARTIAL:
                assert not download.is_untouched
                assert self.priority[index] > 0
            if state in {PieceState.OPEN, PieceState.SKIPPED}:
                assert (state is PieceState.OPEN) == (self.priority[index] > 0)
            open_pieces |= (state is PieceState.OPEN) << index
        assert self.board.open == open_pieces
        assert len(self.board.downloads) <= self.board._max_partial
        assert self.picker.statistics().have == len(self.have)

    @invariant()
    def blocks_are_asked_for_as_the_model_says(self) -> None:
        askers: dict[Block, set[int]] = {}
        for peer, blocks in self.asked.items():
            assert self.picker.num_requested(peer) == len(blocks)
            for block in blocks:
                assert self.picker.is_requested(peer, block)
                askers.setdefault(block, set()).add(peer)
        for download in self.board.downloads.values():
            states = []
            for number in range(download.num_blocks):
                expected = askers.pop(download.block(number), set())
                states.append(download.state(number))
                assert (states[-1] is BlockState.REQUESTED) == bool(expected)
                assert len(expected) <= MAX_COPIES
                if expected:
                    assert set(download.askers(number)) == expected
            assert download.missing == states.count(BlockState.MISSING)
            assert download.is_complete == (set(states) == {BlockState.RECEIVED})
            if download.solo:
                assert set(download.contributors().values()) <= {download.owner}
        assert not askers, "asked for, and of no piece that is begun"

    @invariant()
    def pieces_lie_on_the_right_shelf(self) -> None:
        shelves = {Shelf.ABANDONED: 0, Shelf.SHARED: 0}
        for index, download in self.board.downloads.items():
            taker = download.taker
            assert taker is None or self.picker._peers[taker].current is download
            if download.missing and taker is None:
                shelves[Shelf.ABANDONED] |= 1 << index
            elif download.missing and not download.solo:
                shelves[Shelf.SHARED] |= 1 << index
        assert self.board._shelves == shelves

    @invariant()
    def counts_are_right(self) -> None:
        useful = {
            index for index in range(NUM_PIECES) if self.priority[index] and index not in self.have
        }
        assert self.picker.num_wanted_missing == len(useful)
        assert self.picker.is_done == (not useful)
        for peer, pieces in self.pieces.items():
            assert self.picker.is_interesting(peer) == bool(pieces & useful)
            assert self.picker.is_seed(peer) == (pieces == SEED)
        for index in range(NUM_PIECES):
            holders = sum(index in pieces for pieces in self.pieces.values())
            assert self.picker.availability(index) == holders
            assert self.picker.priority(index) == self.priority[index]

    def teardown(self) -> None:
        """With an honest seed, and liars banned, every download comes to its end."""
        for peer in self.liars & self.pieces.keys():
            self.leave(peer)
        seed = self.join(SEED, liar=False)
        for _ in range(10 * NUM_PIECES):
            for peer in sorted(self.pieces):
                self.do_pick(peer, 4, None)
                if peer != seed:
                    # Others send nothing: the seed must be able to do without them.
                    self.picker.drop_requests(peer)
                    for block in tuple(self.asked[peer]):
                        self.forget(peer, block)
            for block in tuple(self.asked[seed]):
                self.deliver(seed, block, corrupt=False)
            for index in sorted(self.checking):
                self.check(index, knows_blocks=False)
        assert self.picker.is_done


LIMITS = settings(
    max_examples=examples(60),
    stateful_step_count=60,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_picker_agrees_with_the_model() -> None:
    run_state_machine_as_test(PickerMachine, settings=LIMITS)


def test_picker_agrees_with_the_model_when_few_pieces_may_be_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(piece_board, "MAX_BUFFERED", 0)
    run_state_machine_as_test(PickerMachine, settings=LIMITS)
