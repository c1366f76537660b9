"""The options of ``get``: from whom, what of it, and how.

Imports nothing slow: ``--help`` goes through here.
"""

from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path

import click

from torrent_onion.cli.content_options import Tiers, tracker_option
from torrent_onion.cli.limit_options import LimitOptions, limit_options
from torrent_onion.cli.options import Command, decorate, timeout_option

MAX_CIRCUITS = 8
"""To one onion peer: more would take from others in the Tor network, and bring nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How something is fetched.

    Args:
        folder: Where it goes.
        peers: Who may have it, beside those that the source names: ``HOST:PORT``.
        trackers: Announce URLs beside those that the source names.
        only: Patterns of the files that are wanted; none of them: what the source says.
        skip: Patterns of the files that are not.
        sequential: In order, so that files can be opened early.
        preallocate: Reserve room for everything before it is fetched.
        reuse: Folders with files that may be some of the torrent's.
        circuits: At most so many to one onion peer.
        keep_serving: Share it as well, from the start and after it is complete.
        timeout: Seconds without anything after which to give up; None never does.
        limits: How fast, and until when it is shared.
    """

    folder: Path
    peers: tuple[str, ...] = ()
    trackers: Tiers = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    sequential: bool = False
    preallocate: bool = False
    reuse: tuple[Path, ...] = ()
    circuits: int = 4
    keep_serving: bool = False
    timeout: float | None = None
    limits: LimitOptions = field(default_factory=LimitOptions)


_FETCH = (
    click.option(
        "--dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=".",
        show_default=True,
        help="Where the data goes.",
    ),
    click.option(
        "--peer", "peers", multiple=True, metavar="HOST:PORT", help="Somebody who has it."
    ),
    tracker_option,
    click.option(
        "--only",
        multiple=True,
        metavar="GLOB",
        help="Fetch only the files and folders that fit; may be repeated.",
    ),
    click.option(
        "--skip",
        multiple=True,
        metavar="GLOB",
        help="Leave out the files and folders that fit; may be repeated.",
    ),
    click.option(
        "--sequential", is_flag=True, help="Fetch in order, so that files can be opened early."
    ),
    click.option(
        "--preallocate",
        is_flag=True,
        help="Reserve room on the disk before anything is fetched.",
    ),
    click.option(
        "--reuse",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        multiple=True,
        metavar="DIR",
        help="Copy files from there that the torrent has too; may be repeated. Peers may notice.",
    ),
    click.option(
        "--circuits",
        type=click.IntRange(1, MAX_CIRCUITS),
        default=4,
        show_default=True,
        help="At most so many Tor circuits to one onion peer.",
    ),
    click.option("--seed", "keep_serving", is_flag=True, help="Share it too, until Ctrl-C."),
    timeout_option,
    limit_options,
)


def fetch_options(command: Command) -> Command:
    """Add the options of a download, handed on as ``fetch=FetchOptions(...)``."""

    @wraps(command)
    def with_fetch(
        *,
        folder: Path,
        peers: tuple[str, ...],
        trackers: Tiers,
        only: tuple[str, ...],
        skip: tuple[str, ...],
        sequential: bool,
        preallocate: bool,
        reuse: tuple[Path, ...],
        circuits: int,
        keep_serving: bool,
        timeout: float | None,
        limits: LimitOptions,
        **rest: object,
    ) -> object:
        if limits.has_goal and not keep_serving:
            raise click.UsageError("The options that begin with --until need --seed.")
        fetch = FetchOptions(
            folder=folder,
            peers=peers,
            trackers=trackers,
            only=only,
            skip=skip,
            sequential=sequential,
            preallocate=preallocate,
            reuse=reuse,
            circuits=circuits,
            keep_serving=keep_serving,
            timeout=timeout,
            limits=limits,
        )
        return command(fetch=fetch, **rest)

    return decorate(with_fetch, _FETCH)
