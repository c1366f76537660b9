"""The guard around real commands: what is on, what it does not refuse, and that tor comes back."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.running_tor import running_tor
from integration.trees import assert_same_tree
from tor_control import guard_landlock
from tor_control.private_network import PrivateNetwork

MIB = 1 << 20
PATIENCE = 180.0

BESIDE_UNIX = ["audit_hook", "seccomp", "landlock_files"]
BESIDE_TCP = ["audit_hook", "seccomp", "landlock_tcp", "landlock_files"]

MakeTree = Callable[..., Path]


def layers_of(cli: Cli) -> dict[str, dict[str, Any]]:
    layers = cli.wait_event("guard", PATIENCE)["layers"]
    return {layer["layer"]: layer for layer in layers}


def assert_armed(cli: Cli, expected: list[str]) -> None:
    """All layers that this kernel has are on, for every thread."""
    layers = layers_of(cli)
    assert list(layers) == expected
    assert layers["audit_hook"]["active"]
    if guard_landlock.abi() > 0:
        assert layers["landlock_files"]["active"]
        # Were there a thread that ran before, this would say so.
        assert layers["landlock_files"]["reason"] == ""
    if layers["seccomp"]["active"]:
        for task in Path(f"/proc/{cli.process.pid}/task").iterdir():
            status = dict(
                line.split(":\t", 1) for line in (task / "status").read_text().splitlines()
            )
            assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1"), status["Name"]


def assert_nothing_was_refused(*clis: Cli) -> None:
    for cli in clis:
        assert "the guard refused 0 calls" in cli.stderr()


def tor_of(state: Path) -> int:
    return int((state / "tor/1/tor.pid").read_text())


def test_a_tor_of_our_own(start_cli: StartCli, content_tree: MakeTree, tmp_path: Path) -> None:
    content = content_tree(big=2 * MIB)
    seeder = start_cli("seed", str(content), "--output", str(tmp_path / "x.torrent"))
    assert_armed(seeder, BESIDE_UNIX)
    magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"), "--seed")
    assert_armed(getter, BESIDE_UNIX)
    assert_same_tree(content, getter.complete(PATIENCE))
    for cli in (getter, seeder):
        assert cli.interrupt() == 130
    assert_nothing_was_refused(seeder, getter)


@pytest.mark.parametrize("has_cookie", [False, True])
def test_a_tor_that_has_tcp_only(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    *,
    has_cookie: bool,
) -> None:
    content = content_tree(big=2 * MIB)
    lines = "ControlPort 127.0.0.1:auto\nSocksPort 127.0.0.1:auto\n"
    lines += "CookieAuthentication 1\n" if has_cookie else ""
    with running_tor(tor_network, tmp_path / "tor", lines) as tor:
        place = f"tcp:127.0.0.1:{tor.port('Control')}"
        seeder = start_cli("seed", str(content), tor=place)
        assert_armed(seeder, BESIDE_TCP)
        magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
        getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"), tor=place)
        assert_same_tree(content, getter.complete(PATIENCE))
        assert getter.wait() == 0
        assert seeder.interrupt() == 130
    assert_nothing_was_refused(seeder, getter)


def test_a_killed_tor_comes_back_to_a_process_that_may_start_nothing(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree()
    seeder = start_cli("seed", str(content))
    magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
    for _ in range(2):
        before = tor_of(tmp_path / "state0")
        os.kill(before, signal.SIGKILL)
        seeder.wait_event("tor", where=lambda event: event["phase"] == "lost")
        seeder.wait_event("tor", PATIENCE, where=lambda event: event["phase"] == "restored")
        assert tor_of(tmp_path / "state0") != before
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    assert_same_tree(content, getter.complete(PATIENCE))
    assert seeder.interrupt() == 130
    assert_nothing_was_refused(seeder)


def test_a_torrent_that_is_none_is_told_at_once(start_cli: StartCli, tmp_path: Path) -> None:
    """It is read when the guard is armed, and not only when Tor has reached its network."""
    (tmp_path / "broken.torrent").write_bytes(b"d8:announce3:abce")
    getter = start_cli("get", str(tmp_path / "broken.torrent"), "--dir", str(tmp_path / "get"))
    assert getter.wait() == 1
    names = [event["event"] for event in getter.events]
    assert names.index("guard") < names.index("error")
    percents = [event["percent"] for event in getter.events if event["event"] == "tor"]
    assert 100 not in percents


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Those of pytest are too long for what has sockets in it."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_state_folder_without_room_for_sockets(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: MakeTree,
    tmp_path: Path,
    short_folder: Path,
) -> None:
    content = content_tree()
    state = tmp_path / ("with blanks and long " * 8)
    options = ("--tor", "launch", "--torrc", str(tor_network.torrc), "--state", str(state), "-v")
    environment = {"XDG_RUNTIME_DIR": str(short_folder)}
    for number, way_to_end in enumerate((signal.SIGINT, signal.SIGKILL)):
        seeder = start_cli("seed", str(content), *options, tor=None, environment=environment)
        assert_armed(seeder, BESIDE_UNIX)
        magnet = seeder.wait_event("ready", PATIENCE)["magnet"]
        [sockets] = short_folder.iterdir()
        assert {"control", "socks"} < {entry.name for entry in sockets.iterdir()}
        getter = start_cli("get", magnet, "--dir", str(tmp_path / f"get{number}"))
        assert_same_tree(content, getter.complete(PATIENCE))
        keeper = parent_of(tor_of(state))
        seeder.process.send_signal(way_to_end)
        seeder.wait()
        wait_gone(keeper)
        assert list(short_folder.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(
    tor_network: PrivateNetwork, start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree()
    slot = tmp_path / "state/tor/1"
    options = ("--tor", "launch", "--torrc", str(tor_network.torrc), "-v")
    for _ in range(2):
        seeder = start_cli(
            "seed", str(content), *options, "--state", str(tmp_path / "state"), tor=None
        )
        seeder.wait_event("ready", PATIENCE)
        assert len(list(slot.glob("to-*"))) == 1
        keeper = parent_of(tor_of(tmp_path / "state"))
        seeder.kill()
        wait_gone(keeper)
        assert len(list(slot.glob("to-*"))) == 1


def test_check_says_what_is_on(start_cli: StartCli) -> None:
    check = start_cli("check")
    step = check.wait_event("check", where=lambda event: event["step"] == "guard")
    assert step["ok"]
    assert "Python audit hook" in step["detail"]
    assert check.wait() == 0
    assert_nothing_was_refused(check)


@pytest.mark.parametrize("runs_already", [False, True])
def test_check_tries_what_must_not_work(
    tor_network: PrivateNetwork, start_cli: StartCli, tmp_path: Path, *, runs_already: bool
) -> None:
    """With a tor of our own, and with one that is reached over TCP."""
    with ExitStack() as stack:
        place = "launch"
        if runs_already:
            lines = "ControlPort 127.0.0.1:auto\nSocksPort 127.0.0.1:auto\n"
            tor = stack.enter_context(running_tor(tor_network, tmp_path / "tor", lines))
            place = f"tcp:127.0.0.1:{tor.port('Control')}"
        check = start_cli("check", "--leaks", tor=place)
        assert check.wait() == 0
    leaks = {event["attempt"]: event for event in check.events if event["event"] == "leak"}
    assert len(leaks) == 21
    assert all(leak["refused"] for leak in leaks.values())
    assert all(event["ok"] for event in check.events if event["event"] == "check")
    assert_nothing_was_refused(check)


def test_a_tracker(start_cli: StartCli, content_tree: MakeTree, tmp_path: Path) -> None:
    folder = tmp_path / "tracker"
    folder.mkdir()
    files = ("--key", str(folder / "key"), "--database", str(folder / "database"))
    tracker = start_cli("tracker", *files)
    assert_armed(tracker, BESIDE_UNIX)
    announce = tracker.wait_event("ready", PATIENCE)["announce"]
    seeder = start_cli("seed", str(content_tree()), "--tracker", announce)
    seeder.wait_event("ready", PATIENCE)
    tracker.wait_event("tracker", PATIENCE, where=lambda event: event["onions"] >= 1)
    for cli in (seeder, tracker):
        assert cli.interrupt() == 130
    assert_nothing_was_refused(tracker, seeder)


def status_of(pid: int) -> list[str]:
    """What /proc says after the name: the state, then the parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["Z"]


def parent_of(pid: int) -> int:
    return int(status_of(pid)[1])


def wait_gone(pid: int) -> None:
    """Wait for the keeper, which ends tor first and then itself; nobody may wait for it then."""
    deadline = time.monotonic() + 10
    while status_of(pid)[0] != "Z":
        assert time.monotonic() < deadline, "the keeper is still there"
        time.sleep(0.02)
