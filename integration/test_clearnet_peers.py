"""Peers outside Tor, through the exit: libtorrent that takes only encrypted handshakes."""

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
