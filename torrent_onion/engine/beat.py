"""A beat that a torrent's readers share, so that slow connections are read seldom and much.

Tor hands out a circuit's bytes in small parts, as its cells come. To wake up for each costs more
than all that is done with it. So who is not fast is read on the beat: all that came since the last
one in one go, and all connections in one turn of the event loop.
"""

import trio

BEAT_SECONDS = 0.02
"""Little beside a round trip over Tor; and what a circuit brings meanwhile fits into the kernel's
buffers, so that tor never waits for us."""


class Beat:
    """Nobody counts while nobody waits."""

    def __init__(self) -> None:
        self._next: trio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next beat; it may come early for some when one of them is cancelled."""
        if self._next is not None:
            await self._next.wait()
            return
        self._next = beat = trio.Event()
        try:
            with trio.move_on_after(BEAT_SECONDS):
                await beat.wait()
        finally:
            if self._next is beat:
                self.skip()

    def skip(self) -> None:
        """Let all who wait go on now."""
        if self._next is not None:
            self._next.set()
            self._next = None
