from pathlib import PurePosixPath

import pytest

from tor_control.torrc import Torrc, quoted

FOLDER = PurePosixPath("/state/tor/1")


def torrc(*, onion_only: bool = False, allow_private: bool = False, extra: str = "") -> list[str]:
    made = Torrc(
        control=FOLDER / "control",
        socks=FOLDER / "socks",
        cookie=FOLDER / "cookie",
        pid_file=FOLDER / "tor.pid",
        owner=42,
        onion_only=onion_only,
        allow_private_addresses=allow_private,
        extra=extra,
    )
    return made.text().splitlines()


def test_only_unix_sockets_listen() -> None:
    lines = torrc()
    assert 'ControlPort unix:"/state/tor/1/control"' in lines
    socks = 'SocksPort unix:"/state/tor/1/socks" ExtendedErrors KeepAliveIsolateSOCKSAuth'
    assert socks in lines
    assert [line for line in lines if "Port" in line] == [
        'ControlPort unix:"/state/tor/1/control"',
        socks,
    ]
    assert "CookieAuthentication 1" in lines
    assert "__OwningControllerProcess 42" in lines


def test_onions_only() -> None:
    [socks] = [line for line in torrc(onion_only=True) if line.startswith("SocksPort")]
    assert socks.endswith(" OnionTrafficOnly")


@pytest.mark.parametrize(
    ("allow_private", "extra", "rejects"),
    [
        (False, "", 1),
        (True, "", 1),
        (False, "TestingTorNetwork 1\n", 1),
        (True, "# TestingTorNetwork 1\n", 1),
        (True, "ContactInfo x\n  testingtornetwork 1\n", 0),
    ],
)
def test_private_addresses_on_a_test_network_only(
    *, allow_private: bool, extra: str, rejects: int
) -> None:
    lines = torrc(allow_private=allow_private, extra=extra)
    assert f"ClientRejectInternalAddresses {rejects}" in lines
    assert f"ClientDNSRejectInternalAddresses {rejects}" in lines


def test_the_users_lines_come_last() -> None:
    assert torrc(extra="Bridge 192.0.2.1:1\nUseBridges 1")[-2:] == [
        "Bridge 192.0.2.1:1",
        "UseBridges 1",
    ]


def test_paths_are_quoted() -> None:
    assert quoted(PurePosixPath('/a "b"\\c\nd')) == r'"/a \"b\"\\c\nd"'
