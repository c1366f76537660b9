"""What the program's exit code means, and which failure gives which code and sentence.

Two rules. A failure that we know speaks for itself: ``str(error)`` is shown as it is. Any other
exception is a bug of ours: the user reads one sentence that says so and how to get the details,
never a traceback.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from tor_control.errors import PrivateNetworkFailed, TorError
from torrent_onion.errors import NoDataError, TorrentOnionError


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    """This machine, the disk, a broken file: a local failure."""
    USAGE = 2
    """The command was not understood."""
    NO_TOR = 3
    """Tor cannot be had."""
    NO_DATA = 4
    """Nobody could give us the data."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM: 128 + SIGINT, as shells count."""


class Interrupted(Exception):
    """SIGINT or SIGTERM has come, and everything has been ended."""


class OutputClosed(Exception):
    """Whoever read our output is gone (a closed pipe): there is nobody left to tell."""


class SeveralFailed(Exception):
    """Some of several torrents failed; why has been told of each.

    Args:
        total: How many there were.

    Attributes:
        codes: Of those that failed.
    """

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.total = total
        self.codes: list[ExitCode] = []


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command ends that did not succeed.

    Args:
        code: For the shell.
        message: One sentence and the way out; empty where nothing needs to be said.
        is_bug: We did not expect it; the details belong in the log.
    """

    code: ExitCode
    message: str
    is_bug: bool = False


def explain(error: BaseException) -> Failure:
    """The failure to report for whatever ended a command.

    Several tasks may have failed at once (an exception group). The first known failure is the
    cause in all likelihood, and the unexpected ones follow from it.
    """
    return min((_explain_one(leaf) for leaf in leaves(error)), key=_rank)


_ORDER = (
    ExitCode.INTERRUPTED,
    ExitCode.NO_TOR,
    ExitCode.FAILED,
    ExitCode.NO_DATA,
)
"""Which failure is told when several came together; bugs come last."""


def _rank(failure: Failure) -> int:
    return len(_ORDER) if failure.is_bug else _ORDER.index(failure.code)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, however deep, or the one exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _explain_one(error: BaseException) -> Failure:
    match error:
        case Interrupted() | KeyboardInterrupt():
            return Failure(ExitCode.INTERRUPTED, "")
        case OutputClosed():
            return Failure(ExitCode.FAILED, "")
        case SeveralFailed():
            worst = min(error.codes, key=_ORDER.index)
            return Failure(worst, f"{len(error.codes)} of {error.total} failed, as told above.")
        case TorError() | TorrentOnionError():
            return Failure(_code_of(error), str(error))
        case MemoryError():
            return Failure(
                ExitCode.FAILED, "There is not enough memory. Close other programs and try again."
            )
        case OSError(errno=int(number)):
            return Failure(ExitCode.FAILED, _system_said(error, number))
    kind = type(error).__name__
    return Failure(
        ExitCode.FAILED,
        f"This is a bug in torrent-onion ({kind}). "
        "Run the same command with --verbose and report what it prints.",
        is_bug=True,
    )


def _code_of(error: TorError | TorrentOnionError) -> ExitCode:
    match error:
        case PrivateNetworkFailed():
            return ExitCode.FAILED
        case TorError():
            return ExitCode.NO_TOR
        case NoDataError():
            return ExitCode.NO_DATA
    return ExitCode.FAILED


def _system_said(error: OSError, number: int) -> str:
    reason = os.strerror(number)
    if error.filename is None:
        return f"The operating system says: {reason}. Run with --verbose to see where."
    return f"{os.fsdecode(error.filename)}: {reason}. Check the path."
