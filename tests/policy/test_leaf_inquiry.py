"""Which blocks of a bad piece are bad, by leaves that others tell."""

import random
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from torrent_onion.core.merkle import HashTree, hashes_and_proof, tree_height
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.engine.creation import create_torrent
from torrent_onion.policy.leaf_inquiry import ANSWER_SECONDS, MAX_ASKED, LeafInquiry
from torrent_onion.policy.piece_download import PieceDownload
from torrent_onion.protocol.hash_messages import Hashes, HashRequest

PIECE = 4 * BLOCK_SIZE
SENDER = 9


@dataclass
class Case:
    """One file of a hybrid torrent, and who asks about its pieces."""

    content: bytes
    inquiry: LeafInquiry

    def download(self, piece: int, *, bad: tuple[int, ...] = ()) -> PieceDownload:
        """A complete piece with damaged blocks."""
        data = bytearray(self.content[piece * PIECE : (piece + 1) * PIECE])
        for number in bad:
            data[number * BLOCK_SIZE] ^= 1
        made = PieceDownload(piece, len(data))
        for begin in range(0, len(data), BLOCK_SIZE):
            made.add_block(SENDER, begin, memoryview(data)[begin : begin + BLOCK_SIZE])
        return made

    def answer(self, request: HashRequest) -> Hashes:
        """What an honest peer answers."""
        leaves = b"".join(
            sha256(self.content[at : at + BLOCK_SIZE]).digest()
            for at in range(0, len(self.content), BLOCK_SIZE)
        )
        hashes = hashes_and_proof(
            HashTree(leaves).node,
            height=tree_height(len(self.content)),
            base_layer=request.base_layer,
            index=request.index,
            length=request.length,
            proof_layers=request.proof_layers,
        )
        return Hashes(
            request.pieces_root,
            request.base_layer,
            request.index,
            request.length,
            request.proof_layers,
            hashes,
        )


async def make(tmp_path: Path, length: int) -> Case:
    content = random.Random(length).randbytes(length)
    (tmp_path / "file").write_bytes(content)
    made = await create_torrent(
        tmp_path / "file", piece_length=PIECE, torrent_format=TorrentFormat.HYBRID
    )
    metainfo = made.metainfo
    layers = PieceLayers(metainfo.info, metainfo.piece_layers)
    return Case(content, LeafInquiry(metainfo.info.layout, layers))


@pytest.mark.parametrize(
    ("length", "piece", "bad"),
    [
        (5 * PIECE, 0, (0,)),
        (5 * PIECE, 3, (1, 2)),
        (5 * PIECE, 4, (0, 1, 2, 3)),
        (4 * PIECE + 1, 4, (0,)),
        (2 * PIECE + BLOCK_SIZE + 7, 2, (1,)),
        (PIECE, 0, (3,)),
        (2 * BLOCK_SIZE + 1, 0, (2,)),
    ],
)
async def test_the_bad_blocks_are_found(
    tmp_path: Path, length: int, piece: int, bad: tuple[int, ...]
) -> None:
    case = await make(tmp_path, length)
    download = case.download(piece, bad=bad)
    begun = case.inquiry.begin(download, [1, 2], 0.0)
    assert begun is not None
    request, asked = begun
    assert asked == [1, 2]
    answer = case.answer(request)
    damaged = replace(answer, hashes=(bytes(32), *answer.hashes[1:]))
    assert case.inquiry.received(damaged) is None
    assert case.inquiry.received(answer) == (download, frozenset(bad))
    assert case.inquiry.received(answer) is None


async def test_a_file_of_one_block_needs_no_leaves(tmp_path: Path) -> None:
    case = await make(tmp_path, BLOCK_SIZE)
    assert case.inquiry.begin(case.download(0, bad=(0,)), [1], 0.0) is None


async def test_nobody_who_knows(tmp_path: Path) -> None:
    case = await make(tmp_path, PIECE)
    assert case.inquiry.begin(case.download(0), [], 0.0) is None


async def test_not_everybody_is_asked(tmp_path: Path) -> None:
    case = await make(tmp_path, PIECE)
    begun = case.inquiry.begin(case.download(0), range(100), 0.0)
    assert begun is not None
    assert begun[1] == list(range(MAX_ASKED))


async def test_a_piece_is_given_back_when_all_have_refused_or_left(tmp_path: Path) -> None:
    case = await make(tmp_path, 2 * PIECE)
    first, second = case.download(0, bad=(1,)), case.download(1, bad=(1,))
    begun = case.inquiry.begin(first, [1, 2], 0.0)
    assert begun is not None
    case.inquiry.begin(second, [2, 3], 0.0)
    assert case.inquiry.refused(1, begun[0]) is None
    assert case.inquiry.peer_gone(2) == [first]
    assert case.inquiry.peer_gone(3) == [second]
    assert case.inquiry.expired(2 * ANSWER_SECONDS) == []


async def test_nobody_is_waited_for_for_long(tmp_path: Path) -> None:
    case = await make(tmp_path, PIECE)
    download = case.download(0, bad=(1,))
    case.inquiry.begin(download, [1], 0.0)
    assert case.inquiry.expired(ANSWER_SECONDS - 1) == []
    assert case.inquiry.expired(ANSWER_SECONDS + 1) == [download]
