"""Reach an onion in a second way if the first takes long, and take whichever answers first.

A service that gives up on its way to our rendezvous point tells nobody, and tor waits for its own
two minutes.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from torrent_onion.engine.transport import PeerStream

SECOND_TRY_SECONDS = 15.0
"""Until the second try: Tor mostly reaches an onion in 3 to 15 seconds."""

Reach = Callable[[], Awaitable[PeerStream]]
"""Opens one connection; raises OSError."""


async def first_to_answer(
    first: Reach, second: Callable[[], Reach | None], *, after: float
) -> PeerStream:
    """Open one connection.

    Args:
        first: Tried at once.
        second: Asked after a while for another way, unless the first has failed by then; None if
            there is to be none.
        after: How many seconds that is.

    Returns:
        The connection that came first. The other attempt is ended; if it came too, it is closed.

    Raises:
        OSError: Nobody answered; what the attempt that failed last says.

    Cancelling ends both.
    """
    opened: list[PeerStream] = []
    failures: list[OSError] = []
    has_ended = trio.Event()

    async def attempt(reach: Reach) -> None:
        try:
            opened.append(await reach())
        except OSError as error:
            failures.append(error)
        else:
            nursery.cancel_scope.cancel()
        has_ended.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, first)
            with trio.move_on_after(after):
                await has_ended.wait()
            if not has_ended.is_set() and (other := second()) is not None:
                nursery.start_soon(attempt, other)
        if not opened:
            raise failures[-1]
        return opened.pop(0)
    finally:  # what came second; after a cancel all that came
        for stream in opened:
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
                await stream.aclose()
