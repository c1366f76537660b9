"""``create``: hash a file or a folder and write its .torrent."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torrent_onion.cli import text
from torrent_onion.cli.content_options import ContentOptions
from torrent_onion.cli.ui import Ui
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.errors import PathError

_MOST_NAMED = 10
"""Names of what is left out that are shown; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a torrent is made of, and how.

    Args:
        path: A file or a folder.
        torrent_file: Where the .torrent goes, if one is wanted.
        force: Replace that file if it is another one.
        options: What it says.
    """

    path: Path
    torrent_file: Path | None
    force: bool
    options: ContentOptions


def check_output(file: Path, path: Path) -> None:
    """See that a .torrent file can be written, before anything slow begins.

    Args:
        file: The .torrent file.
        path: What it is made of.

    Raises:
        PathError: It cannot be there.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise PathError(f"There is no folder {folder}. Make it, or change --output.")
    if not os.access(folder, os.W_OK):
        raise PathError(f"No permission to write into {folder}. Change --output.")
    if path.is_dir() and path.resolve() in file.resolve().parents:
        raise PathError(
            f"{file} would be in the folder that it is made of, and be shared with it. "
            "Put it elsewhere with --output."
        )


async def create(content: Content, ui: Ui) -> None:
    """Hash, write, and say what was made.

    Raises:
        LocalError: The path cannot be read, or the file not be written.
    """
    metainfo = await make_torrent(content, ui)
    hashes = metainfo.info.info_hashes
    fields = {
        "path": str(content.torrent_file),
        "info_hash": hashes.v1.hex() if hashes.v1 else None,
        "info_hash_v2": hashes.v2.hex() if hashes.v2 else None,
    }
    ui.result("complete", fields, text.printable(str(content.torrent_file)))


async def make_torrent(content: Content, ui: Ui) -> Metainfo:
    """Hash the content with progress, and write its .torrent if one is wanted.

    Raises:
        LocalError: The path cannot be read, or the file not be written.
    """
    options = content.options
    made = await create_torrent(
        content.path,
        torrent_format=TorrentFormat(options.format_name),
        piece_length=options.piece_size,
        trackers=options.trackers,
        web_seeds=options.web_seeds,
        private=options.private,
        comment=options.comment,
        include_hidden=options.include_hidden,
        exclude=options.exclude,
        scanned=partial(ui.scanning, text.printable(content.path.name)),
        progress=ui.hashing,
    )
    if made.left_out:
        ui.warn(_left_out(made.left_out, can_include=not options.include_hidden))
    if content.torrent_file is not None:
        _write(content.torrent_file, made.metainfo.encode(), replace=content.force)
    return made.metainfo


def _left_out(paths: tuple[str, ...], *, can_include: bool) -> str:
    named = text.printable(", ".join(paths[:_MOST_NAMED]))
    rest = len(paths) - _MOST_NAMED
    more = f" and {rest:,} more" if rest > 0 else ""
    way_out = " Use --include-hidden to share hidden files too." if can_include else ""
    return f"Left out: {named}{more}.{way_out}"


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    """Write the file whole or not at all.

    The same content may be written again; other content only with ``replace``.

    Raises:
        PathError: Another file is there.
        StorageError: The disk stands in the way.
    """
    with disk_errors(path):
        if path.exists() and not replace and path.read_bytes() != data:
            raise PathError(f"{path} exists and is another torrent. Add --force to replace it.")
        unfinished = path.with_name(f"{path.name}.part")
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
