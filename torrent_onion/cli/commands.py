"""The commands and their options; what each does is in a file of its own, loaded when it runs.

This is what ``COMMAND --help`` shows, so nothing slow is imported at the top.
"""

from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torrent_onion.cli.content_options import ContentOptions, content_options
from torrent_onion.cli.fetch_options import FetchOptions, fetch_options
from torrent_onion.cli.limit_options import LimitOptions, limit_options
from torrent_onion.cli.options import (
    OutputOptions,
    TorOptions,
    output_options,
    tor_binary_option,
    tor_options,
)

if TYPE_CHECKING:
    from tor_control.config import TorConfig
    from torrent_onion.cli.ui import Ui

DEFAULT_RELAYS = 5
"""Relays of a private network beside its three authorities; fewer are too few for an onion."""

_to_share = click.Path(exists=True, resolve_path=True, path_type=Path)
_existing_path = click.Path(exists=True, path_type=Path)
_torrent_file = click.Path(dir_okay=False, path_type=Path)
_existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_any_file = click.Path(dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)


def _run(output: OutputOptions, command: Callable[["Ui"], Awaitable[None]]) -> None:
    """Run a command that waits for things."""
    from torrent_onion.cli.runner import run
    from torrent_onion.cli.ui import choose_ui

    with closing(choose_ui(output)) as ui:
        run(partial(command, ui), ui)


def _run_with_tor(
    tor: TorOptions,
    output: OutputOptions,
    command: Callable[["TorConfig", "Ui"], Awaitable[None]],
    *folders: Path,
) -> None:
    """Run a command that talks to Tor; it can write into these folders and our own, no others."""
    from torrent_onion.cli.guarding import given_up
    from torrent_onion.cli.runner import run
    from torrent_onion.cli.tor_session import tor_config
    from torrent_onion.cli.ui import choose_ui

    with closing(choose_ui(output)) as ui, given_up(tor_config(tor), folders) as config:
        run(partial(command, config, ui), ui)


@click.command()
@click.argument("paths", metavar="PATH...", type=_to_share, nargs=-1, required=True)
@click.option("--output", "torrent_file", type=_torrent_file, help="Write a .torrent file too.")
@click.option("--force", is_flag=True, help="Replace the .torrent file if it is another one.")
@click.option(
    "--key",
    type=_any_file,
    metavar="FILE",
    help="Keep the same address: its key is in this file, which is made if it is not there.",
)
@click.option("--super-seed", is_flag=True, help="Give out one copy as fast as possible.")
@content_options
@limit_options
@tor_options
def seed(
    paths: tuple[Path, ...],
    torrent_file: Path | None,
    key: Path | None,
    *,
    force: bool,
    super_seed: bool,
    content: ContentOptions,
    limits: LimitOptions,
    tor: TorOptions,
    output: OutputOptions,
) -> None:
    """Share files or folders until Ctrl-C.

    Publishes an onion service for each PATH and prints a magnet link. Whoever has the link can
    fetch it as long as this command runs. The options that begin with --until end it earlier.
    """
    from torrent_onion.cli import creating, seeding

    if len(paths) > 1 and (torrent_file or key):
        raise click.UsageError("--output and --key go with one path. Run it once for each.")
    if len(set(paths)) < len(paths):
        raise click.UsageError("The same path is named twice. Name it once.")
    shared = [
        creating.Content(path=path, torrent_file=torrent_file, force=force, options=content)
        for path in paths
    ]
    if torrent_file is not None:
        creating.check_output(torrent_file, paths[0])
    sharing = seeding.Sharing(key=key, super_seed=super_seed, limits=limits)
    folders = [file.parent for file in (torrent_file, key) if file is not None]
    _run_with_tor(tor, output, partial(seeding.seed, shared, sharing), *folders)


@click.command()
@click.argument("source_texts", metavar="MAGNET|FILE.torrent...", nargs=-1, required=True)
@fetch_options
@tor_options
def get(
    source_texts: tuple[str, ...], *, fetch: FetchOptions, tor: TorOptions, output: OutputOptions
) -> None:
    """Fetch what magnet links or .torrent files name.

    Run the same command again after an interruption: it goes on where it was. Put the link in
    quotes; - reads it from standard input.

    Some peers outside Tor take only encrypted handshakes (MSE). They are spoken to if the extra
    torrent-onion[mse] is installed; onion peers never need it.
    """
    from torrent_onion.cli import getting, sources

    getting.parse_peers(fetch.peers)  # the user's own words may be looked into before the guard
    unread = [sources.fetch_source(source) for source in source_texts]
    getting.prepare_folder(fetch.folder)
    read = partial(getting.read_requests, unread, fetch)
    _run_with_tor(tor, output, partial(getting.get, read), fetch.folder)


