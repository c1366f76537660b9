"""Get the info dictionary of a magnet link from peers (BEP 9).

Synchronous: decides which piece to ask of whom and puts the answers together. The first tries take
pieces from everybody. When the whole then has the wrong hash somebody lied, and from there on each
try takes all pieces from one peer, so that a second lie names the liar.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field

from torrent_onion.core.identity import InfoHashes
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import MAX_METADATA_SIZE, METADATA_BLOCK_SIZE

MAX_OUTSTANDING = 64
"""Pieces asked of one peer at once: 1 MiB covers a slow Tor round trip."""


@dataclass
class _Try:
    """One attempt at the whole dictionary, with peers that agree on its size."""

    size: int
    only: PeerKey | None
    missing: deque[int] = field(init=False)
    asked: dict[PeerKey, set[int]] = field(default_factory=dict)
    pieces: dict[int, bytes] = field(default_factory=dict)
    senders: set[PeerKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.missing = deque(range(self.count))

    @property
    def count(self) -> int:
        return -(-self.size // METADATA_BLOCK_SIZE)

    def piece_size(self, piece: int) -> int:
        return min(METADATA_BLOCK_SIZE, self.size - piece * METADATA_BLOCK_SIZE)


@dataclass(frozen=True, slots=True)
class MetadataResult:
    """What a piece of metadata led to.

    Attributes:
        raw: The info dictionary, its hash verified; None while it is incomplete or was wrong.
        liars: Peers that are proven to have sent wrong data.
    """

    raw: bytes | None = None
    liars: frozenset[PeerKey] = frozenset()


class MetadataFetch:
    """State of one fetch. Peers are named by the engine's keys."""

    def __init__(self, info_hashes: InfoHashes) -> None:
        self._info_hashes = info_hashes
        self._sizes: dict[PeerKey, int] = {}
        self._try: _Try | None = None
        self._one_at_a_time = False

    def peer_offers(self, peer: PeerKey, size: int) -> None:
        """The peer says in its extension handshake that it has ``size`` bytes of metadata."""
        if 0 < size <= MAX_METADATA_SIZE:
            self._sizes[peer] = size

    def remove_peer(self, peer: PeerKey) -> None:
        """The peer is gone, or wants no more of this; what it was asked for is asked of others."""
        self._sizes.pop(peer, None)
        if self._try is None:
            return
        self._try.missing.extend(self._try.asked.pop(peer, ()))
        nobody_left = peer == self._try.only or self._try.size not in self._sizes.values()
        if nobody_left:
            self._try = None

    def requests_for(self, peer: PeerKey) -> list[int]:
        """Pieces to ask this peer for now; they count as asked."""
        size = self._sizes.get(peer)
        if size is None:
            return []
        if self._try is None:
            self._try = _Try(size, peer if self._one_at_a_time else None)
        current = self._try
        if current.size != size or current.only not in (None, peer):
            return []
        asked = current.asked.setdefault(peer, set())
        room = min(MAX_OUTSTANDING - len(asked), len(current.missing))
        pieces = [current.missing.popleft() for _ in range(room)]
        asked.update(pieces)
        return pieces

    def is_asked(self, peer: PeerKey, piece: int) -> bool:
        """Whether a peer owes us a piece."""
        return self._try is not None and piece in self._try.asked.get(peer, ())

    def data_received(self, peer: PeerKey, piece: int, data: bytes) -> MetadataResult:
        """A piece came. What nobody asked this peer for, or of a wrong length, is ignored."""
        current = self._try
        if current is None or piece not in current.asked.get(peer, ()):
            return MetadataResult()
        current.asked[peer].discard(piece)
        if len(data) != current.piece_size(piece):
            current.missing.append(piece)
            return MetadataResult(liars=frozenset({peer}))
        current.pieces[piece] = data
        current.senders.add(peer)
        if len(current.pieces) < current.count:
            return MetadataResult()
        return self._judge(current)

    def _judge(self, complete: _Try) -> MetadataResult:
        raw = b"".join(complete.pieces[piece] for piece in range(complete.count))
        if hashes_match(raw, self._info_hashes):
            return MetadataResult(raw=raw)
        self._try = None
        self._one_at_a_time = True
        liars = complete.senders if len(complete.senders) == 1 else set()
        for peer in liars:
            self._sizes.pop(peer, None)
        return MetadataResult(liars=frozenset(liars))


def hashes_match(raw: bytes, expected: InfoHashes) -> bool:
    """Whether an info dictionary has every hash that is known of it (BEP 3, BEP 52)."""
    v1 = hashlib.sha1(raw, usedforsecurity=False).digest()
    v2 = hashlib.sha256(raw).digest()
    return expected.v1 in (None, v1) and expected.v2 in (None, v2)
