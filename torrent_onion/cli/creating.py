"""``create``: hash a file or a folder and write its .torrent."""

from dataclasses import dataclass
from pathlib import Path

from torrent_onion.cli import text
from torrent_onion.cli.ui import Ui
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_metainfo
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.errors import PathError

_FORMATS = {"v1": TorrentFormat.V1, "v2": TorrentFormat.V2, "hybrid": TorrentFormat.HYBRID}


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What the user wants written.

    Args:
        path: A file or a folder.
        torrent_file: Where the .torrent goes.
        format_name: ``v1``, ``v2`` or ``hybrid``.
        piece_size: Bytes; None chooses.
        trackers: Announce URLs, each a tier of its own.
        force: Replace the file if it is there.
    """

    path: Path
    torrent_file: Path
    format_name: str
    piece_size: int | None
    trackers: tuple[str, ...]
    force: bool


async def create(request: CreateRequest, ui: Ui) -> None:
    """Hash, write, and tell what was made.

    Raises:
        LocalError: The path cannot be read, or the file not be written.
    """
    metainfo = await hash_path(
        request.path,
        ui,
        torrent_format=_FORMATS[request.format_name],
        piece_size=request.piece_size,
        trackers=request.trackers,
    )
    write_torrent(request.torrent_file, metainfo.encode(), replace=request.force)
    hashes = metainfo.info.info_hashes
    fields: dict[str, object] = {"path": str(request.torrent_file)}
    if hashes.v1:
        fields["info_hash"] = hashes.v1.hex()
    if hashes.v2:
        fields["info_hash_v2"] = hashes.v2.hex()
    ui.result("complete", fields, text.printable(str(request.torrent_file)))


async def hash_path(
    path: Path,
    ui: Ui,
    *,
    torrent_format: TorrentFormat = TorrentFormat.V1,
    piece_size: int | None = None,
    trackers: tuple[str, ...] = (),
) -> Metainfo:
    """Hash what is at the path, with progress."""
    return await create_metainfo(
        path,
        format=torrent_format,
        piece_length=piece_size,
        trackers=[[tracker] for tracker in trackers],
        progress=ui.hashing,
    )


def write_torrent(path: Path, data: bytes, *, replace: bool) -> None:
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
