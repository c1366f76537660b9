"""Spread numbered work over the disk threads, with progress."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from torrent_onion.engine.disk_threads import DiskThreads

T = TypeVar("T")


async def for_each_batch(
    threads: DiskThreads,
    count: int,
    batch: int,
    work: Callable[[range], T],
    done: Callable[[range, T], None],
) -> None:
    """Call ``work(range)`` in threads for all of ``range(count)``, ``batch`` numbers at a time.

    ``done`` is called in the event loop, one batch after another, in the order in which they end.
    The first error ends the rest and is raised; cancelling waits for the batches under way.
    """
    starts = iter(range(0, count, batch))

    async def worker() -> None:
        for start in starts:
            part = range(start, min(start + batch, count))
            done(part, await threads.run(partial(work, part)))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(threads.width):
                nursery.start_soon(worker)
    except BaseExceptionGroup as group:
        raise first_error(group) from None


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: the one exception that matters out of a nursery's group.

    A cancellation matters least, for it is most often the consequence of something else.
    """
    leaves = list(_leaves(group))
    real = [error for error in leaves if not isinstance(error, trio.Cancelled)]
    urgent = [error for error in real if not isinstance(error, Exception)]  # KeyboardInterrupt
    return (urgent or real or leaves)[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
