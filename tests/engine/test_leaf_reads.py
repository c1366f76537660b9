"""Reads for those who ask for leaves: each has a budget, and so have all of them together."""

from typing import Any

from torrent_onion.engine.leaf_reads import (
    BURST,
    BURST_TOGETHER,
    RATE,
    RATE_TOGETHER,
    LeafReads,
)

PIECE = 4 << 20


class Disk:
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.read = 0

    async def leaf_hashes(self, index: int) -> bytes:
        self.read += PIECE
        return bytes([index % 256])


async def read_many(reads: LeafReads, peer: int, disk: Any, *, now: float, first: int = 0) -> int:
    """Ask for pieces until one is refused. Returns how many were read."""
    count = 0
    while await reads.read(peer, first + count, PIECE, storage=disk, now=now) is not None:
        count += 1
    return count


async def test_one_peer_has_a_budget_that_comes_back() -> None:
    reads, disk = LeafReads(), Disk()
    assert await read_many(reads, 1, disk, now=0.0) == BURST // PIECE
    assert await read_many(reads, 1, disk, now=PIECE / RATE, first=100) == 1
    assert await read_many(reads, 2, disk, now=PIECE / RATE, first=200) == BURST // PIECE


async def test_who_connects_again_and_again_gets_no_more_than_all_together() -> None:
    reads, disk = LeafReads(), Disk()
    for connection in range(200):
        await read_many(reads, connection, disk, now=0.0, first=100 * connection)
        reads.remove_peer(connection)
    assert disk.read == BURST_TOGETHER
    seconds = 10
    for connection in range(200, 400):
        await read_many(reads, connection, disk, now=seconds, first=100 * connection)
        reads.remove_peer(connection)
    assert BURST_TOGETHER < disk.read <= BURST_TOGETHER + seconds * RATE_TOGETHER


async def test_what_the_others_have_used_up_costs_a_peer_nothing() -> None:
    reads, disk = LeafReads(), Disk()
    for other in range(BURST_TOGETHER // BURST):
        await read_many(reads, other, disk, now=0.0, first=100 * other)
    for again in range(100):
        assert await reads.read(99, 9000 + again, PIECE, storage=disk, now=0.0) is None  # type: ignore[arg-type] # enough of a storage
    later = BURST_TOGETHER / RATE_TOGETHER
    assert await read_many(reads, 99, disk, now=later, first=9000) == BURST // PIECE


async def test_a_piece_beyond_the_budget_is_read_and_paid_for_after() -> None:
    reads, disk = LeafReads(), Disk()
    size = 2 * BURST_TOGETHER
    assert await reads.read(1, 0, size, storage=disk, now=0.0) is not None  # type: ignore[arg-type] # likewise
    assert await reads.read(1, 1, size, storage=disk, now=1.0) is None  # type: ignore[arg-type] # likewise
    assert await reads.read(2, 2, PIECE, storage=disk, now=1.0) is None  # type: ignore[arg-type] # likewise
