"""What tests do with a Tor that is open: exchange bytes over an onion service, wait for events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from tor_control.controller import Tor
from tor_control.events import TorEvent
from tor_control.onion_service import OnionService
from tor_control.tor_stream import TorStream

PATIENCE = 60.0
"""Seconds for anything here; most take one or two."""

ATTEMPTS = 4

NOTICED = 2.0
"""Seconds within which a loss has to be noticed and all traffic has to have stopped."""


@dataclass
class Events:
    """What was told, and a way to wait for more."""

    seen: list[TorEvent] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    def __call__(self, event: TorEvent) -> None:
        self.seen.append(event)
        self._changed.set()
        self._changed = trio.Event()

    def count(self, kind: type[TorEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.seen)

    async def wait(self, kind: type[TorEvent], count: int = 1) -> None:
        with trio.fail_after(PATIENCE):
            while self.count(kind) < count:
                await self._changed.wait()


async def exchange(tor: Tor, service: OnionService) -> tuple[TorStream, TorStream]:
    """Connect to our own service and see that it is ours.

    A network of eight relays that has only just come up loses a circuit now and then, and tor
    itself tries for two minutes: so does this, but with a new circuit after a few seconds.
    """
    accepted: list[TorStream] = []

    async def accept() -> None:
        accepted.append(await service.listener.accept())

    for attempt in range(ATTEMPTS):
        with trio.move_on_after(PATIENCE / ATTEMPTS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                outgoing = await tor.dial(service.address, service.port, f"token {attempt}")
            await outgoing.send_all(b"there")
            assert await accepted[-1].receive_some(5) == b"there"
            await accepted[-1].send_all(b"and back")
            assert await outgoing.receive_some(8) == b"and back"
            return outgoing, accepted[-1]
    raise AssertionError("the service cannot be reached")


@asynccontextmanager
async def traffic_stops(stream: TorStream) -> AsyncIterator[None]:
    """What is done in the block breaks the stream within the promised time."""

    async def wait_broken() -> None:
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_broken)
            yield
            began_at = trio.current_time()
    assert trio.current_time() - began_at < NOTICED
