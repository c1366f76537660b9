"""A nursery that does not dress up its errors.

trio wraps what goes wrong in a nursery into an exception group. Where the nursery is a detail of a
context manager, the caller's own exception has to come out as it went in.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_plain_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery; a single exception leaves it bare, several leave it as a group."""
    bare: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        bare = group.exceptions[0]
    if bare is not None:
        raise bare
