"""What tor itself sees of us: every torrent on circuits of its own."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stem.control import EventType

from integration.conftest import StartCli
from integration.plain_tor import PlainTor
from integration.trees import assert_same_tree, make_tree
from tor_control.private_network import PrivateNetwork

SOCKS_USER = "<torS0X>0"
PASSWORD = "correct horse"


@pytest.fixture
def plain_tor(tor_network: PrivateNetwork, tmp_path: Path) -> Iterator[PlainTor]:
    tor = PlainTor(tor_network, tmp_path / "tor")
    yield tor
    tor.close()


class Watch:
    """Which circuits each isolation token was seen on, and which onion each asked for."""

    def __init__(self, tor: PlainTor) -> None:
        self.circuits: defaultdict[str, set[str]] = defaultdict(set)
        self.targets: defaultdict[str, set[str]] = defaultdict(set)
        self.users: set[str] = set()
        self._lock = threading.Lock()
        tor.controller.add_event_listener(self._seen, EventType.STREAM)

    def _seen(self, event: Any) -> None:
        words = event.keyword_args
        token = words.get("SOCKS_PASSWORD")
        if token is None or event.status != "SUCCEEDED":
            return
        with self._lock:
            self.users.add(words.get("SOCKS_USERNAME"))
            self.circuits[token].add(event.circ_id)
            self.targets[token].add(event.target)


def test_two_torrents_share_no_circuit(
    start_cli: StartCli, plain_tor: PlainTor, tmp_path: Path
) -> None:
    watch = Watch(plain_tor)
    contents = [make_tree(tmp_path / f"from {n}" / f"shared {n}", seed=n) for n in (1, 2)]
    seeders = [start_cli("seed", str(content)) for content in contents]
    links = [seeder.wait_event("ready")["magnet"] for seeder in seeders]
    place = f"unix:{plain_tor.control}"
    getters = [start_cli("get", link, "--dir", str(tmp_path / "get"), tor=place) for link in links]
    for getter, content in zip(getters, contents, strict=True):
        getter.complete()
        assert_same_tree(content, tmp_path / "get" / content.name)
    assert watch.users == {SOCKS_USER}
    tokens = list(watch.circuits)
    assert len(tokens) >= 2
    assert all(len(token) >= 32 for token in tokens)
    seen: set[str] = set()
    for token in tokens:
        assert not seen & watch.circuits[token], "a circuit carried two torrents"
        seen |= watch.circuits[token]
        assert len(watch.targets[token]) == 1, "one token asked for two peers' torrents"


def test_the_same_torrent_again_uses_other_circuits(
    start_cli: StartCli, plain_tor: PlainTor, tmp_path: Path
) -> None:
    watch = Watch(plain_tor)
    content = make_tree(tmp_path / "shared")
    link = start_cli("seed", str(content)).wait_event("ready")["magnet"]
    for run in ("first", "second"):
        getter = start_cli(
            "get", link, "--dir", str(tmp_path / run), tor=f"unix:{plain_tor.control}"
        )
        getter.complete()
        getter.wait()
    first, second = watch.circuits.values()
    assert not first & second


@pytest.mark.parametrize("control", ["unix", "tcp"])
@pytest.mark.parametrize("key", ["cookie", "password"])
def test_seeding_and_fetching_through_a_tor_that_is_not_ours(
    start_cli: StartCli, tor_network: PrivateNetwork, tmp_path: Path, control: str, key: str
) -> None:
    tor = PlainTor(tor_network, tmp_path / "tor", password=PASSWORD if key == "password" else None)
    try:
        place = f"unix:{tor.control}" if control == "unix" else f"tcp:127.0.0.1:{tor.control_port}"
        environment = {"TOR_CONTROL_PASSWD": f'"{PASSWORD}"'} if key == "password" else {}
        content = make_tree(tmp_path / "shared")
        seeder = start_cli("seed", str(content), tor=place, environment=environment)
        link = seeder.wait_event("ready")["magnet"]
        getter = start_cli(
            "get", link, "--dir", str(tmp_path / "get"), tor=place, environment=environment
        )
        getter.complete()
        assert_same_tree(content, tmp_path / "get" / content.name)
    finally:
        tor.close()
