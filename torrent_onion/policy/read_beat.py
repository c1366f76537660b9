"""Common moments at which the connections to one onion are read.

Our circuits to one peer all bring blocks all the time. Each read wakes the event loop and finds the
processor's caches emptied by whoever ran meanwhile, on a busy machine by tor itself; read together,
they wake it once. Each onion has a beat of its own, with a phase drawn by lot: neither two peers
nor two torrents could tell by it that they have one of us before them.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Final

BEAT_SECONDS: Final = 0.1
"""From one read to the next at most: a part of what the request queue has in reserve."""


@dataclass(frozen=True, slots=True)
class ReadBeat:
    """The beat of all connections to one onion.

    Args:
        phase: Its place between two beats, 0 to 1.
    """

    phase: float

    def pause(self, now: float, gather: float) -> float:
        """Return how many seconds to wait for the next read, never more than ``gather``.

        Args:
            now: Seconds on any clock that only goes forward.
            gather: How long the connection would wait if it were alone; more than 0. A fast one
                is read twice in a beat, or four times and so on, and always with the slower ones.
        """
        parts = 1 << max(0, ceil(log2(BEAT_SECONDS / gather)))
        place = (now / BEAT_SECONDS - self.phase) * parts
        return BEAT_SECONDS / parts * (1 - place % 1)
