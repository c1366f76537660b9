"""Get the info dictionary of a magnet link from peers (BEP 9), some of whom lie.

Synchronous: decides which piece to ask of whom and puts the answers together. Nothing that a peer
says is believed before the whole has the right hash, and no peer can hold up the others:

- Every size that is claimed has an assembly of its own, and all grow side by side. Memory is
  bounded by their sizes together; a larger one makes room for a smaller one, which is sooner done.
- Peers that claim the same size share an assembly. What one of them does not send soon is asked of
  another one as well.
- An assembly with the wrong hash that several peers gave to names nobody, but from there on each
  peer that claims this size fills one alone, and the next that is wrong names its liar.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field

from torrent_onion.core.identity import InfoHashes
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import MAX_METADATA_SIZE, METADATA_BLOCK_SIZE

MAX_OUTSTANDING = 64
"""Pieces asked of one peer at once: 1 MiB covers a slow Tor round trip."""

MAX_TOGETHER = MAX_METADATA_SIZE + (16 << 20)
"""Bytes of all assemblies when they are whole: the largest there may be, and many common ones."""

COPY_SECONDS = 5.0
"""A piece that was asked for so long ago is asked of one more peer: a few round trips of Tor."""

SILENT_SECONDS = 30.0
"""A peer that sends nothing of what it was asked for so long is asked no more."""

ANSWER_SECONDS = 120.0
"""A peer that leaves any request open so long is asked no more, for it sends less than 9 KB/s:
without this it could send one piece now and then, and for ever."""


@dataclass
class _Assembly:
    """One attempt at the whole dictionary.

    Attributes:
        size: Bytes, as its peers claim.
        only: The one peer that fills it; None: all that claim this size.
        missing: Pieces that nobody owes.
        owed: Pieces that somebody owes, and when one was last asked; the oldest first.
        asked: What each peer owes, and since when.
        heard: When each peer that owes something last sent any of it, or was first asked.
    """

    size: int
    only: PeerKey | None
    missing: deque[int] = field(init=False)
    owed: dict[int, float] = field(default_factory=dict)
    asked: dict[PeerKey, dict[int, float]] = field(default_factory=dict)
    heard: dict[PeerKey, float] = field(default_factory=dict)
    pieces: dict[int, bytes] = field(default_factory=dict)
    senders: set[PeerKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.missing = deque(range(self.count))

    @property
    def count(self) -> int:
        return -(-self.size // METADATA_BLOCK_SIZE)

    @property
    def is_whole(self) -> bool:
        return len(self.pieces) == self.count

    def piece_size(self, piece: int) -> int:
        return min(METADATA_BLOCK_SIZE, self.size - piece * METADATA_BLOCK_SIZE)

    def ask(self, peer: PeerKey, now: float) -> list[int]:
        """Choose what the peer is to send; it owes it from now on."""
        asked = self.asked.setdefault(peer, {})
        room = MAX_OUTSTANDING - len(asked)
        chosen = [self.missing.popleft() for _ in range(min(room, len(self.missing)))]
        if not self.missing:
            chosen += self._overdue(asked, room - len(chosen), now)
        if chosen and not asked:
            self.heard[peer] = now
        for piece in chosen:
            asked[piece] = now
            self.owed.pop(piece, None)
            self.owed[piece] = now
        return chosen

    def _overdue(self, asked: dict[int, float], room: int, now: float) -> list[int]:
        """What others owe for too long."""
        overdue: list[int] = []
        for piece, since in self.owed.items():
            if now - since < COPY_SECONDS or len(overdue) >= room:
                break
            if piece not in asked:
                overdue.append(piece)
        return overdue

    def take(self, peer: PeerKey, piece: int, data: bytes, now: float) -> None:
        """Keep a piece that the peer owes, unless another peer was faster."""
        del self.asked[peer][piece]
        self.heard[peer] = now
        if piece not in self.pieces:
            self.pieces[piece] = data
            self.senders.add(peer)
            self.owed.pop(piece, None)

    def drop(self, peer: PeerKey) -> None:
        """The peer sends nothing more."""
        self.heard.pop(peer, None)
        for piece in self.asked.pop(peer, ()):
            if piece in self.owed and not any(piece in others for others in self.asked.values()):
                del self.owed[piece]
                self.missing.append(piece)

    def is_stalled(self, peer: PeerKey, now: float) -> bool:
        asked = self.asked.get(peer)
        if not asked:
            return False
        oldest = next(iter(asked.values()))
        return now - self.heard[peer] > SILENT_SECONDS or now - oldest > ANSWER_SECONDS


@dataclass(frozen=True, slots=True)
class MetadataResult:
    """What a piece of metadata led to.

    Attributes:
        raw: The info dictionary, its hash verified; None while it is incomplete or was wrong.
        liars: Peers that are proven to have sent wrong data.
        is_answer: The peer owed this piece; else nothing has changed.
    """

    raw: bytes | None = None
    liars: frozenset[PeerKey] = frozenset()
    is_answer: bool = True


_KEPT = MetadataResult()
UNASKED = MetadataResult(is_answer=False)
"""Of a piece that the peer was not asked for."""


class MetadataFetch:
    """State of one fetch. Peers are named by the engine's keys; ``now`` is in seconds."""

    def __init__(self, info_hashes: InfoHashes) -> None:
        self._info_hashes = info_hashes
        self._sizes: dict[PeerKey, int] = {}
        self._assemblies: dict[tuple[int, PeerKey | None], _Assembly] = {}
        self._spoiled: set[int] = set()

    @property
    def promised(self) -> int:
        """Bytes that all assemblies have when they are whole: the bound of the memory in use."""
        return sum(assembly.size for assembly in self._assemblies.values())

    def peer_offers(self, peer: PeerKey, size: int) -> None:
        """The peer says in its extension handshake that it has ``size`` bytes of metadata."""
        if self._sizes.get(peer) != size:
            self.remove_peer(peer)
            if 0 < size <= MAX_METADATA_SIZE:
                self._sizes[peer] = size

    def remove_peer(self, peer: PeerKey) -> bool:
        """The peer is gone, or wants no more of this; what it was asked for is asked of others.

        Returns:
            Whether it had offered anything; else nothing has changed.
        """
        if self._sizes.pop(peer, None) is None:
            return False
        claimed = set(self._sizes.values())
        for key, assembly in list(self._assemblies.items()):
            assembly.drop(peer)
            if assembly.only == peer or assembly.size not in claimed:
                del self._assemblies[key]
        return True

    def requests_for(self, peer: PeerKey, now: float) -> list[int]:
        """Pieces to ask this peer for now; they count as asked."""
        size = self._sizes.get(peer)
        if size is None:
            return []
        assembly = self._assembly_of(peer, size) or self._begin(peer, size)
        return assembly.ask(peer, now) if assembly else []

    def data_received(self, peer: PeerKey, piece: int, data: bytes, now: float) -> MetadataResult:
        """A piece came. What nobody asked this peer for is ignored; a wrong length is a lie."""
        assembly = self._assembly_of(peer, self._sizes.get(peer, 0))
        if assembly is None or piece not in assembly.asked.get(peer, ()):
            return UNASKED
        if len(data) != assembly.piece_size(piece):
            self.remove_peer(peer)
            return MetadataResult(liars=frozenset({peer}))
        assembly.take(peer, piece, data, now)
        return self._judge(assembly) if assembly.is_whole else _KEPT

    def drop_stalled(self, now: float) -> None:
        """Ask no more of peers that keep others waiting."""
        for peer, size in list(self._sizes.items()):
            assembly = self._assembly_of(peer, size)
            if assembly is not None and assembly.is_stalled(peer, now):
                self.remove_peer(peer)

    def _assembly_of(self, peer: PeerKey, size: int) -> _Assembly | None:
        return self._assemblies.get(self._key(peer, size))

    def _key(self, peer: PeerKey, size: int) -> tuple[int, PeerKey | None]:
        return size, peer if size in self._spoiled else None

    def _begin(self, peer: PeerKey, size: int) -> _Assembly | None:
        """Begin an assembly, if there is room or a larger one can make some."""
        excess = self.promised + size - MAX_TOGETHER
        in_the_way = []
        for key, assembly in sorted(self._assemblies.items(), key=_size_of, reverse=True):
            if excess <= 0 or assembly.size <= size:
                break
            in_the_way.append(key)
            excess -= assembly.size
        if excess > 0:
            return None
        for key in in_the_way:
            del self._assemblies[key]
        key = self._key(peer, size)
        assembly = self._assemblies[key] = _Assembly(*key)
        return assembly

    def _judge(self, whole: _Assembly) -> MetadataResult:
        raw = b"".join(whole.pieces[piece] for piece in range(whole.count))
        if hashes_match(raw, self._info_hashes):
            return MetadataResult(raw=raw)
        del self._assemblies[whole.size, whole.only]
        if len(whole.senders) > 1:
            self._spoiled.add(whole.size)
            return _KEPT
        for peer in whole.senders:
            self.remove_peer(peer)
        return MetadataResult(liars=frozenset(whole.senders))


def _size_of(item: tuple[tuple[int, PeerKey | None], _Assembly]) -> int:
    return item[1].size


def hashes_match(raw: bytes, expected: InfoHashes) -> bool:
    """Whether an info dictionary has every hash that is known of it (BEP 3, BEP 52)."""
    v1 = hashlib.sha1(raw, usedforsecurity=False).digest()
    v2 = hashlib.sha256(raw).digest()
    return expected.v1 in (None, v1) and expected.v2 in (None, v2)
