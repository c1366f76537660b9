"""Which pieces a web seed should fetch next, and how many at once (BEP 19, "gaps").

A request over HTTP costs a connection through Tor, so it should bring much: a run of pieces that
nobody was asked for. A web seed goes on behind its last run, or begins in the widest gap; where it
begins first is random, so that not everybody fetches the same and has nothing to trade.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from torrent_onion.policy import piece_sets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

    from torrent_onion.core.piece_layout import Block, PieceLayout
    from torrent_onion.policy.piece_sets import PieceSet

RUN_SECONDS: Final = 30.0
"""What a request should last: ten times what it costs to begin one through Tor."""
MIN_RUN: Final = 1 << 20
"""Bytes of a request, unless a piece is longer."""
MAX_RUN: Final = 8 << 20
"""Bytes; what one request holds back from all other peers while it lasts."""

_gaps = re.compile("1+").finditer


def run_length(rate: float, piece_length: int) -> int:
    """Return how many pieces to ask for at once.

    Args:
        rate: What the web seed has been sending, in bytes a second; 0 if that is not known.
        piece_length: Bytes.
    """
    wanted = min(max(rate * RUN_SECONDS, MIN_RUN), MAX_RUN)
    return max(1, int(wanted) // piece_length)


def next_run(
    pieces: PieceSet, *, after: int | None, most: int, in_order: bool, rng: Random
) -> range:
    """Choose a run of pieces; empty if there are none.

    Args:
        pieces: Those that nobody was asked for, and that the web seed has.
        after: The piece behind the last run; None before the first.
        most: The most pieces to choose.
        in_order: Begin with the first piece, not in the widest gap.
        rng: Where to begin at first.

    Cost: the widest gap of 100,000 pieces is found in 10 milliseconds at most.
    """
    if not pieces:
        return range(0)
    if after is not None and piece_sets.contains(pieces, after):
        start = after
    elif in_order:
        start = piece_sets.lowest(pieces)
    else:
        gap = _widest_gap(pieces)
        start = gap.start if after is not None else _somewhere(gap, most, rng)
    length = piece_sets.lowest((pieces >> start) + 1)
    return range(start, start + min(length, most))


def contiguous(layout: PieceLayout, blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Part blocks into runs without gaps, padding left out, in the order of the data."""
    ordered = sorted(blocks)
    if not ordered:
        return
    breaks = [
        number
        for number, (one, other) in enumerate(pairwise(ordered), 1)
        if not _follows(layout, one, other)
    ]
    for start, stop in pairwise([0, *breaks, len(ordered)]):
        yield ordered[start:stop]


def _widest_gap(pieces: PieceSet) -> range:
    text = f"{pieces:b}"[::-1]
    return max((range(*gap.span()) for gap in _gaps(text)), key=len)


def _somewhere(gap: range, most: int, rng: Random) -> int:
    return rng.randrange(gap.start, max(gap.start, gap.stop - most) + 1)


def _follows(layout: PieceLayout, one: Block, other: Block) -> bool:
    end = one.begin + one.length
    if one.piece == other.piece:
        return end == other.begin
    is_last = end == layout.fetched_size(one.piece)
    return is_last and (other.piece, other.begin) == (one.piece + 1, 0)
