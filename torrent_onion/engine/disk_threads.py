"""The only threads on the BitTorrent side: a bounded pool for the disk and for hashing."""

import os
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")

_THREADS = (os.cpu_count() or 1) + 2
"""Enough to keep every core hashing while some threads wait for the disk."""


class DiskThreads:
    """Runs blocking functions in threads, never more than a few at once."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    @property
    def width(self) -> int:
        """How many run at once."""
        return int(self._limiter.total_tokens)

    async def run(self, function: Callable[[], T]) -> T:
        """Run it in a thread and return what it returns.

        A cancel is delivered only after the function has ended: no write is ever half done.
        """
        return await trio.to_thread.run_sync(function, limiter=self._limiter)
