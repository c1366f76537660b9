"""``verify``: compare data on disk with a .torrent file, file by file."""

from pathlib import Path

from torrent_onion.cli import text
from torrent_onion.cli.sources import read_torrent_file
from torrent_onion.cli.ui import Ui
from torrent_onion.engine.verifying import check_data
from torrent_onion.errors import LocalError


async def verify(torrent_file: Path, folder: Path, ui: Ui) -> None:
    """Hash what is there and name what is not right.

    Raises:
        LocalError: Not everything is there and right.
        RemoteError: The .torrent file is none.
    """
    metainfo = read_torrent_file(torrent_file)
    info = metainfo.info
    found = await check_data(metainfo, folder, progress=ui.hashing)
    for path in found.bad:
        _tell(path, "bad", ui)
    for path in found.missing:
        _tell(path, "missing", ui)
    wrong = len(found.bad) + len(found.missing)
    files = sum(1 for entry in info.files if not entry.is_pad)
    if wrong:
        raise LocalError(
            f"{wrong} of {text.count(files, 'file')} are not as they should be. "
            "Fetch them again with `torrent-onion get`."
        )
    ui.result(
        "complete",
        {"path": str(found.path), "files": files},
        f"All of it is right: {text.count(files, 'file')}, {text.size(info.total_length)}.",
    )


def _tell(path: Path, state: str, ui: Ui) -> None:
    name = str(path)
    ui.result("file", {"path": name, "state": state}, f"{state:<9}{text.printable(name)}")
