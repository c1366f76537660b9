"""Peers outside Tor, through the exit: encrypted handshakes and peer exchange with libtorrent."""

from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from integration.conftest import StartCli
from integration.stock_client import StockClient, make_torrent
from integration.trees import assert_same_tree, make_tree

FORCED: dict[str, Any] = {
    "in_enc_policy": lt.enc_policy.forced,
    "out_enc_policy": lt.enc_policy.forced,
    "allowed_enc_level": lt.enc_level.rc4,
}

# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_peer_that_takes_only_encrypted_handshakes(start_cli: StartCli, tmp_path: Path) -> None:
    content = make_tree(tmp_path / "content", big=1 << 20)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, 0)
    with StockClient(FORCED) as seeder:
        seeder.seed(torrent, content.parent)
        getter = start_cli(
            "get",
            str(torrent),
            *("--peer", f"127.0.0.1:{seeder.port}"),
            *("--dir", str(tmp_path / "get")),
            "--allow-private-addresses",
        )
        getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


def test_peers_outside_tor_name_each_other(start_cli: StartCli, tmp_path: Path) -> None:
    """One that is slow and has nearly nothing is known; it names the seeder by ut_pex."""
    content = make_tree(tmp_path / "content", big=4 << 20)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, 0)
    with StockClient() as seeder, StockClient({"download_rate_limit": 2000}) as known:
        seeder.seed(torrent, content.parent)
        handle = known.add(torrent, tmp_path / "known")
        handle.connect_peer(("127.0.0.1", seeder.port))
        getter = start_cli(
            "get",
            str(torrent),
            *("--peer", f"127.0.0.1:{known.port}"),
            *("--dir", str(tmp_path / "get")),
            "--allow-private-addresses",
        )
        getter.complete()
        assert handle.status().progress < 0.5, "the data did not come from the seeder"
    assert_same_tree(content, tmp_path / "get" / content.name)
