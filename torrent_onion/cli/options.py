"""The options that commands share, written once, and accepted after the command's name.

``output_options`` belongs to every command, ``tor_options`` (which includes it) to every command
that talks to Tor. Each packs what was given into one frozen object, so that a command's function
has one argument for all of them. Imports nothing slow: ``--help`` goes through here.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from torrent_onion.cli.log import start_log

Command = Callable[..., Any]
"""What click decorates: its arguments are known to click only."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How a command speaks."""

    json: bool = False
    quiet: bool = False
    verbose: int = 0


@dataclass(frozen=True, slots=True)
class TorOptions:
    """Which tor is used, and how.

    Args:
        where: ``auto``, ``launch``, ``tcp:HOST:PORT`` or ``unix:PATH``.
        binary: The tor program; None looks on PATH.
        torrc: Lines for the configuration of a tor that we launch.
        state: The folder for what is kept between runs; None is the user's own.
        allow_private_addresses: Dial addresses that are not public; only for tests.
        onion_only: Dial nothing but onion services.
    """

    where: str = "auto"
    binary: str | None = None
    torrc: Path | None = None
    state: Path | None = None
    allow_private_addresses: bool = False
    onion_only: bool = False


def _tor_place(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse what is no place; the text itself is handed on."""
    from tor_control.endpoints import parse_endpoint
    from tor_control.errors import InvalidEndpoint

    if value not in {"auto", "launch"}:
        try:
            parse_endpoint(value)
        except InvalidEndpoint as error:
            raise click.BadParameter(f"{error} The words auto and launch can stand here.") from None
    return value


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Refuse what is not a finite number above 0."""
    if value is None:
        return None
    with suppress(ValueError):
        seconds = float(value)
        if 0 < seconds < float("inf"):
            return seconds
    raise click.BadParameter(f"{value!r} is not a number of seconds above 0.")


timeout_option = click.option(
    "--timeout",
    callback=_seconds,
    metavar="SECONDS",
    help="Give up when nothing arrives for so long.",
)

tor_binary_option = click.option(
    "--tor-binary",
    "binary",
    metavar="FILE",
    help="The tor program to start, if it is not on PATH.",
)

_OUTPUT = (
    click.option("--json", "json_lines", is_flag=True, help="Print one JSON object a line."),
    click.option("-q", "--quiet", is_flag=True, help="Print results and errors only."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="Log on stderr; lines with a time are safe to share. Twice logs more.",
    ),
)

_TOR = (
    click.option(
        "--tor",
        "where",
        callback=_tor_place,
        default="auto",
        show_default=True,
        metavar="WHERE",
        help="auto, launch, tcp:HOST:PORT or unix:PATH (a control port).",
    ),
    tor_binary_option,
    click.option(
        "--torrc",
        type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
        metavar="FILE",
        help="Lines to add to the launched tor's configuration, bridges for example.",
    ),
    click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where tor's data is kept between runs.",
    ),
    click.option(
        "--onion-only",
        is_flag=True,
        help="Reach nothing but onion services: no exit sees anything.",
    ),
    click.option(
        "--allow-private-addresses",
        is_flag=True,
        help="Dial private addresses too. Only for tests on a private network.",
    ),
)


def output_options(command: Command) -> Command:
    """Add ``--json``, ``--quiet`` and ``--verbose``, handed on as ``output=OutputOptions(...)``.

    The log is started here, since ``--verbose`` is known from here on.
    """

    @wraps(command)
    def with_output(*, json_lines: bool, quiet: bool, verbose: int, **rest: object) -> object:
        start_log(verbose)
        return command(output=OutputOptions(json_lines, quiet, verbose), **rest)

    return decorate(with_output, _OUTPUT)


def tor_options(command: Command) -> Command:
    """Add the options of every command that talks to Tor, handed on as ``tor=TorOptions(...)``."""

    @wraps(command)
    def with_tor(
        *,
        where: str,
        binary: str | None,
        torrc: Path | None,
        state: Path | None,
        allow_private_addresses: bool,
        onion_only: bool,
        **rest: object,
    ) -> object:
        tor = TorOptions(where, binary, torrc, state, allow_private_addresses, onion_only)
        return command(tor=tor, **rest)

    return output_options(decorate(with_tor, _TOR))


def decorate(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    """Add options to a command; its help names them in this order."""
    for option in reversed(options):
        command = option(command)
    return command
