"""``check``: can this machine do it? One step after the other, each with its way out.

There is no second way of looking for tor here: the check opens Tor as every other command does,
publishes an onion service and connects to it, and says how far that went.
"""

from dataclasses import dataclass, field
from enum import Enum

import trio

from tor_control.config import TorConfig
from tor_control.controller import Tor, open_tor
from tor_control.errors import TorError, TorLaunchFailed, TorTooOld
from tor_control.events import Connected, TorEvent
from torrent_onion.cli import guarding, text
from torrent_onion.cli.leak_checks import LeakTable, check_addresses, check_guard
from torrent_onion.cli.tor_session import show_tor_event
from torrent_onion.cli.ui import Ui

_STEP_WIDTH = 20
_ISOLATION = "check"
"""A circuit of its own; nothing else in this process dials."""


class Step(Enum):
    """What is needed, in the order in which it is needed."""

    FOUND = "Tor found"
    VERSION = "Version"
    CONTROL = "Control port"
    GUARD = "Guard"
    BOOTSTRAP = "Tor network"
    PUBLISHED = "Onion service"
    REACHED = "Reached through Tor"


_STEP_OF_ERROR = {TorTooOld: Step.VERSION, TorLaunchFailed: Step.CONTROL}
"""Errors that say that the steps before were done, although nothing else did."""


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
        self._tell(step, ok=True, detail=detail)

    def took(self) -> str:
        """How long it has been since the last step, for people."""
        return f"{trio.current_time() - self._since:.1f} s"

    def failed(self, error: TorError) -> None:
        """The first step that is not done, or the one that the error names, has failed.

        People read why in the error that ends the command; the table does not say it twice.
        """
        left = [step for step in Step if step not in self.passed]
        step = _STEP_OF_ERROR.get(type(error), left[0])
        for earlier in left[: left.index(step)]:
            self._tell(earlier, ok=True, detail="")
        self._tell(step, ok=False, detail=str(error))

    def _tell(self, step: Step, *, ok: bool, detail: str) -> None:
        outcome = f"ok      {text.printable(detail)}" if ok else "failed"
        fields = {"step": step.name.lower(), "ok": ok, "detail": detail}
        self.ui.result("check", fields, f"{step.value:<{_STEP_WIDTH}}{outcome}".rstrip())


async def check(config: TorConfig, ui: Ui, *, leaks: bool = False) -> None:
    """Go through all steps.

    Args:
        config: Which tor.
        ui: Where to report.
        leaks: Try as well what must not work.

    Raises:
        TorError: Why a step failed, and the way out.
        LocalError: Something works that must not.
    """
    table = LeakTable(ui)
    if leaks:
        await check_guard(table)  # in a process of its own, while we may still start one
    checklist = Checklist(ui)
    try:
        async with open_tor(config, _Watcher(checklist)) as tor:
            checklist.ok(Step.BOOTSTRAP, f"connected in {checklist.took()}")
            await _check_onion(tor, checklist)
            if leaks:
                await check_addresses(tor, table)
    except TorError as error:
        checklist.failed(error)
        raise
    finally:
        guarding.report_refusals(ui)
    table.require_closed()


class _Watcher:
    """Passes Tor's events on, and ticks off what they prove."""

    def __init__(self, checklist: Checklist) -> None:
        self._checklist = checklist

    def __call__(self, event: TorEvent) -> None:
        checklist = self._checklist
        if isinstance(event, Connected) and not checklist.passed:
            origin = "it can be started" if event.is_launched else "it runs already"
            checklist.ok(Step.FOUND, origin)
            checklist.ok(Step.VERSION, event.version)
            checklist.ok(Step.CONTROL, event.place)
            guarding.arm(event)
            checklist.ok(Step.GUARD, guarding.active_layers())
        elif not isinstance(event, Connected):
            show_tor_event(checklist.ui, event)


async def _check_onion(tor: Tor, checklist: Checklist) -> None:
    async with tor.publish() as onion:
        checklist.ok(Step.PUBLISHED, f"published in {checklist.took()}")
        # Tor's answer is proof enough: it says yes only when our listener has taken the stream.
        stream = await tor.dial(onion.address, onion.port, _ISOLATION)
        await stream.aclose()
        checklist.ok(Step.REACHED, f"in {checklist.took()}")
