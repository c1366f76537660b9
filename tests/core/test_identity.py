import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from tor_control.onion_address import onion_address
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.errors import AddressError

V1 = bytes(range(20))
V2 = bytes(range(100, 132))

onion_hosts = st.binary(min_size=32, max_size=32).map(
    lambda seed: onion_address(bytes(SigningKey(seed).verify_key))
)
ports = st.integers(1, 65535)
ONION = onion_address(bytes(SigningKey(bytes(32)).verify_key))


@given(onion_hosts, ports)
def test_onion_peers_survive_both_forms(host: str, port: int) -> None:
    address = PeerAddress(host, port)
    assert address.is_onion
    assert PeerAddress.parse(str(address)) == address
    compact = address.to_compact_onion()
    assert len(compact) == 34
    assert PeerAddress.from_compact_onion(compact) == address
    assert PeerAddress.from_compact_onion(memoryview(compact)) == address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("Tracker.Example.ORG:6881", "tracker.example.org", 6881),
        ("localhost:65535", "localhost", 65535),
        ("a_b.example:80", "a_b.example", 80),
        ("[::1]:80", "::1", 80),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80),
        ("xn--bcher-kva.example:80", "xn--bcher-kva.example", 80),
        (ONION.upper() + ":080", ONION, 80),
    ],
)
def test_parse(text: str, host: str, port: int) -> None:
    address = PeerAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert PeerAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":80",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host:1_0",
        "host:99999999",
        "host:80 ",
        " host:80",
        "host:٣",
        "host:80:80",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1:80",
        "[::g]:80",
        "[host]:80",
        "[127.0.0.1]:80",
        "[fe80::1%eth0]:80",
        "127.0.0.256:80",
        "127.1:80",
        "2130706433:80",
        "0x7f000001:80",
        "127.0.0.0x1:80",
        "0177.0.0.1:80",
        "host.:80",
        ".host:80",
        "a..b:80",
        "-a:80",
        "a-:80",
        "bücher.example:80",
        "a b:80",
        "a/b:80",
        "a@b:80",
        "a\nb:80",
        "host:80\n",
        "a\x00b:80",
        "a" * 64 + ":80",
        ".".join(["abc"] * 64) + ":80",
        "abc.onion:80",
        "www." + ONION + ":80",
        ONION + ".:80",
        "b" + ONION[1:] + ":80",
        "x" * 56 + ".onion:80",
        "expyuzz4wqqyqhjn.onion:80",
        ".onion:80",
    ],
)
def test_what_cannot_be_a_peer(text: str) -> None:
    with pytest.raises(AddressError):
        PeerAddress.parse(text)


def test_parts_that_came_apart() -> None:
    assert PeerAddress.of("::1", 80) == PeerAddress("::1", 80)
    assert PeerAddress.of(ONION.upper(), 80) == PeerAddress(ONION, 80)
    for host, port in [("[::1]", 80), ("host", 0), ("host", 65536), ("host", -1), ("fe80::1%1", 1)]:
        with pytest.raises(AddressError):
            PeerAddress.of(host, port)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(33),
        bytes(35),
        bytes(34),
        b"\xff" * 32 + b"\x00\x50",
        PeerAddress(ONION, 80).to_compact_onion()[:32] + b"\x00\x00",
    ],
)
def test_compact_bytes_that_name_nobody(data: bytes) -> None:
    with pytest.raises(AddressError):
        PeerAddress.from_compact_onion(data)


def test_an_address_that_was_checked_once_is_read_without_the_checks() -> None:
    address = PeerAddress(ONION, 8080)
    assert PeerAddress.from_checked_onion(address.to_compact_onion()) == address


@pytest.mark.parametrize("host", ["127.0.0.1", "example.org", "::1"])
def test_only_onions_have_the_compact_form(host: str) -> None:
    address = PeerAddress(host, 80)
    assert not address.is_onion
    with pytest.raises(AddressError):
        address.to_compact_onion()


def test_addresses_have_an_order() -> None:
    assert sorted([PeerAddress("b", 1), PeerAddress("a", 2), PeerAddress("a", 1)]) == [
        PeerAddress("a", 1),
        PeerAddress("a", 2),
        PeerAddress("b", 1),
    ]


def test_hashes_of_a_hybrid() -> None:
    hashes = InfoHashes(v1=V1, v2=V2)
    assert hashes.wire_hashes == (V1, V2[:20])
    assert hashes.primary == V1
    assert hashes.display == V1.hex()
    assert hashes.matches(V1)
    assert hashes.matches(V2[:20])
    assert not hashes.matches(V2)
    assert not hashes.matches(bytes(20))


def test_hashes_of_one_version() -> None:
    assert InfoHashes(v1=V1, v2=None).wire_hashes == (V1,)
    only_v2 = InfoHashes(v1=None, v2=V2)
    assert only_v2.primary == V2[:20]
    assert only_v2.display == V2.hex()
    assert not only_v2.matches(V1)


@pytest.mark.parametrize(
    ("v1", "v2"), [(None, None), (V2, None), (None, V1), (b"", None), (V1, b"")]
)
def test_hashes_that_cannot_be(v1: bytes | None, v2: bytes | None) -> None:
    with pytest.raises(ValueError, match="info-hash"):
        InfoHashes(v1=v1, v2=v2)
