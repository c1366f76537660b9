"""One authenticated control connection to tor: stem's blocking calls behind trio.

Three rules. Every command has a deadline, because stem's own ``msg()`` waits for ever on a tor that
has been stopped. What stem's threads have to say crosses over by ``run_sync_soon`` and is taken in
on the trio thread only. And when the connection has ended it stays ended: whoever wants tor back
opens another.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Self, TypeVar

import trio

from tor_control.control_port import HsDescEvent
from tor_control.control_text import parse_hs_desc, parse_version
from tor_control.endpoints import Endpoint
from tor_control.errors import CommandFiltered, CommandRejected, ControlFailed, TorLost
from tor_control.secret import Secret

if TYPE_CHECKING:
    from tor_control.stem_controller import StemController

COMMAND_TIMEOUT = 15.0
"""Seconds for one reply. Tor answers in milliseconds; on a busy machine in a second or two."""

LOG_IN_TIMEOUT = 10.0
"""Seconds for connecting and authenticating together."""

CLOSE_TIMEOUT = 1.0
"""Seconds for stem's threads to end; they are daemons and may be left behind."""

MAX_THREADS = 8
"""At once, for one connection; an abandoned command keeps its thread until tor answers."""

OK_CODES = range(200, 300)
UNRECOGNISED = 510
"""Tor does not know the command, or a filter in front of tor forbids it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we could show to a control port that asks.

    Args:
        password: For ``HASHEDPASSWORD``.
        cookie_file: Where the cookie is, if not where tor says.
    """

    password: Secret | None = None
    cookie_file: str | None = None


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """One asynchronous event.

    Args:
        name: ``HS_DESC``, ``STATUS_CLIENT``...
        text: The rest of its first line.
    """

    name: str
    text: str


@dataclass(slots=True)
class _Subscribers:
    """Who wants which events, and what tor was told about it."""

    channels: dict[str, list[trio.MemorySendChannel[ControlEvent]]] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    lock: trio.Lock = field(default_factory=trio.Lock)


