"""Who sent bad data, when a piece from several peers fails its hash (BEP 3 hashes only pieces).

- A piece that fails with one sender needs nothing of this: the sender is guilty.
- With several, a short digest of every block is kept, and the piece is fetched again from one peer
  alone ("solo"). If that fails, this peer is guilty. If it passes, every kept block that differs
  from the good piece names another guilty one, and the rest are cleared.
- A digest is 16 bytes; at most ``MAX_PIECES`` pieces are remembered, the oldest are forgotten.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from torrent_onion.core.piece_layout import BLOCK_SIZE

if TYPE_CHECKING:
    from torrent_onion.policy.piece_download import PeerKey, PieceDownload

MAX_PIECES: Final = 64
"""Pieces of 4 MiB take 40 KB each to remember; who spoils more is found by the first ones."""
_DIGEST_SIZE: Final = 16
"""Bytes; a sender must not be able to make a bad block that looks like the good one."""


class _Evidence(NamedTuple):
    number: int
    sender: PeerKey
    digest: bytes


class BadData:
    """What is kept of pieces that failed with several senders."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[_Evidence]] = {}

    def is_suspect(self, index: int) -> bool:
        """Whether a piece must come from one peer alone."""
        return index in self._pieces

    def remember(self, download: PieceDownload) -> None:
        """Keep digests of a complete piece that failed."""
        self._pieces.setdefault(download.index, []).extend(
            _Evidence(number, sender, _digest(download, number))
            for number, sender in download.contributors().items()
        )
        if len(self._pieces) > MAX_PIECES:
            del self._pieces[next(iter(self._pieces))]

    def resolve(self, download: PieceDownload) -> frozenset[PeerKey]:
        """Compare with a complete piece that passed; return who had sent bad blocks of it."""
        evidence = self._pieces.pop(download.index, [])
        return frozenset(
            sender for number, sender, digest in evidence if digest != _digest(download, number)
        )

    def forget(self, index: int) -> None:
        """Drop the evidence about a piece: there is no good copy to compare it with."""
        self._pieces.pop(index, None)


def _digest(download: PieceDownload, number: int) -> bytes:
    begin = number * BLOCK_SIZE
    with memoryview(download.buffer) as view:
        return blake2b(view[begin : begin + BLOCK_SIZE], digest_size=_DIGEST_SIZE).digest()
