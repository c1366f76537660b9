"""The group of all commands, and the one place where a command's failure ends.

Two rules. Whatever goes wrong, the user reads one sentence and its way out, and the exit code is
one of :class:`~torrent_onion.cli.exit_codes.ExitCode`; a traceback goes to the log at most. And
``--help`` answers at once, for of ours it loads this file alone: the commands and their options are
loaded when one is named, trio, stem, rich and PyNaCl by the command that needs them.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from torrent_onion.cli.exit_codes import ExitCode, Failure

SUMMARIES: Final = {
    "seed": "Share files or folders until Ctrl-C.",
    "get": "Fetch what magnet links or .torrent files name.",
    "create": "Write a .torrent file for a file or folder.",
    "show": "Show what is in a magnet link or a .torrent file.",
    "verify": "Compare data on disk with a .torrent file.",
    "check": "Find out whether this machine can share and fetch.",
    "tracker": "Run a tracker for onion peers until Ctrl-C.",
    "private-network": "Run a whole Tor network on this machine, for tests.",
    "demo": "See it work, without any network: takes under a minute.",
}
"""What the help says of each command: the first sentence of its own, which is not loaded yet."""


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
        _write_any_name()
        sys.exit(self._exit_code(arguments, prog_name or "torrent-onion", extra))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named, silently until it has read ``--verbose``."""
        from torrent_onion.cli.log import start_log

        start_log(verbose=0)
        return super().invoke(ctx)

    def _exit_code(self, arguments: list[str], name: str, extra: dict[str, Any]) -> int:
        try:
            # Not standalone: click then raises instead of leaving by itself.
            return super().main(arguments, name, standalone_mode=False, **extra) or 0
        except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:  # noqa: BLE001 - the last handler of all
            return _failed(error, arguments)


class _AllCommands(Program):
    """The program as users have it: lists its commands without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which people meet them, not by the alphabet."""
        del ctx
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; all are loaded, for click also looks for one with a similar name."""
        if not self.commands:
            from torrent_onion.cli.commands import COMMANDS

            self.commands = {str(command.name): command for command in COMMANDS}
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the help."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


def _failed(error: BaseException, arguments: list[str]) -> "ExitCode":
    from torrent_onion.cli.exit_codes import ExitCode, OutputClosed, explain

    match error:
        case click.Abort():
            return ExitCode.INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return ExitCode.USAGE
        case click.UsageError():
            return _report(_usage(error), arguments, hint=_usage_line(error))
        case OutputClosed():
            _forget_output()
    failure = explain(error)
    if failure.is_bug:
        _log_bug(error)
    return _report(failure, arguments)


def _log_bug(error: BaseException) -> None:
    import logging

    log = logging.getLogger(__name__)
    if log.hasHandlers():  # else no command has begun, and Python would print it all to stderr
        log.error("unexpected exception", exc_info=error)


def _usage(error: click.UsageError) -> "Failure":
    from torrent_onion.cli.exit_codes import ExitCode, Failure

    words = error.format_message()
    return Failure(ExitCode.USAGE, words if words.endswith((".", "?")) else f"{words}.")


def _usage_line(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "torrent-onion"
    return f"See `{path} --help`."


def _report(failure: "Failure", arguments: list[str], hint: str = "") -> "ExitCode":
    """Say why, in the form that was asked for (click may have failed before it knew)."""
    words = " ".join(part for part in (failure.message, hint) if part)
    if words:
        from torrent_onion.cli.exit_codes import OutputClosed
        from torrent_onion.cli.options import OutputOptions
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
    _AllCommands(
        "torrent-onion",
        help="Share and fetch files over BitTorrent without ever leaving Tor.",
        epilog="New here: run `torrent-onion demo`, then `torrent-onion check`.",
        no_args_is_help=True,
    )
)
