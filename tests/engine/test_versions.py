"""Torrents of version 2 and hybrids, from a .torrent and from a magnet link alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import ContentMaker, MemoryNetwork, tree
from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, TorrentFormat, parse_metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec

PIECE = 32768


def whole(metainfo: Metainfo) -> Metainfo:
    return metainfo


def magnet(metainfo: Metainfo) -> Magnet:
    return Magnet(info_hashes=metainfo.info.info_hashes)


def v2_magnet(metainfo: Metainfo) -> Magnet:
    return Magnet(info_hashes=InfoHashes(v1=None, v2=metainfo.info.info_hashes.v2))


COMBINATIONS = [
    (torrent_format, source_of)
    for torrent_format in TorrentFormat
    for source_of in (whole, magnet, v2_magnet)
    if (torrent_format, source_of) != (TorrentFormat.V1, v2_magnet)  # there is no such hash
]


@pytest.mark.parametrize(("torrent_format", "source_of"), COMBINATIONS)
async def test_every_version_from_every_source(
    network: MemoryNetwork,
    make_content: ContentMaker,
    tmp_path: Path,
    torrent_format: TorrentFormat,
    source_of: Callable[[Metainfo], Metainfo | Magnet],
) -> None:
    content = make_content(tmp_path / "seed")
    created = await create_torrent(content, piece_length=PIECE, torrent_format=torrent_format)
    metainfo = parse_metainfo(created.metainfo.encode())
    address, listener = network.listen(1)
    with trio.fail_after(60):
        async with (
            open_session(dial=network.dial) as seeding,
            open_session(dial=network.dial) as getting,
        ):
            shared = TorrentSpec(metainfo, content.parent, shared_path=content)
            await seeding.add(shared, listener=listener).wait_complete()
            wanted = TorrentSpec(source_of(metainfo), tmp_path / "get", peers=(address,))
            torrent = getting.add(wanted)
            await torrent.wait_complete()
            statistics = torrent.statistics()
            assert statistics.done == statistics.total == metainfo.info.total_length
    assert tree(tmp_path / "get" / content.name) == tree(content)
