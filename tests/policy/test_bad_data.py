from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.policy.bad_data import MAX_PIECES, BadData
from torrent_onion.policy.piece_download import PieceDownload


def complete(index: int, *blocks: tuple[int, bytes]) -> PieceDownload:
    """A piece whose blocks came from these peers, each filled with one byte."""
    download = PieceDownload(index, len(blocks) * BLOCK_SIZE)
    for number, (peer, fill) in enumerate(blocks):
        download.add_block(peer, number * BLOCK_SIZE, memoryview(fill * BLOCK_SIZE))
    return download


def test_whoever_sent_a_block_that_differs_is_guilty() -> None:
    bad_data = BadData()
    bad_data.remember(complete(5, (1, b"a"), (2, b"x"), (3, b"c"), (2, b"d")))
    bad_data.remember(complete(5, (4, b"a"), (4, b"b"), (5, b"y"), (1, b"d")))
    assert bad_data.is_suspect(5)
    good = complete(5, (9, b"a"), (9, b"b"), (9, b"c"), (9, b"d"))
    assert bad_data.resolve(good) == {2, 5}
    assert not bad_data.is_suspect(5)
    assert bad_data.resolve(good) == frozenset()


def test_what_is_remembered_is_bounded() -> None:
    bad_data = BadData()
    for index in range(MAX_PIECES + 1):
        bad_data.remember(complete(index, (1, b"a")))
    assert not bad_data.is_suspect(0)
    assert bad_data.is_suspect(1)
    bad_data.forget(1)
    bad_data.forget(1)
    assert not bad_data.is_suspect(1)
