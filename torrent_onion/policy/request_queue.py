"""How many blocks to have asked one peer for, so that its circuit never runs dry.

Over Tor a block comes 0.3 to 2 seconds after it was asked for. What must be under way is the rate
times that round trip, with slack. Both are measured, as the congestion control BBR does it:

- The rate is the best of the last while: what was delivered between the sending of a request and
  the coming of its block, so that a burst does not count for more than it is.
- The round trip is the least of the last while, for a request also waits behind those before it.
  Every while the queue is let run down to a little less than one round trip's worth, so that the
  least is seen at all; this costs about 2 % of the rate.

The queue is rate times (twice the round trip + ``SLACK``), at least ``MIN_BLOCKS`` and never more
than ``MAX_SECONDS`` of the rate, so that a slow peer holds up no more than a few seconds of blocks.
As this is more than twice what a round trip has brought, the queue doubles every round trip while
the rate grows with it, at the start and whenever a circuit gets faster. A stall changes nothing; a
minute with nothing to ask for makes it begin again.

Requests are sent some at a time, whenever a part of the queue has come: 29 of them fit into one of
Tor's cells, and each send costs us, and the peer, a turn of the event loop.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.policy.picker_peer import BlockKey

DEFAULT_LIMIT: Final = 2000
"""Blocks (31 MiB) outstanding at one peer at most: 10 MB/s over a round trip of 3 s."""
MIN_BLOCKS: Final = 4
"""Blocks: the slowest peer has the next one at hand while one is on its way."""
FIRST_BLOCKS: Final = 32
"""Blocks asked for before anything is known: 0.5 MB/s over a round trip of 1 s."""
TRIPS: Final = 2
"""Round trips' worth of blocks to be under way: rate and round trip change all the time."""
SLACK: Final = 0.5
"""Seconds' worth beyond that: we, or the peer, may be busy for a moment."""
MAX_SECONDS: Final = 8.0
"""Seconds' worth at most, whatever the round trip seems to be."""
BATCH_SHARE: Final = 16
"""Part (1/n) of the queue that is asked for at once: it never falls below what ``TRIPS`` allows."""
MAX_BATCH: Final = 29
"""Requests (17 bytes each) that fit into one cell of Tor (498 bytes)."""
SNUB_SECONDS: Final = 60.0
"""No block for so long: the peer will send nothing of what it was asked for."""

_MEASURE_SECONDS: Final = 10.0
_MEASURE_TRIPS: Final = 12
"""The "last while" is one to two times the longer of these."""
_LONGEST_TRIP: Final = 4.0
"""Seconds: what seems longer, over Tor, is a queue."""
_DRAIN_SHARE: Final = 0.8
"""Round trips' worth to which the queue is let run down."""
_SKIPPED_QUEUES: Final = 4
"""A request over which so many times the queue has passed is forgotten by the peer."""
_LEAST_INTERVAL: Final = 0.001
"""Seconds: keeps rates finite between two processes of one machine."""


_Stamp = tuple[float, int, float]


