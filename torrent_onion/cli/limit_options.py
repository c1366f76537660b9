"""The options of ``seed`` and ``get`` that bound a transfer: how fast, how much, how long.

Imports nothing slow: ``--help`` goes through here.
"""

import re
from dataclasses import dataclass
from functools import wraps

import click

from torrent_onion.cli.options import Command, decorate

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmg]?)b?(?:/s)?", re.IGNORECASE)
_RATE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
"""Decimal, as all sizes that this program shows."""

_TIME_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_TIME = re.compile(
    "".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _TIME_UNITS), re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What bounds the transfers of one command.

    Args:
        max_up: Bytes a second for all of them together; None is no limit.
        max_down: The same, coming in.
        max_connections: To the peers of one torrent; None leaves it to the engine.
        until_ratio: Stop serving when so many times the content is sent.
        until: Stop after so many seconds of serving.
        until_copies: Stop when so many others have become complete.
    """

    max_up: float | None = None
    max_down: float | None = None
    max_connections: int | None = None
    until_ratio: float | None = None
    until: float | None = None
    until_copies: int | None = None

    @property
    def has_goal(self) -> bool:
        """Whether serving ends by itself."""
        return any(goal is not None for goal in (self.until_ratio, self.until, self.until_copies))


def _rate(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read ``500k`` and the like."""
    if value is None:
        return None
    match = _RATE.fullmatch(value.strip())
    rate = float(match[1]) * _RATE_UNITS[match[2].lower()] if match else 0
    if rate <= 0:
        raise click.BadParameter(f"{value!r} is no rate; write bytes a second, 500k or 2M.")
    return rate


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read ``2h``, ``1h30m`` and the like."""
    if value is None:
        return None
    match = _TIME.fullmatch(value.strip())
    numbers = match.groups() if match else ()
    seconds = sum(
        float(number) * unit
        for number, unit in zip(numbers, _TIME_UNITS.values(), strict=False)
        if number
    )
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is no time; write 90s, 30m, 2h or 1d.")
    return seconds


MIN_CONNECTIONS = 4
"""Fewer could all be circuits to one peer, and nobody would be left to ask when it goes."""

_LIMITS = (
    click.option(
        "--max-up",
        callback=_rate,
        metavar="RATE",
        help="Send no more than so many bytes a second: 500k, 2M.",
    ),
    click.option(
        "--max-down",
        callback=_rate,
        metavar="RATE",
        help="Receive no more than so many bytes a second.",
    ),
    click.option(
        "--max-connections",
        type=click.IntRange(min=MIN_CONNECTIONS),
        metavar="N",
        help="Connect to at most so many peers of each torrent.",
    ),
    click.option(
        "--until-ratio",
        type=click.FloatRange(min=0, min_open=True),
        metavar="NUMBER",
        help="Stop sharing when so many times the content is sent.",
    ),
    click.option(
        "--until",
        callback=_duration,
        metavar="TIME",
        help="Stop after sharing for so long: 90s, 30m, 2h, 1d.",
    ),
    click.option(
        "--until-copies",
        type=click.IntRange(min=1),
        metavar="N",
        help="Stop when N others have all of it.",
    ),
)


def limit_options(command: Command) -> Command:
    """Add the options that bound a transfer, handed on as ``limits=LimitOptions(...)``."""

    @wraps(command)
    def with_limits(
        *,
        max_up: float | None,
        max_down: float | None,
        max_connections: int | None,
        until_ratio: float | None,
        until: float | None,
        until_copies: int | None,
        **rest: object,
    ) -> object:
        limits = LimitOptions(
            max_up=max_up,
            max_down=max_down,
            max_connections=max_connections,
            until_ratio=until_ratio,
            until=until,
            until_copies=until_copies,
        )
        return command(limits=limits, **rest)

    return decorate(with_limits, _LIMITS)
