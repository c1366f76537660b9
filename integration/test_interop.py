"""libtorrent and we: files of one opened by the other, data over real onion services both ways."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import libtorrent as lt
import pytest

from integration.conftest import StartCli
from integration.plain_tor import PlainTor
from integration.stock_client import StockClient, make_torrent
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork

FORMATS = {
    "v1": lt.create_torrent.v1_only,
    "v2": lt.create_torrent.v2_only,
    "hybrid": 0,
}
MIB = 1 << 20

MakeTree = Callable[..., Path]


@pytest.fixture(scope="module")
def plain_tor(
    tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlainTor]:
    tor = PlainTor(tor_network, tmp_path_factory.mktemp("plain") / "tor")
    yield tor
    tor.close()


@pytest.mark.parametrize("name", FORMATS)
def test_a_torrent_made_here_has_the_same_hashes_in_libtorrent(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path, name: str
) -> None:
    torrent = tmp_path / "made here.torrent"
    creator = start_cli(
        "create", str(content_tree(big=MIB)), "--output", str(torrent), "--format", name, tor=None
    )
    event = creator.wait_event("complete")
    hashes = lt.torrent_info(str(torrent)).info_hashes()
    assert event.get("info_hash") == (str(hashes.v1) if hashes.has_v1() else None)
    assert event.get("info_hash_v2") == (str(hashes.v2) if hashes.has_v2() else None)


@pytest.mark.parametrize("name", FORMATS)
def test_a_torrent_of_libtorrent_from_libtorrent_behind_an_onion(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path, plain_tor: PlainTor, name: str
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, FORMATS[name])
    with StockClient() as seeder:
        seeder.seed(torrent, content.parent)
        peer = f"{plain_tor.publish(seeder.port)}:6881"
        getter = start_cli("get", str(torrent), "--peer", peer, "--dir", str(tmp_path / "get"))
        getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_comes_from_libtorrent_too(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path, plain_tor: PlainTor, name: str
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, FORMATS[name])
    link = lt.make_magnet_uri(lt.torrent_info(str(torrent)))
    with StockClient() as seeder:
        seeder.seed(torrent, content.parent)
        peer = f"{plain_tor.publish(seeder.port)}:6881"
        getter = start_cli("get", link, "--peer", peer, "--dir", str(tmp_path / "get"))
        getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


@pytest.mark.parametrize("by", ["torrent", "magnet"])
def test_libtorrent_fetches_from_our_onion(
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    plain_tor: PlainTor,
    by: str,
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "ours.torrent"
    seeder = start_cli("seed", str(content), "--output", str(torrent))
    ready = seeder.wait_event("ready")
    reply = plain_tor.controller.msg(f"MAPADDRESS 0.0.0.0={ready['onion']}")
    address = str(reply).partition("=")[0].strip()
    proxy = {
        "proxy_type": lt.proxy_type_t.socks5,
        "proxy_hostname": "127.0.0.1",
        "proxy_port": plain_tor.socks_port,
        "proxy_peer_connections": True,
        "proxy_hostnames": True,
    }
    with StockClient(proxy) as getter:
        if by == "torrent":
            handle = getter.add(torrent, tmp_path / "get")
        else:
            handle = getter.add_magnet(ready["magnet"].partition("&x.pe=")[0], tmp_path / "get")
        handle.connect_peer((address, ready["port"]))
        getter.wait(handle)
    shutil.rmtree(tmp_path / "get" / content.name / ".pad", ignore_errors=True)
    assert_same_tree(content, tmp_path / "get" / content.name)