class RequestQueue:
    """The requests outstanding at one peer, and how many there should be.

    Blocks are counted as 16 KiB each.

    Args:
        limit: The most blocks; what the peer says it takes (BEP 10 ``reqq``), if it does.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = DEFAULT_LIMIT
        self.set_limit(limit)
        # For each request: when it was sent, how many blocks had come by then, and when the last.
        self._sent: dict[BlockKey, _Stamp] = {}
        # The newest block's stamp and when it came, until they are measured: of the blocks with one
        # stamp that come at one moment the last one says most.
        self._unmeasured: tuple[_Stamp, float] | None = None
        self._delivered = 0
        self._delivered_at = 0.0
        self._is_snubbed = False
        # This while's best and the one's before; together they look back one to two whiles.
        self._while_began = -inf
        self._rate = self._rate_before = 0.0
        self._trip = self._trip_before = inf
        self._is_draining = False

    def set_limit(self, limit: int) -> None:
        """Note how many requests the peer takes; one that is nonsense (0) still gets one."""
        self._limit = max(1, min(limit, DEFAULT_LIMIT))

    @property
    def outstanding(self) -> int:
        """Number of blocks asked for that have not come."""
        return len(self._sent)

    @property
    def rate(self) -> float:
        """The peer's rate in bytes a second: the best of the last 10 to 20 s or more."""
        self._measure()
        return max(self._rate, self._rate_before) * BLOCK_SIZE

    @property
    def round_trip(self) -> float:
        """Seconds from a request to its block when nothing waits before it; 0 if not known yet."""
        self._measure()
        trip = min(self._trip, self._trip_before)
        return 0.0 if trip == inf else trip

    def room(self, now: float) -> int:
        """Return how many more blocks to ask for now; 0 as well while it is few beside the rest."""
        self._measure()
        if not self._sent and now - self._delivered_at > SNUB_SECONDS:
            self._forget()
        target, outstanding = self._target(), len(self._sent)
        if self._is_draining and outstanding < target:
            self._is_draining = False  # the first request that is sent now sees the round trip
            target = self._target()
        room = target - outstanding
        return room if room > 0 and room >= min(target // BATCH_SHARE, MAX_BATCH) else 0

    def request_sent(self, block: Block, now: float) -> None:
        """Note a request."""
        self.requests_sent((block,), now)

    def requests_sent(self, blocks: Iterable[Block], now: float) -> None:
        """Note requests that are sent together."""
        self._measure()
        if not self._sent:
            self._delivered_at = now  # it was idle: the time before says nothing about its rate
        stamp = (now, self._delivered, self._delivered_at)
        for block in blocks:
            self._sent[block] = stamp

    def block_arrived(self, block: BlockKey, now: float) -> None:
        """Note a block, asked for or not (it may be late)."""
        stamp = self._sent.pop(block, None)
        if self._unmeasured is not None and self._unmeasured != (stamp, now):
            self._measure()
        self._delivered += 1
        self._is_snubbed = False
        if stamp is not None:
            self._unmeasured = stamp, now
        self._delivered_at = now

    def request_gone(self, block: Block) -> None:
        """Note a request that will not be answered: cancelled, rejected, choked, given up."""
        self._sent.pop(block, None)

    def overdue(self, now: float) -> list[Block]:
        """Return the requests to give up, in the order in which they were sent.

        All, if nothing has come for ``SNUB_SECONDS`` although it was asked for; there is room for
        one block then until one comes. Else those as old as that which the peer has passed over:
        several queues' worth of later requests were answered.
        """
        if self._sent and now - self._delivered_at >= SNUB_SECONDS:
            self._is_snubbed = True
            return [Block(*block) for block in self._sent]
        skipped = _SKIPPED_QUEUES * max(self._target(), len(self._sent))
        overdue = []
        for block, (sent_at, delivered, _) in self._sent.items():
            if now - sent_at < SNUB_SECONDS or self._delivered - delivered < skipped:
                break
            overdue.append(Block(*block))
        return overdue

    def _target(self) -> int:
        if self._is_snubbed:
            return 1
        rate = max(self._rate, self._rate_before)
        if not rate:
            return min(FIRST_BLOCKS, self._limit)
        if self._is_draining:
            seconds = _DRAIN_SHARE * min(self.round_trip, _LONGEST_TRIP)
        else:
            seconds = min(TRIPS * self.round_trip + SLACK, MAX_SECONDS)
        return min(max(int(rate * seconds), MIN_BLOCKS), self._limit)

    def _measure(self) -> None:
        """Learn from the newest block, unless that is done."""
        if self._unmeasured is None:
            return
        ((sent_at, delivered, delivered_at), now), self._unmeasured = self._unmeasured, None
        trip = now - sent_at
        rate = (self._delivered - delivered) / max(now - delivered_at, _LEAST_INTERVAL)
        trips = _MEASURE_TRIPS * min(self.round_trip, _LONGEST_TRIP)
        if now - self._while_began >= max(_MEASURE_SECONDS, trips):
            self._begin_while(now)
        self._trip = min(self._trip, trip)
        self._rate = max(self._rate, rate)

    def _forget(self) -> None:
        """Begin as with a new peer."""
        self._while_began = -inf
        self._rate = self._rate_before = 0.0
        self._trip = self._trip_before = inf
        self._is_draining = False

    def _begin_while(self, now: float) -> None:
        self._rate_before, self._rate = self._rate, 0.0
        self._trip_before, self._trip = self._trip, inf
        self._while_began = now
        self._is_draining = True
