"""By packets: where there is no network at all it works; where there is one, only tor uses it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.network_namespaces import Capture, Namespace, namespace, sockets_in
from integration.running_tor import running_tor
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork

MIB = 1 << 20
PATIENCE = 180.0

OPEN = "ControlPort unix:{folder}/control\nSocksPort unix:{folder}/socks\n"
WITH_COOKIE = OPEN + "CookieAuthentication 1\n"

MakeTree = Callable[..., Path]


def assert_is_empty(place: Namespace) -> None:
    """No way out: one interface, which is down, and no routes."""
    links = place.run("ip", "-o", "link", "show").splitlines()
    assert len([link for link in links if "DOWN" not in link]) == 0
    assert place.run("ip", "route", "show", "table", "all") == ""


@pytest.mark.parametrize("lines", [OPEN, WITH_COOKIE], ids=["open", "cookie"])
def test_both_ends_without_any_network(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    lines: str,
) -> None:
    """Each end has its own tor, outside, and reaches it by Unix sockets."""
    content = content_tree(big=2 * MIB)
    with ExitStack() as stack:
        here, there = (stack.enter_context(namespace()) for _ in range(2))
        for place in (here, there):
            assert_is_empty(place)
        folders = [tmp_path / "tor1", tmp_path / "tor2"]
        one, other = (
            f"unix:{stack.enter_context(running_tor(tor_network, folder, lines)).folder}/control"
            for folder in folders
        )
        seeder = start_cli("seed", str(content), tor=one, wrapper=here.wrapper)
        layers = seeder.wait_event("guard")["layers"]
        magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
        getter = start_cli(
            "get", magnet, "--dir", str(tmp_path / "get"), tor=other, wrapper=there.wrapper
        )
        assert_same_tree(content, getter.complete(PATIENCE))
        assert getter.wait() == 0
        assert seeder.interrupt() == 130
        for place in (here, there):
            assert_is_empty(place)
    # Not even the onion service's target is TCP, so nothing of TCP was left open.
    assert "landlock_tcp" not in {layer["layer"] for layer in layers}
    for cli in (seeder, getter):
        assert "the guard refused 0 calls" in cli.stderr()


def test_no_packet_but_tors(start_cli: StartCli, content_tree: MakeTree, tmp_path: Path) -> None:
    """A whole private Tor network, and both ends, alone on a loopback interface."""
    content = content_tree(big=2 * MIB)
    with namespace() as place:
        place.run("ip", "link", "set", "lo", "up")
        capture = Capture(place, tmp_path / "packets")
        place.run("python3", "-c", ONE_DATAGRAM)

        def start(*arguments: str) -> Cli:
            return start_cli(*arguments, tor=None, wrapper=place.wrapper)

        network = start("private-network", str(tmp_path / "network"))
        torrc = network.wait_event("ready", PATIENCE)["torrc"]
        tor = ("--tor", "launch", "--torrc", torrc, "-v")
        seeder = start("seed", str(content), *tor, "--state", str(tmp_path / "one"))
        magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
        fetch = ("get", magnet, "--dir", str(tmp_path / "get"), "--seed")
        getter = start(*fetch, *tor, "--state", str(tmp_path / "other"))
        assert_same_tree(content, getter.complete(PATIENCE))
        getter.wait_event("ready", PATIENCE)
        sockets = sockets_in(place)
        for cli in (getter, seeder, network):
            assert cli.interrupt() == 130
        capture.end()
    assert {socket.program for socket in sockets} == {"tor"}
    ports = {socket.port for socket in sockets if socket.state == "LISTEN"}
    of_tor = "tcp and (" + " or ".join(f"port {port}" for port in sorted(ports)) + ")"
    assert len(capture.packets(of_tor)) > 100
    others = capture.packets(f"not ({of_tor})")
    # Sent above, to see that such things are seen: the datagram, and the answer that none is there.
    assert any(MARK in line for line in others)
    assert all(MARK in line or "udp port 9 unreachable" in line for line in others), others
    for cli in (seeder, getter):
        assert "the guard refused 0 calls" in cli.stderr()


MARK = "127.0.0.1.9: UDP, length 7"
ONE_DATAGRAM = """
import socket
socket.socket(type=socket.SOCK_DGRAM).sendto(b"control", ("127.0.0.1", 9))
"""
