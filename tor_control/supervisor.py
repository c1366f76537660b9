"""Notice within two seconds that tor is out of reach, stop all traffic, and bring tor back.

The states, and what leads from one to the next::

    up        -> lost          the control connection ended; no answer for about 1.5 s (tor was
                               stopped); tor's network was switched off
    lost      -> back          the same tor answers again: its onion services are still there
    lost      -> reconnecting  the connection is gone, or a tor of ours stayed silent: ours is
                               started again, another's is waited for
    back      -> up            tor has reached its network: traffic flows again
    reconnecting -> up         likewise, and the onion services are published again as they were

Two rules. Nothing flows while tor is out of reach, and nothing is retried around it. And silence is
counted in looks and not by the clock: a process that was itself stopped for an hour must not take
its own absence for tor's.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from typing import NoReturn, Protocol

import trio

from tor_control.bootstrap import wait_bootstrapped
from tor_control.control_connection import ControlConnection
from tor_control.endpoints import Endpoint
from tor_control.errors import (
    BootstrapStalled,
    CommandFiltered,
    CommandRejected,
    ControlFailed,
    TorError,
    TorLost,
)
from tor_control.events import Lost, Restored, TorEvent, Warning_

ASK_EVERY = 0.5
"""Seconds between an answer and the next question; a question costs a fifth of a millisecond."""

LOOK_EVERY = 0.25
LOOKS = 5
"""So long, and so often, we look for the answer before tor counts as silent."""

SILENCE_GRACE = 5.0
"""Seconds that a silent tor of ours has to answer again before it is started anew."""

MAX_RESTARTS = 5
"""Failures in a row to start our own tor again, until we give up."""

LONGEST_PAUSE = 2.0
"""Seconds between attempts; it doubles from a quarter of a second."""

PUBLISH_PAUSE = 5.0
"""Seconds until an onion service that could not be published again is tried again."""


class Health(Enum):
    """What a question to tor tells about it; the text of a loss is for users."""

    UP = "Tor is there."
    SILENT = "Tor does not answer any more."
    DISABLED = "Tor's network was switched off."
    GONE = "The connection to Tor has ended."


class Source(Protocol):
    """Where connections to tor come from: ``LaunchedTor`` or ``AttachedTor``."""

    @property
    def is_launched(self) -> bool:
        """Whether it is ours, so that it can be started again."""
        ...

    @property
    def control(self) -> Endpoint:
        """Where its control port is, also after a restart."""
        ...

    @property
    def socks(self) -> Endpoint:
        """Where its SOCKS port is, also after a restart."""
        ...

    @property
    def sockets(self) -> Path | None:
        """Where it can reach Unix sockets of ours, if anywhere."""
        ...

    async def connect(self) -> ControlConnection:
        """Start it if it is ours, and log in."""
        ...


class Traffic(Protocol):
    """What carries the traffic: the dialer."""

    def cut_all(self) -> None:
        """Close every stream, and open none until :meth:`resume`."""
        ...

    def resume(self) -> None:
        """Allow streams again."""
        ...


class _Question:
    """One question to tor, asked in the background."""

    def __init__(self, connection: ControlConnection) -> None:
        self._connection = connection
        self.answered = trio.Event()
        self.health = Health.SILENT

    async def ask(self) -> None:
        self.health = await self._ask()
        self.answered.set()

    async def _ask(self) -> Health:
        await trio.lowlevel.checkpoint()
        try:
            lines = await self._connection.command("GETCONF DisableNetwork")
        except (CommandFiltered, CommandRejected):
            return Health.UP  # a filter answers for tor, and that is all we can learn
        except TorLost:
            return Health.GONE
        except ControlFailed:
            return Health.SILENT
        return Health.DISABLED if lines[0].endswith("=1") else Health.UP


class Supervisor:
    """Watches over one tor.

    Args:
        source: Where connections come from.
        connection: The first one, to a tor that is up.
        traffic: Cut and resumed.
        republish: Publishes every onion service that the present connection does not hold;
            raises TorError.
        on_event: Told of losses and returns.
        stall_after: As for ``wait_bootstrapped``.
    """

    def __init__(
        self,
        source: Source,
        connection: ControlConnection,
        *,
        traffic: Traffic,
        republish: Callable[[], Awaitable[None]],
        on_event: Callable[[TorEvent], None],
        stall_after: float,
    ) -> None:
        self.connection = connection
        self.losses = 0
        self._source = source
        self._traffic = traffic
        self._republish = republish
        self._on_event = on_event
        self._stall_after = stall_after
        self._question: _Question | None = None
        self._up = trio.Event()
        self._up.set()

    @property
    def is_up(self) -> bool:
        """Whether traffic may flow."""
        return self._up.is_set()

    async def wait_up(self) -> None:
        """Wait until traffic may flow."""
        await self._up.wait()

    async def run(self, nursery: trio.Nursery) -> NoReturn:
        """Watch until cancelled.

        Args:
            nursery: For questions and publications in the background.

        Raises:
            TorLost: Our own tor could not be started again.
        """
        publishing = trio.CancelScope()
        while True:
            health = await self._until_lost(nursery)
            publishing.cancel()
            self._stop(health)
            await self._recover(nursery, health)
            self._up.set()
            self._traffic.resume()
            publishing = trio.CancelScope()
            nursery.start_soon(self._come_back, publishing)

    def _stop(self, health: Health) -> None:
        self._traffic.cut_all()
        self._up = trio.Event()
        self.losses += 1
        self._on_event(Lost(health.value))

    async def _until_lost(self, nursery: trio.Nursery) -> Health:
        while True:
            if (health := await self._ask(nursery)) is not Health.UP:
                return health
            with trio.move_on_after(ASK_EVERY):
                await self.connection.wait_closed()
                return Health.GONE

    async def _ask(self, nursery: trio.Nursery) -> Health:
        """Ask, or go on waiting for an answer that is still due; SILENT after a while."""
        await trio.lowlevel.checkpoint()
        question = self._question
        if question is None:
            question = self._question = _Question(self.connection)
            nursery.start_soon(question.ask)
        for _ in range(LOOKS):
            with trio.move_on_after(LOOK_EVERY):
                await question.answered.wait()
                self._question = None
                return question.health
        return Health.SILENT

    async def _recover(self, nursery: trio.Nursery, health: Health) -> None:
        """Return when tor is in its network, the same one as before or another."""
        silent_since = trio.current_time()
        while True:
            await trio.lowlevel.checkpoint()
            if health is Health.GONE or self._is_given_up(health, silent_since):
                await self._reconnect()
                health = Health.UP
            if health is Health.UP and await self._is_bootstrapped():
                return
            with trio.move_on_after(ASK_EVERY):
                await self.connection.wait_closed()
            health = await self._ask(nursery)
            if health is not Health.SILENT:
                silent_since = trio.current_time()

    def _is_given_up(self, health: Health, silent_since: float) -> bool:
        """Whether a silent tor has to be replaced; one that is not ours is waited for."""
        silence = trio.current_time() - silent_since
        return health is Health.SILENT and self._source.is_launched and silence >= SILENCE_GRACE

    async def _is_bootstrapped(self) -> bool:
        await trio.lowlevel.checkpoint()
        try:
            await wait_bootstrapped(self.connection, self._on_event, stall_after=self._stall_after)
        except BootstrapStalled as error:
            self._on_event(Warning_(str(error)))
        except (TorLost, ControlFailed):
            pass
        else:
            return True
        return False

    async def _reconnect(self) -> None:
        """Start our own tor again, or wait for another's.

        Raises:
            TorLost: Ours could not be started, again and again.
        """
        await self.connection.aclose()
        self._question = None
        failures = 0
        pause = LOOK_EVERY
        while True:
            try:
                self.connection = await self._source.connect()
            except TorError as error:
                failures += 1
                if self._source.is_launched and failures >= MAX_RESTARTS:
                    raise TorLost(f"Tor is gone and did not start again: {error}") from error
            else:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _come_back(self, scope: trio.CancelScope) -> None:
        """Publish the onion services again, and tell that all is as before."""
        with scope:
            while True:
                try:
                    await self._republish()
                except TorLost:
                    pass  # noticed by run() as well, which then begins again
                except TorError as error:
                    self._on_event(Warning_(str(error)))
                else:
                    self._on_event(Restored())
                    return
                await trio.sleep(PUBLISH_PAUSE)
