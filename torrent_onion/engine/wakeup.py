"""A bell that one task waits for and anybody may ring."""

import trio


class Wakeup:
    """Rings are not counted: ringing twice before the task looks wakes it once.

    A ring while nobody waits is kept for the next ``wait``.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake the waiting task, now or when it next waits."""
        self._event.set()

    async def wait(self) -> None:
        """Wait for a ring. Only one task may wait. Cancelling loses no ring."""
        await self._event.wait()
        self._event = trio.Event()
