"""aria2 and Transmission and we: through an exit, over our onion and over theirs.

Transmission looks at who wants what every 10 seconds only, so its tests take that long.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import libtorrent as lt
import pytest

from integration.command_line import Event
from integration.conftest import StartCli
from integration.network_namespaces import namespace
from integration.onion_forwarder import forwarder, tracker_of_one
from integration.running_tor import OtherTor
from integration.stock_client import make_torrent
from integration.stock_programs import StockProgram, aria2, transmission, transmission_version
from integration.stock_servers import needs
from integration.trees import HALVES, make_halves, take_half, wait_same_tree
from torrent_onion.core.metainfo import parse_metainfo

V1, HYBRID = lt.create_torrent.v1_only, 0

with_aria2 = needs("aria2c")
with_transmission = needs("transmission-daemon")
each_program = pytest.mark.parametrize(
    "program",
    [pytest.param(aria2, marks=with_aria2), pytest.param(transmission, marks=with_transmission)],
)
reads_hybrids = pytest.mark.skipif(
    transmission_version() < 4, reason="Transmission opens hybrid torrents from version 4 on"
)
# What libtorrent calls deprecated changes with each of its versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("program", "form"),
    [
        pytest.param(aria2, V1, marks=with_aria2),  # up to 1.37 it miscounts a hybrid's hash
        pytest.param(transmission, V1, marks=with_transmission),
        pytest.param(transmission, HYBRID, marks=[with_transmission, reads_hybrids]),
    ],
    ids=["aria2 v1", "transmission v1", "transmission hybrid"],
)
def test_each_gives_the_other_half_through_the_exit(
    start_cli: StartCli, tmp_path: Path, common_tor: str, program: StockProgram, form: int
) -> None:
    """One connection, that we have made, serves both sides. They know the v1 half of a hybrid."""
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    make_torrent(content, torrent, form)
    ours, theirs = (take_half(content, half, tmp_path / f"with {half}") for half in HALVES)
    with program(torrent, theirs) as port:
        getter = start_cli(
            *("get", str(torrent), "--seed", "--peer", f"127.0.0.1:{port}"),
            *("--dir", str(ours), "--allow-private-addresses"),
            tor=common_tor,
        )
        getter.complete()
        wait_same_tree(content, theirs / content.name)
    wait_same_tree(content, ours / content.name)


@each_program
def test_metadata_and_data_from_one_behind_an_onion(
    start_cli: StartCli,
    tmp_path: Path,
    common_tor: str,
    outside: OtherTor,
    program: StockProgram,
) -> None:
    content, torrent = make_halves(tmp_path / "theirs" / "content"), tmp_path / "x.torrent"
    make_torrent(content, torrent, V1)
    link = f"magnet:?xt=urn:btih:{lt.torrent_info(str(torrent)).info_hash()}"
    with program(torrent, content.parent) as port:
        options = ("--peer", outside.publish(port), "--dir", str(tmp_path / "get"))
        start_cli("get", link, *options, tor=common_tor).complete()
    wait_same_tree(content, tmp_path / "get" / content.name)


@with_aria2
def test_aria2_fetches_from_our_onion(
    start_cli: StartCli, tmp_path: Path, common_tor: str, outside: OtherTor
) -> None:
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    folder = tmp_path / "get"
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ready = seed(start_cli, content, torrent, common_tor)
    with way_to(ready, outside, torrent, *listeners), aria2(torrent, folder):
        wait_same_tree(content, folder / content.name)


@with_transmission
def test_transmission_fetches_from_our_onion(
    start_cli: StartCli, tmp_path: Path, common_tor: str, outside: OtherTor
) -> None:
    """It never dials 127.0.0.1, so it runs in a network of its own with another address."""
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    folder = tmp_path / "get"
    ready = seed(start_cli, content, torrent, common_tor)
    with namespace() as place:
        listeners = [place.listen(host) for host in ("10.9.9.1", "10.9.9.2")]
        with (
            way_to(ready, outside, torrent, *listeners),
            transmission(torrent, folder, place.wrapper),
        ):
            wait_same_tree(content, folder / content.name)


def seed(start_cli: StartCli, content: Path, torrent: Path, tor: str) -> Event:
    """Serve a folder; return what is said when that works."""
    options = ("--format", "v1", "--output", str(torrent))
    return start_cli("seed", str(content), *options, tor=tor).wait_event("ready")


@contextmanager
def way_to(
    ready: Event,
    outside: OtherTor,
    torrent: Path,
    peers: socket.socket,
    announces: socket.socket,
) -> Iterator[None]:
    """Put a tracker into a .torrent that names what leads to our onion."""
    with (
        tracker_of_one(announces, peers) as url,
        forwarder(peers, outside.socks_port, ready["onion"], ready["port"]),
    ):
        metainfo = parse_metainfo(torrent.read_bytes())
        torrent.write_bytes(replace(metainfo, trackers=((url,),)).encode())
        yield
