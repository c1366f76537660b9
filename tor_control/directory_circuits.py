"""Close circuits that have asked directories for onions, where there are many.

For an onion that is not there tor asks up to six directories, each over a circuit of its own, and
keeps each circuit for ten minutes after that (MaxCircuitDirtiness), though it hardly ever needs one
again. Among thousands of dead onions that is thousands of circuits, which relays hold open for
nothing, and in which tor looks for a fitting one so often that it does nothing else: a dead onion
cost it 54 ms of processor time after a hundred, 19 where used circuits were closed.

Three rules. Only a tor of our own is told to, and of the newest ``KEPT`` none is closed: whoever
meets few dead onions has circuits like everybody who uses tor. And all are closed at once: with one
command after the other, more came meanwhile than went.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

import trio

from tor_control.control_connection import ControlConnection
from tor_control.control_text import parse_arguments
from tor_control.errors import ControlFailed, TorLost

KEPT: Final = 32
"""Circuits; those in use are among them, for they are the newest."""

LOOK_EVERY: Final = 2.0
"""Seconds; tor answers in less than a millisecond."""

LOOK_AGAIN_AFTER: Final = 0.25
"""Seconds, when there were too many: at 30 dead onions a second some 50 come meanwhile."""


def superfluous(status: str) -> list[str]:
    """Name the circuits that may go.

    Args:
        status: What ``GETINFO circuit-status`` answers (control-spec, CIRC events).

    Returns:
        Their numbers, the oldest first.
    """
    asking = []
    for line in status.splitlines():
        arguments = parse_arguments(line)
        is_built = arguments.word(1) == "BUILT"
        if is_built and arguments.fields.get("PURPOSE") == "HS_CLIENT_HSDIR":
            asking.append(arguments.word(0))
    return sorted(filter(str.isdecimal, asking), key=int)[:-KEPT]


async def close_superfluous(connection: ControlConnection) -> bool:
    """Close circuits that are not in use, once.

    Returns:
        Whether there were too many.

    Raises:
        ControlFailed: As for ``ControlConnection.command``.
        TorLost: Likewise.
    """
    numbers = superfluous(await connection.get_info("circuit-status"))
    # Those that have gone by themselves are refused, and that is as well.
    await connection.command_all([f"CLOSECIRCUIT {number} IfUnused" for number in numbers])
    return bool(numbers)


async def keep_few(
    current: Callable[[], ControlConnection], is_dialling: Callable[[], bool]
) -> NoReturn:
    """Look again and again until cancelled, also after tor was lost and is back.

    Args:
        current: Returns the control connection of the moment.
        is_dialling: Whether a dial is under way: without any no such circuits come.
    """
    were_many = False
    while True:
        if were_many or is_dialling():
            were_many = False
            with suppress(ControlFailed, TorLost):  # the supervisor sees to that
                were_many = await close_superfluous(current())
        await trio.sleep(LOOK_AGAIN_AFTER if were_many else LOOK_EVERY)
