"""How many bytes a second, over the last ten seconds.

- Bytes are counted in slots of one second, so a meter costs the same whatever passes through it.
- A meter that is younger than its window divides by its age: a new peer is not called slow.
"""

from typing import Final

WINDOW: Final = 10
"""Seconds looked back: short enough to follow a circuit that changes, longer than most stalls."""


class RateMeter:
    """A sliding window over what was counted; the clock is the caller's and never goes back."""

    __slots__ = ("_second", "_since", "_slots", "_sum")

    def __init__(self) -> None:
        self._slots = [0] * WINDOW
        self._sum = 0
        self._second = 0
        self._since: float | None = None

    def add(self, now: float, amount: int) -> None:
        """Count bytes."""
        if self._since is None:
            self._since = now
            self._second = int(now)
        elif int(now) != self._second:
            self._advance(int(now))
        self._slots[self._second % WINDOW] += amount
        self._sum += amount

    def rate(self, now: float) -> float:
        """Return bytes a second."""
        if self._since is None:
            return 0.0
        if int(now) != self._second:
            self._advance(int(now))
        # The slot of this second is young: the window ends with it.
        window = WINDOW - 1 + (now - self._second)
        return self._sum / max(1.0, min(now - self._since, window))

    def _advance(self, second: int) -> None:
        for passed in range(self._second + 1, min(second, self._second + WINDOW) + 1):
            self._sum -= self._slots[passed % WINDOW]
            self._slots[passed % WINDOW] = 0
        self._second = second
