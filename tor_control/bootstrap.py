"""Wait until tor is in its network, say how far it is, and give up when it gets no further.

Two rules. What counts is progress and not time: a slow network may take long, a blocked one may not
hang us. And the phase is asked for every second as well as listened to, because a filter in front
of tor may hold events back.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Self

import trio

from tor_control.control_connection import ControlConnection, ControlEvent
from tor_control.control_text import Arguments, parse_arguments
from tor_control.errors import BootstrapStalled, CommandFiltered, CommandRejected
from tor_control.events import Bootstrap, TorEvent, Warning_

POLL = 1.0
"""Seconds between two questions for the phase."""

DONE = 100
"""Percent."""

READY = 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"'
"""What a tor says that has finished."""

MINUTE = 60


class BootstrapWatch:
    """What tor has said about its bootstrap so far. Pure."""

    def __init__(self) -> None:
        self.percent = -1
        self._summary = ""
        self._warnings: list[str] = []

    def take(self, name: str, text: str) -> TorEvent | None:
        """Take in one event, or a phase as ``STATUS_CLIENT``.

        Args:
            name: ``STATUS_CLIENT`` or ``STATUS_GENERAL``.
            text: The rest of the line.

        Returns:
            What the user should be told, if it is news.
        """
        arguments = parse_arguments(text)
        match name, arguments.word(0), arguments.word(1):
            case "STATUS_CLIENT", severity, "BOOTSTRAP":
                return self._progress(arguments) or self._problem(severity, arguments)
            case "STATUS_GENERAL", _, "CLOCK_SKEW":
                return self._warn(_clock_skew(arguments.fields.get("SKEW", "")))
            case "STATUS_GENERAL", _, "DANGEROUS_VERSION":
                if arguments.fields.get("REASON") != "NEW":
                    return self._warn("This version of Tor is no longer recommended; update it.")
        return None

    def stalled(self, seconds: float) -> BootstrapStalled:
        """Say where it got stuck, and what to do."""
        last = f" Tor's last words: {self._warnings[-1]}" if self._warnings else ""
        return BootstrapStalled(
            f"Tor has made no progress for {seconds:.0f} seconds "
            f"({max(self.percent, 0)}%: {self._summary or 'no answer'}); check the computer's "
            "clock and its connection, and where Tor is blocked add bridges with --torrc FILE."
            + last
        )

    def _progress(self, arguments: Arguments) -> Bootstrap | None:
        percent = arguments.fields.get("PROGRESS", "")
        if not percent.isdecimal() or int(percent) <= self.percent:
            return None
        self.percent = int(percent)
        self._summary = arguments.fields.get("SUMMARY", "")
        return Bootstrap(self.percent, self._summary)

    def _problem(self, severity: str, arguments: Arguments) -> Warning_ | None:
        # Tor itself says which problems are worth a word: single relays fail all the time.
        if severity != "WARN" or arguments.fields.get("RECOMMENDATION") != "warn":
            return None
        problem = arguments.fields.get("WARNING", "")
        why = f" ({problem})" if problem not in {"", "DONE"} else ""  # tor's word for none
        return self._warn(
            f"Tor has trouble with its connection{why}. It goes on trying; where Tor is blocked "
            "add bridges with --torrc FILE."
        )

    def _warn(self, text: str) -> Warning_ | None:
        if text in self._warnings:
            return None
        self._warnings.append(text)
        return Warning_(text)


async def wait_bootstrapped(
    connection: ControlConnection, on_event: Callable[[TorEvent], None], *, stall_after: float
) -> None:
    """Wait until tor can make connections.

    Args:
        connection: To the tor in question.
        on_event: Told of progress and problems.
        stall_after: Seconds without progress until it is given up.

    Raises:
        BootstrapStalled: There was none for so long.
        TorLost: The connection ended.
    """
    watch = BootstrapWatch()

    def tell(name: str, text: str) -> None:
        if (event := watch.take(name, text)) is not None:
            on_event(event)

    async with AsyncExitStack() as stack:
        events = await _events(connection, stack)
        deadline = trio.current_time() + stall_after
        while trio.current_time() < deadline:
            before = watch.percent
            tell("STATUS_CLIENT", await _phase(connection))
            if watch.percent >= DONE:
                return
            with trio.move_on_after(min(POLL, stall_after)):
                event = await anext(events)
                tell(event.name, event.text)
            if watch.percent > before:
                deadline = trio.current_time() + stall_after
    raise watch.stalled(stall_after)


async def _events(
    connection: ControlConnection, stack: AsyncExitStack
) -> AsyncIterator[ControlEvent]:
    await trio.lowlevel.checkpoint()
    try:
        return await stack.enter_async_context(
            connection.subscribe("STATUS_CLIENT", "STATUS_GENERAL")
        )
    except (CommandFiltered, CommandRejected):
        return _NoEvents()


class _NoEvents:
    """Stands in for the events that a filter holds back."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ControlEvent:
        await trio.sleep_forever()


async def _phase(connection: ControlConnection) -> str:
    """Ask for the phase; where a filter forbids even that, believe that tor is ready."""
    await trio.lowlevel.checkpoint()
    try:
        return await connection.get_info("status/bootstrap-phase")
    except (CommandFiltered, CommandRejected):
        return READY


def _clock_skew(seconds: str) -> str:
    """Say by how much the clock is wrong; tor counts it as ours less theirs."""
    try:
        skew = int(seconds)
    except ValueError:
        return "This computer's clock is wrong; set it, or Tor cannot work."
    direction = "ahead of" if skew > 0 else "behind"
    minutes = max(abs(skew) // MINUTE, 1)
    plural = "s" if minutes > 1 else ""
    return (
        f"This computer's clock is {minutes} minute{plural} {direction} the right time; "
        "set it, or Tor cannot work."
    )
