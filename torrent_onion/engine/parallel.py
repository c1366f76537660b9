"""Spread numbered work over the disk threads, with progress."""

import mmap
import os
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import trio

from torrent_onion.engine.disk_threads import DiskThreads

T = TypeVar("T")

CHUNK: Final = 1 << 20
"""Bytes read and hashed at a time: enough for the disk, and still in the processor's cache."""

_WORKERS: Final = os.cpu_count() or 1
"""As many as hash at once; the kernel reads ahead meanwhile, so none is needed to wait for it."""


async def for_each_batch(
    threads: DiskThreads,
    count: int,
    batch: int,
    work: Callable[[range, memoryview], T],
    done: Callable[[range, T], None],
) -> None:
    """Call ``work(range, buffer)`` in threads for all of ``range(count)``, ``batch`` at a time.

    The buffer of ``CHUNK`` bytes is the worker's own, used again for each batch.
    ``done`` is called in the event loop, one batch after another, in the order in which they end.
    The first error ends the rest and is raised; cancelling waits for the batches under way.
    """
    starts = iter(range(0, count, batch))

    async def worker() -> None:
        # It begins at a page, where the kernel copies to faster than 16 bytes behind one, which is
        # where large things from the heap lie.
        buffer = memoryview(mmap.mmap(-1, CHUNK))
        for start in starts:
            part = range(start, min(start + batch, count))
            done(part, await threads.run(partial(work, part, buffer)))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(min(_WORKERS, threads.width)):
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
