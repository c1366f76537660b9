"""The group of all commands, and the one place where a command's failure ends.

Two rules. Whatever goes wrong, the user reads one sentence and its way out, and the exit code is
one of :class:`~torrent_onion.cli.exit_codes.ExitCode`; a traceback goes to the log at most. And
importing this file imports nothing slow: trio, stem, rich and PyNaCl are loaded by the command
that needs them, so that ``--help`` answers at once.
"""

import logging
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from torrent_onion.cli import commands
from torrent_onion.cli.exit_codes import ExitCode, Failure, OutputClosed, explain
from torrent_onion.cli.log import start_log
from torrent_onion.cli.options import OutputOptions

_log = logging.getLogger(__name__)


class Program(click.Group):
    """A click group whose failures end as this project promises, not as click does."""

    def main(  # type: ignore[override]  # click's other arguments serve callers that we do not have
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and leave with the command's exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        start_log(verbose=0)
        _write_any_name()
        sys.exit(self._exit_code(arguments, prog_name or "torrent-onion", extra))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which people meet them, not by the alphabet."""
        del ctx
        return list(self.commands)

    def _exit_code(self, arguments: list[str], name: str, extra: dict[str, Any]) -> ExitCode:
        try:
            # Not standalone: click then raises instead of leaving by itself.
            code = super().main(arguments, name, standalone_mode=False, **extra)
            return ExitCode(code or 0)
        except click.Abort:
            return ExitCode.INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return ExitCode.USAGE
        except click.UsageError as error:
            return _report(_usage(error), arguments, hint=_usage_line(error))
        except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:  # noqa: BLE001 - the last handler of all
            failure = explain(error)
            if failure.is_bug:
                _log.error("unexpected exception", exc_info=error)
            if isinstance(error, OutputClosed):
                _forget_output()
            return _report(failure, arguments)


def _usage(error: click.UsageError) -> Failure:
    words = error.format_message()
    return Failure(ExitCode.USAGE, words if words.endswith((".", "?")) else f"{words}.")


def _usage_line(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "torrent-onion"
    return f"See `{path} --help`."


def _report(failure: Failure, arguments: list[str], hint: str = "") -> ExitCode:
    """Say why, in the form that was asked for (click may have failed before it knew)."""
    words = " ".join(part for part in (failure.message, hint) if part)
    if words:
        from torrent_onion.cli.ui import choose_ui

        try:
            choose_ui(OutputOptions(json="--json" in arguments)).error(failure.code, words)
        except OutputClosed:
            _forget_output()
    return failure.code


def _write_any_name() -> None:
    """Let a name that the terminal cannot show be shown as ``?`` instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Keep the interpreter's last flush from failing: nobody reads stdout any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


program = click.version_option(package_name="torrent-onion", message="%(prog)s %(version)s")(
    Program(
        "torrent-onion",
        commands=list(commands.COMMANDS),
        help="Share and fetch files over BitTorrent without ever leaving Tor.",
        epilog="New here: run `torrent-onion demo`, then `torrent-onion check`.",
        no_args_is_help=True,
    )
)
