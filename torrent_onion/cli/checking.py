"""``check``: can this machine do it? One step after the other, each with its way out.

There is no second way of looking for tor here: the check opens Tor as every other command does,
publishes an onion service and connects to it, and says how far that went.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import click
import trio

from tor_control.controller import Tor, open_tor
from tor_control.errors import TorError, TorNotFound, TorTooOld
from tor_control.events import Connected, TorEvent
from torrent_onion.cli import text
from torrent_onion.cli.exit_codes import ExitCode, leaves
from torrent_onion.cli.options import TorOptions
from torrent_onion.cli.tor_session import show_tor_event, tor_config
from torrent_onion.cli.ui import Ui

_STEP_WIDTH = 20
_ISOLATION = "check"
"""A circuit of its own; nothing else in this process dials."""


class Step(Enum):
    """What is needed, in the order in which it is needed."""

    FOUND = "Tor found"
    VERSION = "Version"
    CONTROL = "Control port"
    BOOTSTRAP = "Tor network"
    PUBLISHED = "Onion service"
    REACHED = "Reached through Tor"


_STEP_OF_ERROR = {TorNotFound: Step.FOUND, TorTooOld: Step.VERSION}
"""Errors that say more about where it failed than how far it had come."""


@dataclass
class Checklist:
    """Which steps are done, reported as they are.

    Args:
        ui: Where to.
    """

    ui: Ui
    passed: list[Step] = field(default_factory=list)
    _since: float = field(default_factory=trio.current_time)

    def ok(self, step: Step, detail: str) -> None:
        """The step is done."""
        self.passed.append(step)
        self._since = trio.current_time()
        self._tell(step, "ok", detail)

    def took(self) -> str:
        """How long it has been since the last step, for people."""
        return f"{trio.current_time() - self._since:.1f} s"

    def failed(self, error: TorError) -> None:
        """The first step that is not done, or the one that the error names, has failed."""
        named = _STEP_OF_ERROR.get(type(error))
        step = named or next(step for step in Step if step not in self.passed)
        for earlier in Step:
            if earlier is step:
                break
            if earlier not in self.passed:
                self._tell(earlier, "ok", "")
        self._tell(step, "failed", str(error))

    def _tell(self, step: Step, outcome: str, detail: str) -> None:
        words = f"{step.value:<{_STEP_WIDTH}}{outcome:<8}{text.printable(detail)}".rstrip()
        fields = {"step": step.name.lower(), "ok": outcome == "ok", "detail": detail}
        self.ui.result("check", fields, words)


async def check(options: TorOptions, ui: Ui) -> None:
    """Go through all steps.

    Raises:
        click.exceptions.Exit: A step failed and has been shown.
    """
    checklist = Checklist(ui)
    with _shown_in(checklist):
        async with open_tor(tor_config(options), _Watcher(checklist)) as tor:
            checklist.ok(Step.BOOTSTRAP, f"connected in {checklist.took()}")
            await _check_onion(tor, checklist)


class _Watcher:
    """Passes Tor's events on, and ticks off what they prove."""

    def __init__(self, checklist: Checklist) -> None:
        self._checklist = checklist

    def __call__(self, event: TorEvent) -> None:
        checklist = self._checklist
        if isinstance(event, Connected) and not checklist.passed:
            origin = "a program to start" if event.is_launched else "one that runs"
            checklist.ok(Step.FOUND, origin)
            checklist.ok(Step.VERSION, event.version)
            checklist.ok(Step.CONTROL, event.place)
        elif not isinstance(event, Connected):
            show_tor_event(checklist.ui, event)


async def _check_onion(tor: Tor, checklist: Checklist) -> None:
    async with tor.publish() as onion:
        checklist.ok(Step.PUBLISHED, f"published in {checklist.took()}")
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                stream = await onion.listener.accept()
                await stream.aclose()

            nursery.start_soon(accept)
            stream = await tor.dial(onion.address, onion.port, _ISOLATION)
            await stream.aclose()
        checklist.ok(Step.REACHED, f"in {checklist.took()}")


@contextmanager
def _shown_in(checklist: Checklist) -> Iterator[None]:
    """Show a failure of Tor in the table; it has its way out there and needs no second line."""
    try:
        yield
    except BaseException as error:
        for leaf in leaves(error):
            if isinstance(leaf, TorError):
                checklist.failed(leaf)
                raise click.exceptions.Exit(ExitCode.NO_TOR) from error
        raise
