"""``show``: what is in a magnet link or a .torrent file, and what in it could identify somebody."""

from collections.abc import Iterable, Iterator
from itertools import chain

from torrent_onion.cli.sources import read_source
from torrent_onion.cli.telling import telling
from torrent_onion.cli.text import count, printable, size
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import FileEntry, Metainfo
from torrent_onion.protocol.http import describe_dropped, sort_out

_LABEL_WIDTH = 13
_SIZE_WIDTH = 9
_INDENT = "  "


def show(source_text: str, ui: Ui) -> None:
    """Print all of it on stdout.

    Raises:
        RemoteError: It is neither a magnet link nor a .torrent file.
        PathError: It cannot be read.
    """
    source = read_source(source_text)
    if isinstance(source, Magnet):
        ui.result("torrent", _magnet_fields(source), "\n".join(_magnet_lines(source)))
    else:
        ui.result("torrent", _metainfo_fields(source), "\n".join(_metainfo_lines(source)))


def _magnet_lines(magnet: Magnet) -> Iterator[str]:
    yield _line("Magnet link", magnet.name or "(without a name)")
    yield from _hash_lines(magnet.info_hashes)
    yield from _list("Peers", [str(peer) for peer in magnet.peers])
    yield from _list("Trackers", magnet.trackers)
    yield from _list("Web seeds", magnet.web_seeds)
    yield from _not_used(magnet.trackers, magnet.web_seeds)
    if magnet.select_only is not None:
        yield _line("Only files", f"{count(len(magnet.select_only), 'file')} of them (BEP 53)")


def _magnet_fields(magnet: Magnet) -> dict[str, object]:
    return {
        "name": magnet.name,
        **_hash_fields(magnet.info_hashes),
        "peers": [str(peer) for peer in magnet.peers],
        "trackers": [[tracker] for tracker in magnet.trackers],
        "web_seeds": list(magnet.web_seeds),
    }


def _metainfo_lines(metainfo: Metainfo) -> Iterator[str]:
    info = metainfo.info
    files = [file for file in info.files if not file.is_pad]
    yield _line("Torrent", info.name)
    yield _line("Content", f"{count(len(files), 'file')}, {size(info.total_length)}")
    yield _line("Format", info.format.name.lower())
    yield _line("Pieces", f"{info.layout.num_pieces:,} of {info.piece_length:,} bytes")
    yield from _hash_lines(info.info_hashes)
    if info.private:
        yield _line("Private", "yes: only its trackers may name peers")
    for number, tier in enumerate(metainfo.trackers, 1):
        yield from _list(f"Trackers {number}", tier)
    yield from _list("Web seeds", metainfo.web_seeds)
    yield from _not_used(chain.from_iterable(metainfo.trackers), metainfo.web_seeds)
    if metainfo.comment:
        yield _line("Comment", metainfo.comment)
    found = telling(metainfo)
    yield _line("Could identify", ", ".join(found) if found else "nothing beside its content")
    yield ""
    yield from _tree(info.name, files, is_single=info.is_single_file)


def _metainfo_fields(metainfo: Metainfo) -> dict[str, object]:
    info = metainfo.info
    return {
        "name": info.name,
        "format": info.format.name.lower(),
        **_hash_fields(info.info_hashes),
        "total": info.total_length,
        "piece_size": info.piece_length,
        "pieces": info.layout.num_pieces,
        "private": info.private,
        "trackers": [list(tier) for tier in metainfo.trackers],
        "web_seeds": list(metainfo.web_seeds),
        "comment": metainfo.comment,
        "could_identify": telling(metainfo),
        "files": [
            {"path": "/".join(file.path), "length": file.length}
            for file in info.files
            if not file.is_pad
        ],
    }


def _hash_fields(hashes: InfoHashes) -> dict[str, object]:
    return {
        "info_hash": hashes.v1.hex() if hashes.v1 else None,
        "info_hash_v2": hashes.v2.hex() if hashes.v2 else None,
    }


def _hash_lines(hashes: InfoHashes) -> Iterator[str]:
    if hashes.v1:
        yield _line("Info-hash", hashes.v1.hex())
    if hashes.v2:
        yield _line("Info-hash v2", hashes.v2.hex())


def _list(label: str, values: list[str] | tuple[str, ...]) -> Iterator[str]:
    for value in values:
        yield _line(label, value)
        label = ""


def _not_used(trackers: Iterable[str], web_seeds: Iterable[str]) -> Iterator[str]:
    """What of it no other command will ever ask, and why."""
    for what, urls in (("trackers", trackers), ("web seeds", web_seeds)):
        words = describe_dropped(what, sort_out(urls)[1])
        if words is not None:
            yield printable(words)


def _line(label: str, value: str) -> str:
    heading = f"{label}:" if label else ""
    return f"{heading:<{_LABEL_WIDTH + 2}} {printable(value)}"


def _tree(name: str, files: list[FileEntry], *, is_single: bool) -> Iterator[str]:
    """One line a file with its size in front, folders once above what they hold."""
    if is_single:
        yield _entry(files[0].length, printable(name))
        return
    yield _entry(None, f"{printable(name)}/")
    above: tuple[str, ...] = ()
    for file in files:
        *folders, last = file.path
        shared = _common(above, tuple(folders))
        for depth, folder in enumerate(folders[shared:], shared):
            yield _entry(None, f"{_INDENT * (depth + 1)}{printable(folder)}/")
        yield _entry(file.length, f"{_INDENT * (len(folders) + 1)}{printable(last)}")
        above = tuple(folders)


def _entry(length: int | None, words: str) -> str:
    shown = "" if length is None else size(length)
    return f"{shown:>{_SIZE_WIDTH}}  {words}"


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many leading folders two paths share."""
    number = 0
    for here, there in zip(one, other, strict=False):
        if here != there:
            break
        number += 1
    return number
