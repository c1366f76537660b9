"""Peers outside Tor, through the exit: libtorrent that takes only encrypted handshakes, or that is
named by another."""

from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from integration.conftest import StartCli
from integration.stock_client import PEER_LOG, StockClient, make_torrent
from integration.trees import assert_same_tree, make_tree

FORCED: dict[str, Any] = {
    "in_enc_policy": lt.enc_policy.forced,
    "out_enc_policy": lt.enc_policy.forced,
    "allowed_enc_level": lt.enc_level.rc4,
}
POOR_RATE = 2000
"""Bytes a second at which a peer fetches that is to have next to nothing."""
POOR_BYTES = 1 << 20
"""What it must not have when we have all of four times as much."""

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


def test_a_seed_that_only_another_peer_names(start_cli: StartCli, tmp_path: Path) -> None:
    """By `ut_pex`: libtorrent names whom it is connected to when another peer comes.

    Whom it meets later it would name after a minute.
    """
    content = make_tree(tmp_path / "content", big=4 << 20)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, 0)
    with StockClient() as seeder, StockClient(PEER_LOG) as poor:
        seeder.seed(torrent, content.parent)
        download = poor.add(torrent, tmp_path / "poor")
        download.set_download_limit(POOR_RATE)
        poor.connect(download, seeder)
        getter = start_cli(
            *("get", str(torrent), "--peer", f"127.0.0.1:{poor.port}"),
            *("--dir", str(tmp_path / "get"), "--allow-private-addresses"),
        )
        getter.complete()
        assert download.status().total_done < POOR_BYTES  # it had nearly nothing to give
        assert any("==> PEX_FULL [ added: 1 " in line for line in poor.log())
    assert_same_tree(content, tmp_path / "get" / content.name)
