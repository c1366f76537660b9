"""libtorrent and we: files of one opened by the other, data over real onion services both ways."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt
import pytest

from integration.conftest import StartCli
from integration.running_tor import ControlSocket, RunningTor, publish, running_tor
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

# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass
class Outside:
    """A tor and our hand on it."""

    tor: RunningTor
    control: ControlSocket

    def publish(self, port: int) -> str:
        """Give a port of this machine an onion address; return host and port."""
        host, virtual = publish(self.control, port)
        return f"{host}:{virtual}"

    def virtual_ip(self, onion: str) -> str:
        """An IPv4 address that stands for an onion, for clients that know no names."""
        [mapping] = self.control.ask(f"MAPADDRESS 0.0.0.0={onion}")
        return mapping.partition("=")[0]


@pytest.fixture
def outside(tor_network: PrivateNetwork, tmp_path: Path) -> Iterator[Outside]:
    """A tor that is not ours, for the stock client."""
    with running_tor(tor_network, tmp_path / "tor") as tor, tor.control() as control:
        yield Outside(tor, control)


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
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path, outside: Outside, name: str
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, FORMATS[name])
    with StockClient() as seeder:
        seeder.seed(torrent, content.parent)
        peer = outside.publish(seeder.port)
        getter = start_cli("get", str(torrent), "--peer", peer, "--dir", str(tmp_path / "get"))
        getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_comes_from_libtorrent_too(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path, outside: Outside, name: str
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "theirs.torrent"
    make_torrent(content, torrent, FORMATS[name])
    link = lt.make_magnet_uri(lt.torrent_info(str(torrent)))
    with StockClient() as seeder:
        seeder.seed(torrent, content.parent)
        peer = outside.publish(seeder.port)
        getter = start_cli("get", link, "--peer", peer, "--dir", str(tmp_path / "get"))
        getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("by", ["torrent", "magnet"])
def test_libtorrent_fetches_from_our_onion(
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    outside: Outside,
    by: str,
    name: str,
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "ours.torrent"
    seeder = start_cli("seed", str(content), "--output", str(torrent), "--format", name)
    ready = seeder.wait_event("ready")
    address = outside.virtual_ip(ready["onion"])
    proxy = {
        "proxy_type": lt.proxy_type_t.socks5,
        "proxy_hostname": "127.0.0.1",
        "proxy_port": outside.tor.port("Socks"),
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
