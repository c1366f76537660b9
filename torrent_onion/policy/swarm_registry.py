"""Who is in which swarm: the memory of a tracker (pure).

- Two kinds of peers: onions that have proved to be who they say, which are given to others, and
  everybody else, who is only counted. Each kind has room of its own, so that a flood of the
  unproven never displaces an onion.
- Memory is bounded: by ``RegistryLimits``, whatever is announced. An onion takes 50 bytes, 80 with
  what the allocator needs, a counted peer half of that, a torrent 1,000 (see ``packed_peers.py``).
- Who has not announced for ``LIFETIME_MINUTES`` is forgotten, in small steps: :meth:`expire` looks
  at some torrents each time and never takes long.
- A torrent that nobody is in is forgotten as well, with the number of its completions; but not
  one that the tracker was told to serve.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from torrent_onion.core.identity import COMPACT_ONION_LENGTH
from torrent_onion.policy.packed_peers import MINUTES, PackedPeers
from torrent_onion.protocol.tracker_server import TorrentNumbers

if TYPE_CHECKING:
    from random import Random

LIFETIME_MINUTES: Final = 45
"""One and a half times the interval at which clients are told to announce: one may come late."""
ONION_KEY_LENGTH: Final = COMPACT_ONION_LENGTH - 2
"""An onion is told apart by its key alone: with another port it is the same peer."""
COUNTED_KEY_LENGTH: Final = 8
"""Bytes that tell counted peers apart; a million random ones hardly ever collide."""

_EXPIRY_STEP: Final = 5_000
"""Torrents looked at and peers removed by one call, together: 20 ms at most."""
_SECONDS_OF_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """How much is remembered.

    Args:
        peers: Of each kind, in all torrents together.
        peers_of_torrent: Of each kind, in one.
        torrents: Half of them only for those that a proven onion has announced.
    """

    peers: int = 1_000_000
    peers_of_torrent: int = 100_000
    torrents: int = 250_000


@dataclass(frozen=True, slots=True)
class SwarmPeer:
    """A peer as the registry knows it.

    Args:
        record: An onion in its 34 bytes if it is proven, else 8 bytes that tell it from others.
        is_proven: It is the onion that it says.
    """

    record: bytes
    is_proven: bool

    @property
    def key(self) -> bytes:
        """What makes two records the same peer."""
        return self.record[:ONION_KEY_LENGTH] if self.is_proven else self.record


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """The whole registry in numbers."""

    torrents: int
    onions: int
    counted: int


@dataclass(frozen=True, slots=True)
class SwarmSnapshot:
    """What is worth keeping of a torrent: its onions, and its completions.

    Args:
        info_hash: 20 bytes.
        completed: How many were seen to become complete.
        num_fetching: How many of the onions, at the start of ``onions``, still fetch.
        onions: n times 34 bytes.
        ages: n bytes: minutes since each has announced.
    """

    info_hash: bytes
    completed: int
    num_fetching: int
    onions: bytes
    ages: bytes


class _Swarm:
    """One torrent."""

    __slots__ = ("completed", "counted", "onions")

    def __init__(self) -> None:
        self.onions = PackedPeers(ONION_KEY_LENGTH, COMPACT_ONION_LENGTH)
        self.counted = PackedPeers(COUNTED_KEY_LENGTH, COUNTED_KEY_LENGTH)
        self.completed = 0

    @property
    def size(self) -> int:
        """Peers of both kinds."""
        return len(self.onions) + len(self.counted)

    def peers(self, *, proven: bool) -> PackedPeers:
        """The peers of one kind."""
        return self.onions if proven else self.counted


_NOBODY: Final = _Swarm()


class SwarmRegistry:
    """All torrents of a tracker.

    Args:
        allowed: The info-hashes that are served; None serves all.
        limits: How much is remembered.
        keep_changes: :meth:`take_changes` will be called.

    ``now`` is a monotonic time in seconds throughout.
    """

    def __init__(
        self,
        allowed: Collection[bytes] | None = None,
        limits: RegistryLimits | None = None,
        *,
        keep_changes: bool = False,
    ) -> None:
        self._allowed = None if allowed is None else frozenset(allowed)
        self._limits = limits or RegistryLimits()
        self._swarms: dict[bytes, _Swarm] = {}
        self._totals = {True: 0, False: 0}  # by whether they are proven
        self._changed: set[bytes] | None = set() if keep_changes else None
        self._to_visit: list[bytes] = []
        self._round: int | None = None

    def serves(self, info_hash: bytes) -> bool:
        """Whether this torrent may be announced here."""
        return self._allowed is None or info_hash in self._allowed

    def has_torrent(self, info_hash: bytes) -> bool:
        """Whether there is anything to tell about this torrent."""
        return info_hash in self._swarms

    def knows(self, info_hash: bytes, peer: SwarmPeer) -> bool:
        """Whether the peer is in the swarm; an onion with any port."""
        swarm = self._swarms.get(info_hash)
        return swarm is not None and (swarm.peers(proven=peer.is_proven).find(peer.key) is not None)

    def join(
        self,
        info_hash: bytes,
        peer: SwarmPeer,
        now: float,
        *,
        is_seed: bool,
        has_completed: bool = False,
    ) -> bool:
        """Note that a peer is there.

        Args:
            info_hash: 20 bytes, of a torrent that is served.
            peer: Who.
            now: The time.
            is_seed: It has all of it.
            has_completed: It says that this is new; believed only of who was here before.

        Returns:
            Whether it is remembered; if not, there is no room.
        """
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            room = self._limits.torrents if peer.is_proven else self._limits.torrents // 2
            if len(self._swarms) >= room:
                return False
            swarm = self._swarms[info_hash] = _Swarm()
        peers = swarm.peers(proven=peer.is_proven)
        slot = peers.find(peer.key)
        if slot is None:
            is_full = self._totals[peer.is_proven] >= self._limits.peers
            if is_full or len(peers) >= self._limits.peers_of_torrent:
                return False
            self._totals[peer.is_proven] += 1
        elif has_completed and is_seed and not peers.is_seed(slot):
            swarm.completed += 1
        peers.put(peer.record, _minute(now) % MINUTES, is_seed=is_seed)
        self._note_change(info_hash)
        return True

    def leave(self, info_hash: bytes, peer: SwarmPeer) -> None:
        """Forget a peer, if it is there."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return
        peers = swarm.peers(proven=peer.is_proven)
        slot = peers.find(peer.key)
        if slot is not None:
            peers.remove(slot)
            self._totals[peer.is_proven] -= 1
            self._note_change(info_hash)
            self._forget_if_empty(info_hash, swarm)

    def numbers(self, info_hash: bytes) -> TorrentNumbers:
        """How many of both kinds are in the swarm; all 0 for a torrent that nobody knows."""
        swarm = self._swarms.get(info_hash, _NOBODY)
        return TorrentNumbers(
            complete=swarm.onions.num_seeds + swarm.counted.num_seeds,
            incomplete=swarm.onions.num_fetching + swarm.counted.num_fetching,
            downloaded=swarm.completed,
        )

    def sample(
        self, info_hash: bytes, count: int, rng: "Random", *, asked_by: SwarmPeer, is_seed: bool
    ) -> bytes:
        """Pick proven onions at random.

        Args:
            info_hash: Of which torrent.
            count: How many at most.
            rng: Where chance comes from.
            asked_by: Is not among them.
            is_seed: Who asks has all of it and needs no seeds.

        Returns:
            n times 34 bytes.
        """
        swarm = self._swarms.get(info_hash)
        if swarm is None or count <= 0:
            return b""
        own = swarm.onions.find(asked_by.key) if asked_by.is_proven else None
        return swarm.onions.sample(count, rng, without=own, with_seeds=not is_seed)

    def expire(self, now: float) -> None:
        """Forget some of those who have not announced for too long.

        Call it every second or so. Each call does a little; all torrents are looked at in turn,
        at most once a minute. With the most that ``RegistryLimits`` allow by default a round takes
        a minute or two, or some more if nearly everybody is stale.
        """
        minute = _minute(now)
        if not self._to_visit and minute != self._round:
            self._to_visit, self._round = list(self._swarms), minute
        is_stale = _stale_minutes(minute)
        left = _EXPIRY_STEP
        while self._to_visit and left > 0:
            left -= 1 + self._expire_swarm(self._to_visit[-1], is_stale, left)
            if left > 0:
                self._to_visit.pop()

    def statistics(self) -> RegistryStatistics:
        """Return the figures of this moment."""
        return RegistryStatistics(
            torrents=len(self._swarms), onions=self._totals[True], counted=self._totals[False]
        )

    def take_changes(self, limit: int, now: float) -> list[SwarmSnapshot]:
        """Return torrents as they are that have changed since they were last returned.

        Args:
            limit: Stop when this many bytes have come together.
            now: The time.

        A snapshot with neither onions nor completions says that the torrent is forgotten.
        """
        snapshots: list[SwarmSnapshot] = []
        size = 0
        while self._changed and size < limit:
            snapshot = self._snapshot(self._changed.pop(), _minute(now))
            snapshots.append(snapshot)
            size += len(snapshot.info_hash) + len(snapshot.onions)
        return snapshots

    def restore(self, snapshot: SwarmSnapshot, minutes: int, now: float) -> None:
        """Take in what :meth:`take_changes` gave, as far as it is still wanted.

        Args:
            snapshot: Of a torrent that has not been announced yet.
            minutes: How long ago it was taken.
            now: The time.

        Raises:
            ValueError: Its parts do not fit together.
        """
        count, rest = divmod(len(snapshot.onions), COMPACT_ONION_LENGTH)
        if rest or len(snapshot.ages) != count or not 0 <= snapshot.num_fetching <= count:
            raise ValueError("the parts of a snapshot do not fit together")
        # To be written again, or removed: some of it may have gone stale meanwhile.
        self._note_change(snapshot.info_hash)
        if not self.serves(snapshot.info_hash):
            return
        for number, age in enumerate(snapshot.ages):
            start = number * COMPACT_ONION_LENGTH
            record = snapshot.onions[start : start + COMPACT_ONION_LENGTH]
            if age + minutes <= LIFETIME_MINUTES:
                self.join(
                    snapshot.info_hash,
                    SwarmPeer(record, is_proven=True),
                    now - (age + minutes) * _SECONDS_OF_MINUTE,
                    is_seed=number >= snapshot.num_fetching,
                )
        if self._allowed is not None:
            self._swarms.setdefault(snapshot.info_hash, _Swarm())
        if snapshot.info_hash in self._swarms:
            self._swarms[snapshot.info_hash].completed = snapshot.completed

    def _expire_swarm(self, info_hash: bytes, is_stale: bytes, limit: int) -> int:
        """Forget the stale peers of one torrent, up to a limit; return how many."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return 0
        before = swarm.size
        for proven in (True, False):
            removed = swarm.peers(proven=proven).remove_stale(is_stale, limit)
            self._totals[proven] -= removed
            limit -= removed
        if swarm.size != before:
            self._note_change(info_hash)
        self._forget_if_empty(info_hash, swarm)
        return before - swarm.size

    def _forget_if_empty(self, info_hash: bytes, swarm: _Swarm) -> None:
        if self._allowed is None and not swarm.size:
            del self._swarms[info_hash]

    def _note_change(self, info_hash: bytes) -> None:
        if self._changed is not None:
            self._changed.add(info_hash)

    def _snapshot(self, info_hash: bytes, minute: int) -> SwarmSnapshot:
        swarm = self._swarms.get(info_hash, _NOBODY)
        ages = bytes((minute - put) % MINUTES for put in range(MINUTES))
        return SwarmSnapshot(
            info_hash=info_hash,
            completed=swarm.completed,
            num_fetching=swarm.onions.num_fetching,
            onions=swarm.onions.records,
            ages=swarm.onions.minutes.translate(ages),
        )


def _minute(now: float) -> int:
    return int(now // _SECONDS_OF_MINUTE)


def _stale_minutes(minute: int) -> bytes:
    """For each minute modulo 256: 1 if who was heard of then has been silent for too long."""
    return bytes((minute - put) % MINUTES > LIFETIME_MINUTES for put in range(MINUTES))
