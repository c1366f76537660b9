from collections.abc import Callable

import pytest

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.policy.piece_download import BlockState, PieceDownload

Content = Callable[[Block], memoryview]


@pytest.fixture
def download() -> PieceDownload:
    return PieceDownload(3, 3 * BLOCK_SIZE + 10)


def receive(download: PieceDownload, peer: int, block: Block, content: Content) -> tuple[int, ...]:
    return download.add_block(peer, block.begin, content(block))


def test_blocks_are_taken_in_order_and_the_last_is_short(download: PieceDownload) -> None:
    assert download.take((1,), 3) == [Block(3, n * BLOCK_SIZE, BLOCK_SIZE) for n in range(3)]
    assert download.take((2,), 9) == [Block(3, 3 * BLOCK_SIZE, 10)]
    assert download.take((2,), 9) == []
    assert download.missing == 0
    assert download.num_requested == 4


def test_no_memory_is_used_before_a_block_comes(download: PieceDownload, content: Content) -> None:
    (block,) = download.take((1,), 1)
    assert not download.buffer
    receive(download, 1, block, content)
    assert len(download.buffer) == download.size


def test_a_whole_piece_is_put_together(download: PieceDownload, content: Content) -> None:
    blocks = download.take((1,), 2) + download.take((2,), 2)
    for block in reversed(blocks):
        assert not download.is_complete
        receive(download, 1 if block in blocks[:2] else 2, block, content)
    assert download.is_complete
    assert download.buffer == b"".join(content(block) for block in blocks)
    assert download.contributors() == {0: 1, 1: 1, 2: 2, 3: 2}


def test_padding_is_zeros_and_is_not_asked_for(content: Content) -> None:
    def used(size: int) -> bytearray:
        return bytearray(b"\xff" * size)

    size, fetched = 4 * BLOCK_SIZE, BLOCK_SIZE + 10
    download = PieceDownload(3, size, used, fetched_size=fetched)
    blocks = download.take((1,), 9)
    assert blocks == [Block(3, 0, BLOCK_SIZE), Block(3, BLOCK_SIZE, 10)]
    for block in blocks:
        receive(download, 1, block, content)
    assert download.is_complete
    assert download.buffer == b"".join(map(content, blocks)) + bytes(size - fetched)


def test_a_returned_block_is_taken_first(download: PieceDownload) -> None:
    download.take((1,), 2)
    download.drop_asker(0, 1)
    assert download.state(0) is BlockState.MISSING
    assert [block.begin for block in download.take((2,), 2)] == [0, 2 * BLOCK_SIZE]


def test_others_that_were_asked_are_named_when_the_block_comes(
    download: PieceDownload, content: Content
) -> None:
    (block,) = download.take((1,), 1)
    assert download.ask_also(0, 2, 3)
    assert not download.ask_also(0, 2, 3)
    assert download.ask_also(0, 3, 3)
    assert not download.ask_also(0, 4, 3)
    assert receive(download, 2, block, content) == (1, 3)
    assert download.askers(0) == (2,)
    assert download.state(0) is BlockState.RECEIVED


def test_a_block_with_another_asker_is_not_missing(download: PieceDownload) -> None:
    download.take((1,), 1)
    download.ask_also(0, 2, 3)
    download.drop_asker(0, 1)
    assert download.is_requested(0)
    assert list(download.requests()) == [(2, download.block(0))]


def test_a_block_that_comes_unasked_is_not_taken_any_more(
    download: PieceDownload, content: Content
) -> None:
    assert receive(download, 1, download.block(0), content) == ()
    assert [block.begin for block in download.take((2,), 1)] == [BLOCK_SIZE]
    assert download.missing == 2


def test_bad_blocks_are_missing_again_and_the_others_stay(
    download: PieceDownload, content: Content
) -> None:
    for block in download.take((1,), 2) + download.take((2,), 2):
        receive(download, 1 if block.begin < 2 * BLOCK_SIZE else 2, block, content)
    assert download.reject([2]) == {2}
    assert download.missing == 1
    (block,) = download.take((3,), 9)
    assert block == download.block(2)
    receive(download, 3, block, content)
    assert download.is_complete
    assert download.contributors()[2] == 3


def test_a_closed_download_gives_nothing_out(download: PieceDownload, content: Content) -> None:
    (block,) = download.take((1,), 1)
    receive(download, 1, block, content)
    download.take((1,), 1)
    download.close()
    assert download.take((1,), 9) == []
    assert not download.is_requested(1)
    assert len(download.buffer) == 0