class ControlConnection(trio.abc.AsyncResource):
    """A connection made by :func:`open_control`; satisfies ``control_port.ControlPort``."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._controller: StemController | None = None
        self._subscribers = _Subscribers()
        self._closed = trio.Event()
        self.tor_version: tuple[int, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, from whichever side."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, from whichever side."""
        await self._closed.wait()

    async def command(self, line: str) -> list[str]:
        """Send one command and wait for the whole of its reply; see ``ControlPort.command``.

        Raises:
            CommandRejected: Tor answered with 4xx or 5xx.
            CommandFiltered: It was ``510 Command filtered``, or something in front of tor said so.
            TorLost: The connection is gone, or ended before the reply was whole.
            ControlFailed: No answer came in time, or one that makes no sense.
        """
        controller = self._ready_for(line)
        code, lines = await self._in_thread(controller.ask, line, seconds=COMMAND_TIMEOUT)
        if code in OK_CODES:
            return lines
        if code == UNRECOGNISED and "filter" in lines[-1].lower():
            raise CommandFiltered
        raise CommandRejected(code, lines[-1])

    async def command_all(self, lines: Sequence[str]) -> list[int]:
        """Send many commands at once, which takes tor less time than one after the other.

        Returns:
            The status code of each reply; what tor refuses is no error here.

        Raises:
            TorLost: The connection is gone, or ended before all replies were there.
            ControlFailed: No answer came in time, or one that makes no sense.
        """
        controller = self._ready_for(*lines)
        return await self._in_thread(controller.ask_all, lines, seconds=COMMAND_TIMEOUT)

    async def get_info(self, key: str) -> str:
        """Ask for one value (``GETINFO``).

        Returns:
            The value, without its key.

        Raises:
            ControlFailed: As for :meth:`command`.
            TorLost: Likewise.
        """
        lines = await self.command(f"GETINFO {key}")
        return lines[0].removeprefix(f"{key}=").removeprefix("\n")

    @asynccontextmanager
    async def subscribe(self, *names: str) -> AsyncIterator["EventStream"]:
        """Open a subscription to events; tor sends them once the block is entered.

        The iterator raises TorLost when the connection is gone.

        Raises:
            ControlFailed: As for :meth:`command`.
        """
        send, receive = trio.open_memory_channel[ControlEvent](inf)
        for name in names:
            self._subscribers.channels.setdefault(name, []).append(send)
        try:
            await self._tell_subscriptions()
            yield EventStream(receive)
        finally:
            # Tor is told at the next subscription: leaving must not wait for anything.
            for name in names:
                self._subscribers.channels[name].remove(send)
            send.close()

    @asynccontextmanager
    async def subscribe_hs_desc(self) -> AsyncIterator[AsyncIterator[HsDescEvent]]:
        """Subscribe to what happens to onion descriptors; see ``ControlPort``."""
        async with self.subscribe("HS_DESC") as events:
            yield _HsDescStream(events)

    async def aclose(self) -> None:
        """End the connection; what waits on it is told. Always finishes, also when cancelled."""
        self._mark_closed()
        if (controller := self._controller) is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await trio.to_thread.run_sync(
                controller.close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )

    async def log_in(self, endpoint: Endpoint, credentials: Credentials) -> None:
        """Connect and authenticate; for :func:`open_control`.

        Raises:
            ControlFailed: Nothing answers there, or nothing that is a control port.
            AuthenticationFailed: It does not let us in.
        """
        controller = await self._in_thread(self._connect, endpoint, seconds=LOG_IN_TIMEOUT)
        self._controller = controller
        await self._in_thread(
            controller.log_in,
            credentials.password,
            credentials.cookie_file,
            seconds=LOG_IN_TIMEOUT,
        )
        controller.watch_end(lambda: self._soon(self._mark_closed))
        self.tor_version = parse_version(await self.get_info("version"))

    def _connect(self, endpoint: Endpoint) -> "StemController":
        from tor_control.stem_controller import (  # noqa: PLC0415 - stem is slow to import
            StemController,
            connect,
        )

        return StemController(
            connect(endpoint), lambda lines: self._soon(lambda: self._deliver(lines))
        )

    def _ready_for(self, *lines: str) -> "StemController":
        if not all(map(str.isprintable, lines)):
            raise ValueError("a command is one line of printable characters")
        if self._controller is None or self.is_closed:
            raise TorLost
        return self._controller

    async def _in_thread(
        self, function: Callable[..., _T], *arguments: object, seconds: float
    ) -> _T:
        with trio.move_on_after(seconds):
            return await trio.to_thread.run_sync(
                function, *arguments, abandon_on_cancel=True, limiter=self._limiter
            )
        raise ControlFailed

    def _soon(self, function: Callable[[], None]) -> None:
        """Called in stem's threads, which may outlive the event loop."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    async def _tell_subscriptions(self) -> None:
        async with self._subscribers.lock:
            wanted = frozenset(name for name, to in self._subscribers.channels.items() if to)
            if wanted != self._subscribers.told:
                await self.command(" ".join(["SETEVENTS", *sorted(wanted)]))
                self._subscribers.told = wanted

    def _deliver(self, lines: list[str]) -> None:
        if self.is_closed:
            return  # stem's threads do not end at the same moment
        name, _, text = lines[0].partition(" ")
        for channel in self._subscribers.channels.get(name, ()):
            channel.send_nowait(ControlEvent(name, text))

    def _mark_closed(self) -> None:
        self._closed.set()
        for channels in self._subscribers.channels.values():
            for channel in channels:
                channel.close()


class EventStream:
    """The events of one subscription; raises TorLost when the connection has ended."""

    def __init__(self, channel: trio.MemoryReceiveChannel[ControlEvent]) -> None:
        self._channel = channel

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ControlEvent:
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            raise TorLost from None


class _HsDescStream:
    def __init__(self, events: EventStream) -> None:
        self._events = events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HsDescEvent:
        return parse_hs_desc((await anext(self._events)).text)


async def open_control(endpoint: Endpoint, credentials: Credentials) -> ControlConnection:
    """Open a control connection and authenticate; the caller closes it (``async with``).

    Raises:
        ControlUnreachable: Nothing answers there.
        ControlFailed: What answers there is no control port.
        AuthenticationFailed: It does not let us in.
    """
    connection = ControlConnection()
    try:
        await connection.log_in(endpoint, credentials)
    except BaseException:
        await connection.aclose()
        raise
    return connection
