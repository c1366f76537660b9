"""Several circuits to a client that knows nothing of them: to it they are ordinary peers."""

import random
from pathlib import Path

import libtorrent as lt
import pytest
import trio

from integration.running_tor import OtherTor
from integration.stock_client import StockClient, make_torrent
from tor_control.config import TorConfig
from tor_control.controller import open_tor
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import parse_metainfo
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec

PATIENCE = 180.0
SIZE = 24 << 20
"""Bytes: some seconds over one circuit, so that more are worth their while."""
# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("takes_several", [True, False])
async def test_libtorrent_behind_an_onion(
    common_config: TorConfig, outside: OtherTor, tmp_path: Path, *, takes_several: bool
) -> None:
    """Everybody comes from loopback there; it takes one connection from an address, or several."""
    content, file = tmp_path / "shared" / "large.bin", tmp_path / "large.torrent"
    content.parent.mkdir()
    content.write_bytes(random.Random(7).randbytes(SIZE))
    make_torrent(content, file, lt.create_torrent.v1_only)
    most = 0

    async def count(torrent: Torrent) -> None:
        nonlocal most
        while True:
            await trio.sleep(0.05)
            most = max(most, len(torrent.peers))

    with (
        StockClient({"allow_multiple_connections_per_ip": takes_several}) as client,
        trio.fail_after(PATIENCE),
    ):
        await trio.to_thread.run_sync(client.seed, file, content.parent)
        peer = PeerAddress.parse(await trio.to_thread.run_sync(outside.publish, client.port))
        async with (
            open_tor(common_config, lambda _: None) as tor,
            open_session(dial=tor.dial) as session,
            trio.open_nursery() as nursery,
        ):
            spec = TorrentSpec(parse_metainfo(file.read_bytes()), tmp_path / "get", peers=(peer,))
            torrent = session.add(spec)
            nursery.start_soon(count, torrent)
            await torrent.wait_complete()
            nursery.cancel_scope.cancel()
    assert (tmp_path / "get" / content.name).read_bytes() == content.read_bytes()
    assert most > 1 or not takes_several
