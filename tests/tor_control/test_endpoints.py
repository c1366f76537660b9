import pytest
from hypothesis import given
from hypothesis import strategies as st

from tor_control.endpoints import (
    TcpEndpoint,
    TorEnvironment,
    UnixEndpoint,
    parse_endpoint,
    parse_environment,
    parse_listeners,
    parse_socks_ports,
)
from tor_control.errors import InvalidEndpoint
from tor_control.secret import Secret


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:127.0.0.1:9051", TcpEndpoint("127.0.0.1", 9051)),
        ("tcp:localhost:1", TcpEndpoint("127.0.0.1", 1)),
        ("tcp:[::1]:65535", TcpEndpoint("::1", 65535)),
        ("unix:/run/tor/control", UnixEndpoint("/run/tor/control")),
        ("unix:/a path/with:colon", UnixEndpoint("/a path/with:colon")),
    ],
)
def test_endpoints_are_read(text: str, endpoint: TcpEndpoint | UnixEndpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp:",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:+1",
        "tcp:127.0.0.1:\u0661",
        "tcp:::1:9051",
        "tcp:example.org:9051",
        "tcp:127.1:9051",
        "unix:relative/path",
        "unix:",
        "unix:/nul\0byte",
        "http:127.0.0.1:80",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidEndpoint):
        parse_endpoint(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for prefix in ("", "tcp:", "unix:/", "tcp:127.0.0.1:"):
        try:
            endpoint = parse_endpoint(prefix + text)
        except InvalidEndpoint:
            continue
        assert parse_endpoint(str(endpoint)) == endpoint


def test_loopback_is_known() -> None:
    assert TcpEndpoint("127.0.0.1", 1).is_loopback
    assert TcpEndpoint("127.8.9.1", 1).is_loopback
    assert TcpEndpoint("::1", 1).is_loopback
    assert not TcpEndpoint("10.152.152.10", 1).is_loopback
    assert not TcpEndpoint("0.0.0.0", 1).is_loopback


def test_nothing_in_the_environment() -> None:
    assert parse_environment({}) == TorEnvironment()
    assert parse_environment({"TOR_CONTROL_PORT": "", "TOR_SOCKS_HOST": ""}) == TorEnvironment()


def test_ports_in_the_environment() -> None:
    environment = parse_environment(
        {
            "TOR_CONTROL_HOST": "127.0.0.1",
            "TOR_CONTROL_PORT": "9151",
            "TOR_SOCKS_PORT": "9150",
            "TOR_CONTROL_PASSWD": r'"two \"words\""',
            "TOR_CONTROL_COOKIE_AUTH_FILE": "/run/cookie",
        }
    )
    assert environment.control == TcpEndpoint("127.0.0.1", 9151)
    assert environment.socks == TcpEndpoint("127.0.0.1", 9150)
    assert environment.password == Secret(b'two "words"')
    assert environment.cookie_file == "/run/cookie"


def test_a_host_alone_means_the_usual_port() -> None:
    environment = parse_environment({"TOR_CONTROL_HOST": "10.0.0.1", "TOR_SOCKS_HOST": "10.0.0.1"})
    assert environment.control == TcpEndpoint("10.0.0.1", 9051)
    assert environment.socks == TcpEndpoint("10.0.0.1", 9050)


def test_a_unix_socket_in_the_environment_goes_first() -> None:
    environment = parse_environment(
        {
            "TOR_CONTROL_IPC_PATH": "/run/c.sock",
            "TOR_CONTROL_PORT": "9051",
            "TOR_SOCKS_IPC_PATH": "file:///run/s.sock",
        }
    )
    assert environment.control == UnixEndpoint("/run/c.sock")
    assert environment.socks == UnixEndpoint("/run/s.sock")


def test_a_password_is_not_shown() -> None:
    environment = parse_environment({"TOR_CONTROL_PASSWD": "hunter2"})
    assert environment.password == Secret(b"hunter2")
    assert "hunter2" not in repr(environment)


@pytest.mark.parametrize("variable", ["TOR_CONTROL_PORT", "TOR_SOCKS_PORT"])
def test_nonsense_in_the_environment_is_refused(variable: str) -> None:
    with pytest.raises(InvalidEndpoint):
        parse_environment({variable: "nine"})


def test_listeners_are_read() -> None:
    assert parse_listeners(
        r'"127.0.0.1:9050" "unix:/run/tor/a \"b\"" "0.0.0.0:9052" "[::]:9053" "???"'
    ) == [
        TcpEndpoint("127.0.0.1", 9050),
        UnixEndpoint('/run/tor/a "b"'),
        TcpEndpoint("127.0.0.1", 9052),
        TcpEndpoint("::1", 9053),
    ]
    assert parse_listeners("") == []


def test_socks_ports_are_read_with_their_flags() -> None:
    assert parse_socks_ports(
        [
            "9050 NoIsolateSOCKSAuth",
            'unix:"/run/a b/s" ExtendedErrors',
            "unix:/run/s",
            "0.0.0.0:9052 IPv6Traffic",
            "0",
            "auto",
        ]
    ) == [
        (TcpEndpoint("127.0.0.1", 9050), frozenset({"noisolatesocksauth"})),
        (UnixEndpoint("/run/a b/s"), frozenset({"extendederrors"})),
        (UnixEndpoint("/run/s"), frozenset()),
        (TcpEndpoint("127.0.0.1", 9052), frozenset({"ipv6traffic"})),
    ]
