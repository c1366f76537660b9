"""The options of ``seed`` and ``create``: what a torrent is made of, and what it says.

Imports nothing slow: ``--help`` goes through here.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import wraps

import click

from torrent_onion.cli.options import Command, decorate

MIN_PIECE_SIZE = 16 << 10
"""Bytes: one block (BEP 52); smaller pieces only make the .torrent larger."""

MAX_PIECE_SIZE = 32 << 20
"""Bytes: the largest that other clients accept."""

Tiers = tuple[tuple[str, ...], ...]
"""Announce URLs; those of the first tier are asked first (BEP 12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentOptions:
    """How a torrent is made.

    Args:
        format_name: ``v1``, ``v2`` or ``hybrid``.
        piece_size: Bytes; None chooses.
        trackers: In tiers.
        web_seeds: URLs of the same content (BEP 19).
        private: Only its trackers may name peers (BEP 27).
        comment: For whoever opens it.
        include_hidden: Take hidden files and what desktops and editors leave behind.
        exclude: Patterns of what is not shared.
    """

    format_name: str = "hybrid"
    piece_size: int | None = None
    trackers: Tiers = ()
    web_seeds: tuple[str, ...] = ()
    private: bool = False
    comment: str | None = None
    include_hidden: bool = False
    exclude: tuple[str, ...] = ()


def _piece_size(_: click.Context, __: click.Parameter, value: int | None) -> int | None:
    """Refuse what is not a power of two."""
    if value is not None and value.bit_count() != 1:
        raise click.BadParameter(f"{value} is not a power of two; {1 << value.bit_length()} is.")
    return value


def _tiers(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> Tiers:
    """Each value is a tier; a comma separates its members."""
    tiers = tuple(tuple(url.strip() for url in value.split(",")) for value in values)
    for tier in tiers:
        _refuse_unreachable(tier)
    return tiers


def _urls(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    _refuse_unreachable(values)
    return values


def _refuse_unreachable(urls: tuple[str, ...]) -> None:
    """Refuse what Tor cannot carry, UDP trackers above all, and onions with a typing error."""
    from urllib.parse import urlsplit

    for url in urls:
        reachable = False
        with suppress(ValueError):  # brackets that hold no IPv6 address
            parts = urlsplit(url)
            reachable = parts.scheme in {"http", "https"} and bool(parts.hostname)
            if parts.hostname and parts.hostname.endswith(".onion"):
                _refuse_damaged_onion(parts.hostname)
        if not reachable:
            raise click.BadParameter(
                f"{url!r} is out of Tor's reach; it must begin with http:// or https://."
            )


def _refuse_damaged_onion(host: str) -> None:
    from tor_control.errors import InvalidOnionAddress
    from tor_control.onion_address import public_key

    try:
        public_key(host.rsplit(".", 2)[-2] + ".onion")  # what is in front of it is the server's
    except InvalidOnionAddress as error:
        raise click.BadParameter(str(error)) from None


tracker_option = click.option(
    "--tracker",
    "trackers",
    callback=_tiers,
    multiple=True,
    metavar="URL[,URL...]",
    help="Where clients find each other; may be repeated. A comma joins equals (a tier).",
)

_CONTENT = (
    tracker_option,
    click.option(
        "--web-seed",
        "web_seeds",
        callback=_urls,
        multiple=True,
        metavar="URL",
        help="A web server that has the same content; may be repeated.",
    ),
    click.option("--private", is_flag=True, help="Only the trackers may name peers."),
    click.option("--comment", metavar="TEXT", help="A word to whoever opens the torrent."),
    click.option(
        "--format",
        "format_name",
        type=click.Choice(["v1", "v2", "hybrid"]),
        default="hybrid",
        show_default=True,
        help="BitTorrent version; a hybrid is both at once, for all clients.",
    ),
    click.option(
        "--piece-size",
        type=click.IntRange(MIN_PIECE_SIZE, MAX_PIECE_SIZE),
        callback=_piece_size,
        metavar="BYTES",
        help="A power of two from 16384 on; chosen by the size of the content if not given.",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="Leave out the files and folders that fit; may be repeated.",
    ),
    click.option(
        "--include-hidden",
        is_flag=True,
        help="Take hidden files and what desktops and editors leave behind.",
    ),
)


def content_options(command: Command) -> Command:
    """Add the options of a torrent to be made, handed on as ``content=ContentOptions(...)``."""

    @wraps(command)
    def with_content(
        *,
        trackers: Tiers,
        web_seeds: tuple[str, ...],
        private: bool,
        comment: str | None,
        format_name: str,
        piece_size: int | None,
        exclude: tuple[str, ...],
        include_hidden: bool,
        **rest: object,
    ) -> object:
        content = ContentOptions(
            format_name=format_name,
            piece_size=piece_size,
            trackers=trackers,
            web_seeds=web_seeds,
            private=private,
            comment=comment,
            include_hidden=include_hidden,
            exclude=exclude,
        )
        return command(content=content, **rest)

    return decorate(with_content, _CONTENT)
