from pathlib import Path

import pytest

from tor_control.attach import (
    System,
    detect_system,
    is_this_users,
    require_near,
    usual_places,
)
from tor_control.endpoints import TcpEndpoint, UnixEndpoint
from tor_control.errors import InvalidEndpoint


def release(root: Path, text: str) -> None:
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text(text)


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('NAME="Debian GNU/Linux"\nID=debian\n', System.OTHER),
        ('NAME="Details"\nID=detailstails\n', System.OTHER),
        ('NAME="Debian GNU/Linux"\nID=debian\nTAILS_PRODUCT_NAME="Tails"\n', System.TAILS),
        ('NAME="Tails"\nVERSION="6"\n', System.TAILS),
        ('ID="tails"\n', System.TAILS),
    ],
)
def test_systems_are_told_by_their_release(tmp_path: Path, text: str, system: System) -> None:
    release(tmp_path, text)
    assert detect_system(tmp_path) is system


def test_a_system_without_a_release(tmp_path: Path) -> None:
    assert detect_system(tmp_path) is System.OTHER


def test_whonix_is_told_by_its_mark(tmp_path: Path) -> None:
    mark = tmp_path / "usr/share/anon-ws-base-files/workstation"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert detect_system(tmp_path) is System.WHONIX


def test_where_a_tor_may_be() -> None:
    assert usual_places(System.TAILS) == (TcpEndpoint("127.0.0.1", 951),)
    assert usual_places(System.OTHER)[0] == UnixEndpoint("/run/tor/control")
    assert usual_places(System.OTHER)[-1] == TcpEndpoint("127.0.0.1", 9151)
    for system in System:
        for place in usual_places(system):
            require_near(place)


@pytest.mark.parametrize("host", ["192.0.2.1", "10.152.152.10", "0.0.0.0", "2001:db8::1"])
def test_other_machines_are_refused(host: str) -> None:
    with pytest.raises(InvalidEndpoint, match="another machine"):
        require_near(TcpEndpoint(host, 9051))


def test_only_a_tor_of_this_user_can_reach_our_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = tmp_path / "control"
    control.touch()
    assert is_this_users(UnixEndpoint(str(control)))
    monkeypatch.setattr("os.geteuid", lambda: control.stat().st_uid + 1)
    assert not is_this_users(UnixEndpoint(str(control)))
    assert not is_this_users(UnixEndpoint(str(tmp_path / "missing")))
    assert not is_this_users(TcpEndpoint("127.0.0.1", 9051))
