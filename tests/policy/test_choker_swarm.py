"""Fifty simulated peers, each with a choker of ours, on a clock of their own.

Only the choker matters here: bytes flow at once to whoever is unchoked, an uploader's line is
shared among those it serves, and a piece goes over when enough bytes have gone for it.
"""

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from statistics import fmean, median

import pytest

from torrent_onion.policy.choker import Candidate, Choker

SLOTS = 8
PIECE = 256 * 1024
WINDOW = 10


@dataclass
class SimulatedPeer:
    """One peer; ``capacity`` is bytes a second of upload, 0 for a free-rider."""

    key: int
    capacity: int
    pieces: set[int]
    choker: Choker
    joined: float = 0.0
    unchoked: frozenset[int] = frozenset()
    finished: float | None = None
    earned: float = 0.0
    """Bytes from peers who were not seeds."""


class Swarm:
    def __init__(self, capacities: list[int], *, num_pieces: int, seeds: int, seed: int) -> None:
        self.rng = Random(seed)
        self.num_pieces = num_pieces
        self.now = 0.0
        self.peers = [
            SimulatedPeer(
                key,
                capacity,
                set(range(num_pieces)) if key < seeds else set(),
                Choker(SLOTS, Random(self.rng.random())),
                finished=0.0 if key < seeds else None,
            )
            for key, capacity in enumerate(capacities)
        ]
        self.credit: defaultdict[tuple[int, int], float] = defaultdict(float)
        self.sent_recently: defaultdict[tuple[int, int], float] = defaultdict(float)

    @property
    def leechers(self) -> list[SimulatedPeer]:
        return [peer for peer in self.peers if peer.finished is None]

    def run(self, seconds: int) -> None:
        """Run until everybody has finished, or for so long."""
        for _ in range(seconds):
            if not self.leechers:
                return
            if self.now % WINDOW == 0:
                self._rechoke()
            for peer in self.rng.sample(self.peers, len(self.peers)):
                self._upload(peer)
            self.now += 1

    def _wants(self, peer: SimulatedPeer, other: SimulatedPeer) -> bool:
        return not other.pieces <= peer.pieces

    def _rechoke(self) -> None:
        for me in self.peers:
            me.unchoked = me.choker.rechoke(
                self.now,
                [self._as_candidate(me, peer) for peer in self.peers if peer is not me],
                seeding=me.finished is not None,
            )
        self.sent_recently.clear()

    def _as_candidate(self, me: SimulatedPeer, peer: SimulatedPeer) -> Candidate:
        return Candidate(
            peer=peer.key,
            interested=peer.finished is None and self._wants(peer, me),
            is_seed=peer.finished is not None,
            download_rate=self.sent_recently[peer.key, me.key] / WINDOW,
            upload_rate=self.sent_recently[me.key, peer.key] / WINDOW,
            connected_since=peer.joined,
            unchoked=peer.key in me.unchoked,
        )

    def _upload(self, me: SimulatedPeer) -> None:
        served = [
            self.peers[key]
            for key in sorted(me.unchoked)
            if self.peers[key].finished is None and self._wants(self.peers[key], me)
        ]
        for peer in served:
            share = me.capacity / len(served)
            self.sent_recently[me.key, peer.key] += share
            if me.finished is None:
                peer.earned += share
            self.credit[me.key, peer.key] += share
            while self.credit[me.key, peer.key] >= PIECE and self._wants(peer, me):
                self.credit[me.key, peer.key] -= PIECE
                self._give(me, peer)

    def _give(self, me: SimulatedPeer, peer: SimulatedPeer) -> None:
        wanted = sorted(me.pieces - peer.pieces)
        peer.pieces.add(min(self.rng.sample(wanted, min(8, len(wanted))), key=self._availability))
        if len(peer.pieces) == self.num_pieces:
            peer.finished = self.now

    def _availability(self, index: int) -> int:
        return sum(index in peer.pieces for peer in self.peers)


FREE_RIDERS = 15


@pytest.fixture(scope="module", params=range(2))
def swarm(request: pytest.FixtureRequest) -> Swarm:
    """A seed, 34 who share and 15 who do not, after the last one has finished."""
    rng = Random(request.param)
    sharing = [rng.choice([100_000, 200_000, 400_000]) for _ in range(49 - FREE_RIDERS)]
    swarm = Swarm(
        [500_000, *sharing, *[0] * FREE_RIDERS], num_pieces=200, seeds=1, seed=request.param
    )
    swarm.run(1200)
    return swarm


def _groups(swarm: Swarm) -> tuple[list[SimulatedPeer], list[SimulatedPeer]]:
    return swarm.peers[1:-FREE_RIDERS], swarm.peers[-FREE_RIDERS:]


def _end(peer: SimulatedPeer) -> float:
    assert peer.finished is not None
    return peer.finished


def test_everyone_finishes(swarm: Swarm) -> None:
    assert not swarm.leechers


def test_free_riders_get_no_more_than_the_optimistic_share(swarm: Swarm) -> None:
    sharing, free_riders = _groups(swarm)
    from_leechers = sum(peer.earned for peer in (*sharing, *free_riders))
    assert sum(peer.earned for peer in free_riders) < from_leechers / SLOTS
    # Each has its part of that share only; the lot makes some luckier than others.
    usual = fmean(peer.earned for peer in sharing)
    assert max(peer.earned for peer in free_riders) < usual / 2


def test_who_shares_is_done_before_who_does_not(swarm: Swarm) -> None:
    sharing, free_riders = _groups(swarm)
    assert 1.2 * median(map(_end, sharing)) < min(map(_end, free_riders))


def test_who_shares_more_is_done_earlier(swarm: Swarm) -> None:
    sharing, _ = _groups(swarm)
    slow, fast = (
        fmean(_end(peer) for peer in sharing if peer.capacity == capacity)
        for capacity in (100_000, 400_000)
    )
    assert fast < slow
