"""What `get` refuses before it opens Tor."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from torrent_onion.cli.getting import read_request
from torrent_onion.cli.program import program
from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import AddressError

OTHER = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion:80"
OWN = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion:12345"
LINK = f"magnet:?xt=urn:btih:{'ab' * 20}"


@pytest.fixture
def torrent(tmp_path: Path) -> Path:
    (tmp_path / "one.txt").write_text("x")
    path = tmp_path / "one.torrent"
    arguments = ["create", str(tmp_path / "one.txt"), "--output", str(path)]
    assert CliRunner().invoke(program, arguments).exit_code == 0
    return path


@pytest.mark.parametrize("trackers", ["", "&tr=udp%3A%2F%2Ftracker.example%3A1"])
def test_a_link_that_names_nobody_is_4(trackers: str, tmp_path: Path) -> None:
    source = LINK + trackers
    result = CliRunner().invoke(program, ["get", source, "--dir", str(tmp_path / "new")])
    assert result.exit_code == 4
    assert "names nobody" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_tracker_that_tor_can_reach_is_enough(tmp_path: Path) -> None:
    source = f"{LINK}&tr=http%3A%2F%2Ftracker.example%2F"
    request = read_request(source, tmp_path, (), timeout=None, keep_serving=False)
    assert request.peers == ()


def test_a_torrent_file_that_names_nobody_is_4(torrent: Path) -> None:
    result = CliRunner().invoke(program, ["get", str(torrent)])
    assert result.exit_code == 4
    assert "--peer" in result.stderr


def test_peers_come_from_the_link_and_the_options(torrent: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    request = read_request(f"{LINK}&x.pe={OWN}", folder, (OTHER,), timeout=None, keep_serving=False)
    assert request.peers == (PeerAddress.parse(OTHER), PeerAddress.parse(OWN))
    assert folder.is_dir()
    request = read_request(str(torrent), folder, (OTHER,), timeout=3.0, keep_serving=True)
    assert request.peers == (PeerAddress.parse(OTHER),)


def test_a_peer_that_cannot_be_one_is_refused(torrent: Path, tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        read_request(str(torrent), tmp_path, ("x.onion:0",), timeout=None, keep_serving=False)


def test_a_folder_that_cannot_be_made_is_a_sentence(torrent: Path) -> None:
    folder = str(torrent / "below a file")
    result = CliRunner().invoke(program, ["get", f"{LINK}&x.pe={OWN}", "--dir", folder])
    assert result.exit_code == 1
    assert "--dir" in result.stderr
