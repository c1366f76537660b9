"""libtorrent and we: files of one opened by the other, data and metadata both ways.

Over onion services, and through an exit, behind which libtorrent is an ordinary peer of the
clearnet.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt
import pytest

from integration.conftest import StartCli
from integration.running_tor import OtherTor
from integration.stock_client import PEER_LOG, StockClient, make_torrent
from integration.trees import HALVES, assert_same_tree, make_halves, make_tree, take_half

FORMATS = {
    "v1": lt.create_torrent.v1_only,
    "v2": lt.create_torrent.v2_only,
    "hybrid": 0,
}
WAYS = [
    ("v1", "torrent"),
    ("v1", "v1"),
    ("v2", "torrent"),
    ("v2", "v2"),
    ("hybrid", "torrent"),
    ("hybrid", "v1"),
    ("hybrid", "v2"),
    ("hybrid", "v1 v2"),
]
"""A format, and how it is known to whoever fetches: by the file, or by a link with these hashes."""
MIB = 1 << 20

MakeTree = Callable[..., Path]

by_format = pytest.mark.parametrize("name", FORMATS)
# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def link_to(torrent: Path, known: str) -> str:
    """A magnet link with the hashes that are known, and nothing else."""
    hashes = lt.torrent_info(str(torrent)).info_hashes()
    topics = {"v1": f"urn:btih:{hashes.v1}", "v2": f"urn:btmh:1220{hashes.v2}"}
    return "magnet:?" + "&".join(f"xt={topics[version]}" for version in known.split())


@dataclass(frozen=True)
class StockSeeder:
    """A libtorrent that serves one tree in every format.

    Attributes:
        client: With the log of its peers.
        content: The tree.
        torrents: Files of libtorrent's making, by the format.
        places: ``HOST:PORT`` of it, by the route to it.
    """

    client: StockClient
    content: Path
    torrents: dict[str, Path]
    places: dict[str, str]


@pytest.fixture(scope="module")
def stock_seeder(
    outside: OtherTor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockSeeder]:
    folder = tmp_path_factory.mktemp("stock")
    content = make_tree(folder / "content", big=MIB)
    torrents = {name: folder / f"{name}.torrent" for name in FORMATS}
    with StockClient(PEER_LOG) as client:
        for name, torrent in torrents.items():
            make_torrent(content, torrent, FORMATS[name])
            client.seed(torrent, folder)
        places = {"onion": outside.publish(client.port), "exit": f"127.0.0.1:{client.port}"}
        yield StockSeeder(client, content, torrents, places)


@by_format
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


@pytest.mark.parametrize("route", ["onion", "exit"])
@pytest.mark.parametrize(("name", "known"), WAYS)
def test_we_fetch_from_libtorrent(
    start_cli: StartCli,
    tmp_path: Path,
    common_tor: str,
    stock_seeder: StockSeeder,
    route: str,
    name: str,
    known: str,
) -> None:
    """Metadata too, where a link is all that is known."""
    torrent = stock_seeder.torrents[name]
    source = str(torrent) if known == "torrent" else link_to(torrent, known)
    stock_seeder.client.log()
    getter = start_cli(
        *("get", source, "--peer", stock_seeder.places[route], "--dir", str(tmp_path / "get")),
        "--allow-private-addresses",
        tor=common_tor,
    )
    assert_same_tree(stock_seeder.content, getter.complete())
    assert_fast_extension(stock_seeder.client.log())


@by_format
def test_libtorrent_fetches_from_our_onion(
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    outside: OtherTor,
    common_tor: str,
    name: str,
) -> None:
    content, torrent = content_tree(big=MIB), tmp_path / "ours.torrent"
    options = ("--output", str(torrent), "--format", name)
    ready = start_cli("seed", str(content), *options, tor=common_tor).wait_event("ready")
    proxy = {
        "proxy_type": lt.proxy_type_t.socks5,
        "proxy_hostname": "127.0.0.1",
        "proxy_port": outside.socks_port,
        "proxy_peer_connections": True,
        "proxy_hostnames": True,
    }
    place = (outside.virtual_ip(ready["onion"]), ready["port"])
    for known in (known for of, known in WAYS if of == name):
        folder = tmp_path / known
        with StockClient(proxy | PEER_LOG) as getter:
            if known == "torrent":
                handle = getter.add(torrent, folder)
            else:
                handle = getter.add_magnet(link_to(torrent, known), folder)
            handle.connect_peer(place)
            getter.wait(handle)
            assert_fast_extension(getter.log())
        shutil.rmtree(folder / content.name / ".pad", ignore_errors=True)
        assert_same_tree(content, folder / content.name)


@by_format
def test_each_gives_the_other_half_through_the_exit(
    start_cli: StartCli, tmp_path: Path, common_tor: str, name: str
) -> None:
    """One connection, that we have made, serves both sides."""
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    make_torrent(content, torrent, FORMATS[name])
    ours, theirs = (take_half(content, half, tmp_path / f"with {half}") for half in HALVES)
    with StockClient() as client:
        handle = client.add(torrent, theirs)
        getter = start_cli(
            *("get", str(torrent), "--seed", "--peer", f"127.0.0.1:{client.port}"),
            *("--dir", str(ours), "--allow-private-addresses"),
            tor=common_tor,
        )
        getter.complete()
        client.wait(handle)
    assert_same_tree(content, ours / content.name)
    assert_same_tree(content, theirs / content.name)


def assert_fast_extension(log: list[str]) -> None:
    """libtorrent or we have said what only the fast extension has a message for (BEP 6)."""
    assert any("HAVE_ALL" in line for line in log), "\n".join(log[:50])
