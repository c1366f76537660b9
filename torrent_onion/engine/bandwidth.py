"""Limits on payload bytes a second, for one torrent or for all of a session."""

import trio

BURST_SECONDS = 0.5
"""What was not used may be used later, up to this much: bursts are how Tor delivers."""


class RateLimit:
    """Lets payload pass at a rate.

    Args:
        rate: Bytes a second; None is no limit. It can be changed at any time.
    """

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._paid_until = 0.0

    async def take(self, size: int) -> None:
        """Wait until ``size`` more bytes may pass. Cancelling takes nothing back.

        Who asks first goes first; a large size is let through whole and paid for afterwards.
        """
        if not self.rate:
            return
        now = trio.current_time()
        wait_until = max(self._paid_until, now - BURST_SECONDS)
        self._paid_until = wait_until + size / self.rate
        if wait_until > now:
            await trio.sleep_until(wait_until)


def is_limited(limits: tuple[RateLimit, ...]) -> bool:
    """Whether any of them is a limit at all."""
    return any(limit.rate for limit in limits)


async def take_from_all(limits: tuple[RateLimit, ...], size: int) -> None:
    """Wait until every limit lets ``size`` bytes pass."""
    for limit in limits:
        await limit.take(size)
