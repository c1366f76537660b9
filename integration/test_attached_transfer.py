"""Folders that cross by way of a tor that runs already, whatever its control port asks for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from integration.conftest import StartCli
from integration.running_tor import hashed, running_tor
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork

PASSWORD = 'a "quoted" \\ password'

UNIX = "ControlPort unix:{folder}/control\nSocksPort unix:{folder}/socks\n"
TCP = "ControlPort 127.0.0.1:auto\nSocksPort 127.0.0.1:auto\n"
COOKIE = "CookieAuthentication 1\n"


@pytest.mark.parametrize(
    ("lines", "environment"),
    [
        (UNIX, {}),
        (UNIX + COOKIE, {}),
        (TCP + COOKIE, {}),
        (TCP + f"HashedControlPassword {hashed(PASSWORD)}\n", {"TOR_CONTROL_PASSWD": PASSWORD}),
    ],
    ids=["unix", "unix cookie", "tcp cookie", "tcp password"],
)
def test_both_ends_attached(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: Callable[..., Path],
    tmp_path: Path,
    lines: str,
    environment: dict[str, str],
) -> None:
    """One tor serves both; it stays when they end."""
    content = content_tree(big=1 << 20)
    with running_tor(tor_network, tmp_path / "tor", lines) as tor:
        place = f"unix:{tor.folder}/control"
        if lines.startswith(TCP):
            place = f"tcp:127.0.0.1:{tor.port('Control')}"
        seeder = start_cli("seed", str(content), tor=place, environment=environment)
        magnet = seeder.wait_event("ready")["magnet"]
        getter = start_cli(
            "get", magnet, "--dir", str(tmp_path / "get"), tor=place, environment=environment
        )
        assert_same_tree(content, getter.complete())
        assert getter.wait() == 0
        assert seeder.interrupt() == 130


def test_a_wrong_password_says_what_to_do(
    tor_network: PrivateNetwork, start_cli: StartCli, tmp_path: Path
) -> None:
    lines = TCP + f"HashedControlPassword {hashed(PASSWORD)}\n"
    (tmp_path / "file").write_text("content")
    with running_tor(tor_network, tmp_path / "tor", lines) as tor:
        place = f"tcp:127.0.0.1:{tor.port('Control')}"
        wrong = {"TOR_CONTROL_PASSWD": "guess"}
        seeder = start_cli("seed", str(tmp_path / "file"), tor=place, environment=wrong)
        assert seeder.wait() == 3
        assert "TOR_CONTROL_PASSWD" in seeder.events[-1]["message"]
