"""Run one command in its event loop, and end it by Ctrl-C or SIGTERM.

Two rules. The first signal cancels everything and gives it a few seconds to put things away; the
second one, or the end of those seconds, ends the process at once. However it ends, the terminal is
left as it was.
"""

import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import trio

from torrent_onion.cli.exit_codes import ExitCode, Interrupted
from torrent_onion.cli.ui import Ui

_log = logging.getLogger(__name__)

TIME_TO_END = 4.5
"""Seconds from the first signal until the process ends in any case; the promise is 5."""

AsyncCommand = Callable[[], Awaitable[None]]


def run(command: AsyncCommand, ui: Ui) -> None:
    """Run an asynchronous command to its end.

    Raises:
        Interrupted: A signal came, and everything has ended.
        Exception: Whatever the command raised, often in an exception group.
    """
    tell = partial(ui.note, "\nStopping; Ctrl-C again ends it at once.")
    trio.run(run_until_signal, command, tell, partial(_end_at_once, ui))


def _end_at_once(ui: Ui) -> None:
    """Leave without another word. What we started notices that we are gone, and ends too."""
    ui.close()
    os._exit(ExitCode.INTERRUPTED)


async def run_until_signal(
    command: AsyncCommand, tell: Callable[[], None], end_at_once: Callable[[], None]
) -> None:
    """The same inside a running loop.

    Args:
        command: Cancelled by the first SIGINT or SIGTERM.
        tell: Called on the first, so that people see that it was heard.
        end_at_once: Called on the second, or when the command takes too long to end.

    Raises:
        Interrupted: A signal came; whatever went wrong on the way out does not matter then.
    """
    scope = trio.CancelScope()
    failed_to_end = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, signals, scope, tell, end_at_once)
            try:
                with scope:
                    await command()
            except Exception:
                if not scope.cancel_called:
                    raise
                failed_to_end = True
                _log.info("something went wrong on the way out", exc_info=True)
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught or failed_to_end:
        raise Interrupted


async def _watch(
    signals: AsyncIterator[int],
    scope: trio.CancelScope,
    tell: Callable[[], None],
    end_at_once: Callable[[], None],
) -> None:
    await anext(signals)
    scope.cancel()
    tell()
    with trio.move_on_after(TIME_TO_END):
        await anext(signals)
    end_at_once()
