"""How many people may download from us at once, found by measuring.

- More slots are tried while somebody waits for one; they stay only if the upload grew by them, as
  it does where each downloader is bound by its own circuit and not by our line.
- A slot that carries next to nothing is closed: a few who advance are better than many who wait.
- The number never leaves its bounds, and changes only between measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PERIOD: Final = 30.0
"""Seconds between two decisions: a new slot needs some of Tor's round trips to show its rate."""
MIN_SLOT_RATE: Final = 4096.0
"""Bytes a second; below it a block takes longer than four seconds."""
GROWTH: Final = 4
"""More slots are tried a quarter at a time, and at most so many times the first number is used."""
MIN_SLOTS: Final = 2
"""One for those who give, one for somebody new."""
PERIODS_CONTENT: Final = 10
"""Periods until more are tried again after it did not pay: rates change, but not by the minute."""


class UploadSlots:
    """The number of slots of one torrent.

    Args:
        slots: The number to begin with; at most four times as many are ever used.
    """

    def __init__(self, slots: int) -> None:
        self.count = slots
        self._least = min(slots, MIN_SLOTS)
        self._most = GROWTH * slots
        self._decide_at: float | None = None
        self._tried: tuple[int, float] | None = None
        self._content = 0

    def measured(self, now: float, rates: Sequence[float], *, contended: bool) -> None:
        """Take the upload rates of the moment; call it about every ten seconds.

        Args:
            now: Seconds.
            rates: Bytes a second to each person who has a slot.
            contended: Every slot is taken and somebody waits for one. Without it the rates say
                nothing about the number of slots.
        """
        if not contended:
            self._decide_at = self._tried = None
        elif self._decide_at is None:
            self._decide_at = now + PERIOD
        elif now >= self._decide_at:
            self._decide_at = now + PERIOD
            self._decide(sum(rates), sum(rate > 0 for rate in rates))

    def _decide(self, rate: float, carrying: int) -> None:
        """Change the number of slots.

        Args:
            rate: Bytes a second in all.
            carrying: Slots that carry any. Those who have one and do not use it lose it when their
                turn ends; fewer slots would only keep the others waiting for that.
        """
        tried, self._tried = self._tried, None
        if rate < MIN_SLOT_RATE * carrying:
            self.count = max(self._least, self.count - 1)
        elif tried is not None and not self._has_paid(tried, rate):
            self.count = tried[0]
            self._content = PERIODS_CONTENT
        elif self._content:
            self._content -= 1
        elif rate > 0 and self.count < self._most:
            self._tried = self.count, rate
            self.count = min(self._most, self.count + max(1, self.count // GROWTH))

    def _has_paid(self, tried: tuple[int, float], rate: float) -> bool:
        """Whether the upload grew by at least half of what as many equal slots more would give."""
        slots, rate_before = tried
        return rate / rate_before > (1 + self.count / slots) / 2
