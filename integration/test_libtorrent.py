"""Torrents and bytes exchanged with libtorrent, the engine of qBittorrent and Deluge."""

from collections.abc import Callable
from pathlib import Path

import libtorrent
import pytest

from integration.conftest import StartCli
from integration.libtorrent_peer import make_torrent, seeding
from integration.running_tor import publish, running_tor
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork

MakeTree = Callable[..., Path]

# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_what_is_made_here_is_the_same_torrent_there(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree(big=3 << 20)
    file = tmp_path / "made.torrent"
    made = start_cli(
        "create", str(content), "--output", str(file), "--format", "v1", tor=None
    ).wait_event("complete")
    info = libtorrent.torrent_info(str(file))
    assert str(info.info_hashes().v1) == made["info_hash"]
    assert info.name() == content.name
    files = {info.files().file_path(n): info.files().file_size(n) for n in range(info.num_files())}
    assert files == {
        str(path.relative_to(content.parent)): path.stat().st_size
        for path in content.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("by", ["file", "magnet"])
def test_from_a_libtorrent_seeder_behind_an_onion(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    by: str,
) -> None:
    """Its .torrent, its metadata, its pieces; ours is the way through Tor."""
    content = content_tree(big=4 << 20)
    torrent = make_torrent(content)
    file = tmp_path / "theirs.torrent"
    file.write_bytes(torrent)
    link = libtorrent.make_magnet_uri(libtorrent.torrent_info(str(file)))
    with (
        running_tor(tor_network, tmp_path / "tor") as tor,
        tor.control() as control,
        seeding(torrent, content) as port,
    ):
        host, virtual = publish(control, port)
        source = (
            (str(file), "--peer", f"{host}:{virtual}")
            if by == "file"
            else (f"{link}&x.pe={host}:{virtual}",)
        )
        getter = start_cli("get", *source, "--dir", str(tmp_path / "get"))
        assert_same_tree(content, getter.complete())
        assert getter.wait() == 0