@click.command()
@click.argument("path", type=_to_share)
@click.option(
    "--output", "torrent_file", type=_torrent_file, required=True, help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace the file if it is another one.")
@content_options
@output_options
def create(
    path: Path,
    torrent_file: Path,
    *,
    force: bool,
    content: ContentOptions,
    output: OutputOptions,
) -> None:
    """Write a .torrent file for a file or folder.

    The file names nobody: it holds hashes, file names, sizes, and what the options add. Neither Tor
    nor any other network is used.
    """
    from torrent_onion.cli import creating

    creating.check_output(torrent_file, path)
    made = creating.Content(path=path, torrent_file=torrent_file, force=force, options=content)
    _run(output, partial(creating.create, made))


@click.command()
@click.argument("source", metavar="MAGNET|FILE.torrent")
@output_options
def show(source: str, *, output: OutputOptions) -> None:
    """Show what is in a magnet link or a .torrent file.

    Also tells what in it could identify whoever made it.
    """
    from torrent_onion.cli import showing
    from torrent_onion.cli.ui import choose_ui

    with closing(choose_ui(output)) as ui:
        showing.show(source, ui)


@click.command()
@click.argument("torrent_file", metavar="FILE.torrent", type=_torrent_file)
@click.argument("folder", metavar="DIR", type=_existing_path)
@output_options
def verify(torrent_file: Path, folder: Path, *, output: OutputOptions) -> None:
    """Compare data on disk with a .torrent file.

    DIR is the folder that holds the data, or the data itself. Ends with exit code 1 unless every
    file is there and right.
    """
    from torrent_onion.cli import verifying

    _run(output, partial(verifying.verify, torrent_file, folder))


@click.command()
@click.option("--leaks", is_flag=True, help="Try as well what must not work.")
@tor_options
def check(*, leaks: bool, tor: TorOptions, output: OutputOptions) -> None:
    """Find out whether this machine can share and fetch.

    Goes through what is needed step by step: the tor program, its version, its control port,
    the way into the network, an onion service.
    """
    from torrent_onion.cli import checking

    _run_with_tor(tor, output, partial(checking.check, leaks=leaks))


@click.command()
@click.option(
    "--allow",
    type=_existing_file,
    metavar="FILE",
    help="Serve only the info-hashes in this file, one a line; without it, any.",
)
@click.option(
    "--key",
    type=_any_file,
    metavar="FILE",
    help="Keep the same address: its key is in this file, which is made if it is not there.",
)
@click.option(
    "--database",
    type=_any_file,
    metavar="FILE",
    help="Keep what is known about peers in this file; without it, only in memory.",
)
@tor_options
def tracker(
    allow: Path | None,
    key: Path | None,
    database: Path | None,
    *,
    tor: TorOptions,
    output: OutputOptions,
) -> None:
    """Run a tracker for onion peers until Ctrl-C.

    Publishes an onion service where those who share and fetch a torrent find each other. Prints the
    URL to name with --tracker. It gives out an onion address only to those who ask for its torrent,
    and only if its owner has signed for it.
    """
    from torrent_onion.cli import tracking

    files = tracking.TrackerFiles(allow=allow, key=key, database=database)
    folders = [file.parent for file in (key, database) if file is not None]
    _run_with_tor(tor, output, partial(tracking.track, files), *folders)


@click.command("private-network")
@click.argument("folder", metavar="DIR", type=_folder)
@click.option(
    "--relays",
    type=click.IntRange(min=1),
    default=DEFAULT_RELAYS,
    show_default=True,
    help="Relays beside the three authorities.",
)
@tor_binary_option
@output_options
def private_network(
    folder: Path, relays: int, binary: str | None, *, output: OutputOptions
) -> None:
    """Run a whole Tor network on this machine, for tests.

    It talks to nobody outside. Prints a file to name with --torrc, so that other commands use this
    network; ends, and removes what it made in DIR, on Ctrl-C.
    """
    from torrent_onion.cli import network

    _run(output, partial(network.serve, folder, relays, binary))


@click.command()
@tor_binary_option
@output_options
def demo(binary: str | None, *, output: OutputOptions) -> None:
    """See it work, without any network: takes under a minute.

    Runs a private Tor network on this machine, shares a folder of sample documents in one process,
    fetches it in another through a real onion service and compares both.
    """
    from torrent_onion.cli import demonstration

    _run(output, partial(demonstration.demo, binary, output.verbose))


COMMANDS = (seed, get, create, show, verify, check, tracker, private_network, demo)
"""In the order in which people meet them; what ``--help`` says of each is in ``program.py`` too."""
