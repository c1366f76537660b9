"""Which hashes to ask of whom, until every piece layer of a v2 torrent is known (BEP 52).

A layer is asked for in runs of up to 512 hashes, each with the proof that it belongs to its file:
a wrong answer is known at once, with its sender.
"""

from collections import deque
from enum import Enum

from torrent_onion.core.merkle import HASH_LENGTH, proof_root
from torrent_onion.core.piece_layers import PieceLayers
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.hash_messages import MAX_HASHES, Hashes, HashRequest

MAX_OUTSTANDING = 32
"""Requests to one peer at once: 32 runs of 16 KiB cover a slow Tor round trip."""

MIN_RUN = 2
"""Hashes: BEP 52 has no shorter run, for one hash needs a neighbour to be proven."""


class HashAnswer(Enum):
    """What hashes are that came."""

    GOOD = "proven to belong to their file"
    WRONG = "a lie"
    UNASKED = "no answer: nothing has changed"


class HashFetch:
    """The piece layers that are missing, and who was asked for what.

    Args:
        layers: Where they go when they are whole.
    """

    def __init__(self, layers: PieceLayers) -> None:
        self._layers = layers
        self._runs: dict[bytes, dict[int, bytes]] = {}  # root -> first hash -> the run
        self._waiting: deque[HashRequest] = deque()
        self._asked: dict[PeerKey, set[HashRequest]] = {}
        self._refused: dict[PeerKey, set[HashRequest]] = {}
        for root in layers.missing():
            self._waiting.extend(self._requests(root))

    @property
    def is_done(self) -> bool:
        """Whether every layer is known."""
        return self._layers.is_complete

    def add_peer(self, peer: PeerKey) -> None:
        """A peer may be asked."""
        self._asked.setdefault(peer, set())
        self._refused.setdefault(peer, set())

    def remove_peer(self, peer: PeerKey) -> None:
        """A peer is gone, or sends nothing: others are asked for what it was asked for."""
        self._waiting.extendleft(self._asked.pop(peer, ()))
        self._refused.pop(peer, None)

    def requests_for(self, peer: PeerKey) -> list[HashRequest]:
        """Return what to ask of this peer now; it counts as asked."""
        asked = self._asked.get(peer)
        if asked is None:
            return []
        requests: list[HashRequest] = []
        for _ in range(len(self._waiting)):
            if len(asked) >= MAX_OUTSTANDING:
                break
            request = self._waiting.popleft()
            if request in self._refused[peer]:
                self._waiting.append(request)
                continue
            asked.add(request)
            requests.append(request)
        return requests

    def rejected(self, peer: PeerKey, request: HashRequest) -> bool:
        """The peer will not answer a request. Returns whether it owed an answer."""
        if request not in self._asked.get(peer, ()):
            return False
        self._asked[peer].discard(request)
        self._refused[peer].add(request)
        self._waiting.append(request)
        return True

    def received(self, peer: PeerKey, hashes: Hashes) -> HashAnswer:
        """Hashes came."""
        request = HashRequest(
            hashes.pieces_root,
            hashes.base_layer,
            hashes.index,
            hashes.length,
            hashes.proof_layers,
        )
        if request not in self._asked.get(peer, ()):
            return HashAnswer.UNASKED
        self._asked[peer].discard(request)
        if not _is_proven(hashes):
            self._refused[peer].add(request)
            self._waiting.append(request)
            return HashAnswer.WRONG
        self._keep(hashes)
        return HashAnswer.GOOD

    def _keep(self, hashes: Hashes) -> None:
        root = hashes.pieces_root
        runs = self._runs.setdefault(root, {})
        runs[hashes.index] = b"".join(hashes.hashes[: hashes.length])
        count = self._layers.num_pieces(root)
        if len(runs) * hashes.length >= count:
            layer = b"".join(runs[first] for first in sorted(runs))
            self._layers.add(root, layer[: count * HASH_LENGTH])
            del self._runs[root]

    def _requests(self, root: bytes) -> list[HashRequest]:
        count = self._layers.num_pieces(root)
        base = self._layers.base_layer
        height = self._layers.height(root)
        length = max(MIN_RUN, min(MAX_HASHES, 1 << (height - base)))
        return [
            HashRequest(root, base, first, length, height - base - 1)
            for first in range(0, count, length)
        ]


def _is_proven(hashes: Hashes) -> bool:
    try:
        root = proof_root(
            hashes.hashes,
            base_layer=hashes.base_layer,
            index=hashes.index,
            length=hashes.length,
            proof_layers=hashes.proof_layers,
        )
    except ValueError:
        return False
    return root == hashes.pieces_root
