"""What a peer gets of what it asked for, in which order, and what still counts while it waits."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from torrent_onion.core.identity import PeerId
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block, PieceLayout
from torrent_onion.engine.answers import MAX_BATCH, Answers
from torrent_onion.engine.bandwidth import RateLimit
from torrent_onion.engine.read_cache import WINDOW, ReadCache, Window
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.messages import Have, Piece
from torrent_onion.protocol.peer_wire import PeerWire

PIECE = 2 * WINDOW
PIECES = 4


def content(index: int, begin: int, length: int) -> bytearray:
    """Bytes that tell where they are from."""
    place = index * PIECE + begin
    return bytearray(b"".join((place + n).to_bytes(4, "big") for n in range(0, length, 4)))


class SlowStorage:
    """Reads in windows as the real one does, but only as fast as it is told."""

    def __init__(self) -> None:
        self.may_read = trio.Event()
        self.may_read.set()
        self.reads = 0
        self._cache = ReadCache(PieceLayout(PIECE, [PIECES * PIECE]), content)

    def cached(self, index: int, begin: int, length: int) -> Window | None:
        return self._cache.get(index, begin, length)

    async def read(self, index: int, begin: int, length: int) -> Window:
        self.reads += 1
        await self.may_read.wait()
        return self._cache.fill(index, begin, length)


class Served:
    """The answers to one peer, and what that peer hears of them."""

    def __init__(self, *limits: RateLimit) -> None:
        self.storage = SlowStorage()
        self.counted: list[Block] = []
        self._ours, self._theirs = PeerWire(max_pieces=PIECES), PeerWire(max_pieces=PIECES)
        for one, other in ((self._ours, self._theirs), (self._theirs, self._ours)):
            one.send_handshake(Handshake(info_hash=b"h" * 20, peer_id=PeerId(bytes(20))))
            other.receive_data(b"".join(one.data_to_send()))
        torrent = SimpleNamespace(open_storage=self.storage, upload_limits=limits)
        self.answers = Answers(torrent, 1, self._ours, self._count)  # type: ignore[arg-type] # enough of a torrent

    def _count(self, blocks: Sequence[Block], size: int, _now: float) -> None:
        assert size == sum(block.length for block in blocks)
        self.counted += blocks

    def ask(self, *blocks: Block) -> None:
        self.answers.blocks.update(dict.fromkeys(blocks))

    def say_have(self) -> None:
        self._ours.send(Have(0))

    async def send(self) -> list[Block]:
        """What one send brings the peer."""
        await self.answers.queue()
        got = []
        for event in self._theirs.receive_data(b"".join(self._ours.data_to_send())):
            assert isinstance(event, Piece)
            length = len(event.block)
            assert event.block == content(event.piece, event.begin, length)[:length]
            got.append(Block(event.piece, event.begin, length))
        return got

    async def send_all(self) -> list[Block]:
        got: list[Block] = []
        while self.answers.blocks:
            got += await self.send()
        return got


def run(piece: int, count: int, first: int = 0) -> list[Block]:
    return [Block(piece, (first + n) * BLOCK_SIZE, BLOCK_SIZE) for n in range(count)]


async def test_answers_keep_the_order_of_the_requests() -> None:
    served = Served()
    asked = [
        *run(2, 3),
        Block(0, WINDOW - 8, 16),  # over two windows
        *run(2, 3, first=WINDOW // BLOCK_SIZE),
        Block(2, 4, 8),
        *reversed(run(1, 4)),
        *run(2, 3, first=3),
    ]
    served.ask(*asked)
    assert await served.send_all() == asked
    assert served.counted == asked


async def test_one_send_carries_no_more_than_a_batch_and_reads_once_a_window() -> None:
    served = Served()
    asked = run(0, WINDOW // BLOCK_SIZE)
    served.ask(*asked)
    first = await served.send()
    assert len(first) * BLOCK_SIZE == MAX_BATCH
    assert list(served.answers.blocks) == asked[len(first) :]
    assert first + await served.send_all() == asked
    assert served.storage.reads == 1


async def test_what_is_ready_goes_before_the_disk_is_read() -> None:
    served = Served()
    asked = [*run(0, 2), *run(1, 2)]
    served.ask(*asked)
    assert await served.send() == asked[:2]
    assert served.storage.reads == 1
    assert await served.send() == asked[2:]


@pytest.mark.parametrize("cancelled", [[0], [1, 2], [0, 1, 2, 3], [3]])
async def test_a_cancel_counts_while_the_disk_is_read(cancelled: list[int]) -> None:
    served = Served()
    asked = run(0, 4)
    served.ask(*asked)
    served.storage.may_read = trio.Event()
    got: list[Block] = []

    async def send() -> None:
        got.extend(await served.send())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        for number in cancelled:
            del served.answers.blocks[asked[number]]
        served.storage.may_read.set()
    assert got == [block for number, block in enumerate(asked) if number not in cancelled]
    assert served.counted == got


async def test_limits_hold_and_a_cancel_counts_while_they_do(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two seconds a block: the wait is over for one of them when the others are cancelled."""
    served = Served(RateLimit(None), RateLimit(BLOCK_SIZE / 2))
    asked = run(0, 6)
    served.ask(*asked)

    async def cancel() -> None:
        await trio.sleep(3)
        for block in asked[2:5]:
            del served.answers.blocks[block]

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        assert await served.send_all() == [*asked[:2], asked[5]]
    assert 3.0 <= trio.current_time() - began <= 2 * len(asked)
    served.ask(*run(1, 10))
    began = trio.current_time()
    await served.send_all()
    assert trio.current_time() - began == pytest.approx(20, abs=2.1)


async def test_nothing_that_is_ready_waits_for_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else a slow limit would hold back all else we say, keep-alives too."""
    served = Served(RateLimit(BLOCK_SIZE / 2))
    asked = run(0, 12)
    served.ask(*asked)
    for number, block in enumerate(asked):
        assert await served.send() == [block]
        assert trio.current_time() == pytest.approx(2 * number, abs=2.1)
    served.ask(*run(1, 4))
    began = trio.current_time()
    served.say_have()
    await served.answers.queue()
    assert trio.current_time() == began


async def test_small_requests_that_are_cancelled_pay_for_no_large_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A byte is asked for and waited for; then it is cancelled, and a whole block is next."""
    served = Served(RateLimit(BLOCK_SIZE / 2))
    blocks = run(0, 10)

    async def cancel() -> None:
        while served.answers.blocks:
            await trio.sleep(0.01)
            head = next(iter(served.answers.blocks), None)
            if head is not None and head.length == 1:
                del served.answers.blocks[head]

    for block in blocks:
        served.ask(Block(0, block.begin, 1), block)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        got = await served.send_all()
    assert [block for block in got if block.length > 1] == blocks
    assert trio.current_time() - began == pytest.approx(2 * len(blocks), abs=3)


async def test_what_was_cancelled_after_the_wait_pays_for_what_is_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served = Served(RateLimit(BLOCK_SIZE / 2))
    asked = run(0, 12)
    served.ask(*asked)

    async def cancel_every_other_head() -> None:
        await trio.sleep(1.9)
        while served.answers.blocks:
            served.answers.blocks.popitem(last=False)  # it would have had its turn in a moment
            await trio.sleep(4)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_every_other_head)
        got = await served.send_all()
        took = trio.current_time() - began
        nursery.cancel_scope.cancel()
    assert took <= 2 * len(got) + 0.1
