import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tor_control.address_policy import TOR_PORTS, AddressPolicy
from tor_control.errors import AddressRefused

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
PUBLIC = AddressPolicy()
TESTING = AddressPolicy(allow_private=True)
ONION_ONLY = AddressPolicy(onion_only=True)


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        (ONION, ONION),
        (ONION.upper(), ONION),
        (ONION + ".", ONION),
        ("tracker." + ONION, "tracker." + ONION),
        ("tracker.example.org", "tracker.example.org"),
        ("Tracker.Example.ORG.", "tracker.example.org"),
        ("xn--bcher-kva.example.net", "xn--bcher-kva.example.net"),
        ("under_score.example.com", "under_score.example.com"),
        ("localhost.example.com", "localhost.example.com"),
        ("3com.net", "3com.net"),
        ("0x7f.net", "0x7f.net"),
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8.", "8.8.8.8"),
        ("2620:0:ccc::2", "2620:0:ccc::2"),
        ("2620:0000:0CCC:0:0:0:0:2", "2620:0:ccc::2"),
    ],
)
def test_what_may_be_dialled(host: str, dialled: str) -> None:
    assert PUBLIC.may_dial(host, 6881) == dialled


# In the user's own network: refused, but open to tests on a private network.
OWN = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    "127.192.0.1",  # what tor's MAPADDRESS gives out
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "0:0:0:0:0:0:0:1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "febf::1",
    "localhost",
    "LocalHost",
    "localhost.",
    "foo.localhost",
    "localhost.localdomain",
    "printer.local",
    "printer.local.",
    "fritz.box.home.arpa",
    "nas.lan",
    "wiki.corp",
    "metadata.google.internal",
    "router",
]


@pytest.mark.parametrize("host", OWN)
def test_the_users_own_network(host: str) -> None:
    with pytest.raises(AddressRefused):
        PUBLIC.may_dial(host, 80)
    assert TESTING.may_dial(host, 80)


# Never dialled by anybody: other spellings, forms that carry another address, reserved ranges.
NEVER = [
    # IPv4 in the spellings that inet_aton() and browsers read
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.01",
    "127.0.0.0x1",
    "127.0.0.1..",
    "127.0.0.256",
    "127.0.0.1.1",
    "127.0.0.",
    "1.0x",
    "0",
    "0x",
    "0.0.0.0",
    "0.1.2.3",
    "8.8.2056",
    "0x08080808",
    "foo.1",
    "example.com.0x1",
    # reserved IPv4
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    # IPv6 that carries IPv4, or is reserved
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2002:808:808::1",
    "2001::1",
    "2001:0:53aa:64c:0:0:f5ff:fffe",
    "2001:10::1",
    "2001:2::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "fec0::1",
    "ff02::1",
    "ff05::c",
    "4000::1",
    # IPv6 in odd spellings
    "::1%lo",
    "fe80::1%eth0",
    "2620:0:ccc::2%1",
    "[::1]",
    "[2620:0:ccc::2]",
    "[127.0.0.1]",
    ":",
    ":::",
    "1:2",
    "127.0.0.1:80",
    "example.com:80",
    # names that are none
    "",
    ".",
    "..",
    ".example.com",
    "example..com",
    "example.com..",
    " ",
    " localhost",
    "127.0.0.1 ",
    "example.com\n",
    "127.0.0.1\x00.example.com",
    "example.com\x00",
    "user@example.com",
    "example.com/",
    "example.com#127.0.0.1",
    "127.0.0.1%2e",
    "localhost%00",
    "*.example.com",
    "a" * 64 + ".com",
    ".".join(["a" * 49] * 6),
    # other scripts, which another program could turn into plain ASCII
    "１２７.0.0.1",  # full-width digits
    "127。0。0。1",  # ideographic full stops
    "ⓛocalhost",
    "lo\u0441alhost",  # a Cyrillic letter
    "b\u00fccher.example.org",
    "\u0661\u0662\u0667.0.0.1",  # Arabic-Indic digits
    "local\u00adhost",  # a soft hyphen
    "\u212aiosk.example.org",  # the Kelvin sign: its lower case is an ASCII k
    # other networks, and tor's own notation
    "www.example.com.exit",
    "www.example.com.$0000.exit",
    "example.exit",
    "foo.noconnect",
    "stats.i2p",
    "name.alt",
    "foo.example",
    "foo.test",
    "foo.invalid",
    # onions that are none
    "onion",
    ".onion",
    "foo.onion",
    "expyuzz4wqqyqhjn.onion",
    "127.0.0.1.onion",
    "a" * 56 + ".onion",
    ONION.replace("2gzy", "2gza"),
    ONION + ".com.onion",
    ONION.replace(".onion", "..onion"),
    "-" * 64 + "." + ONION,
    "a b." + ONION,
]


@pytest.mark.parametrize("host", NEVER)
def test_what_is_never_dialled(host: str) -> None:
    for policy in (PUBLIC, TESTING, ONION_ONLY):
        with pytest.raises(AddressRefused) as caught:
            policy.may_dial(host, 80)
        # The text reaches logs: it must not hold the address.
        if len(host) > 5:
            assert host not in str(caught.value)


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 32, *sorted(TOR_PORTS)])
@pytest.mark.parametrize("host", [ONION, "example.org", "8.8.8.8", "127.0.0.1"])
def test_ports_that_are_never_dialled(host: str, port: int) -> None:
    for policy in (PUBLIC, TESTING):
        with pytest.raises(AddressRefused):
            policy.may_dial(host, port)


def test_ports_of_the_tor_in_use_can_be_named() -> None:
    policy = AddressPolicy(tor_ports=TOR_PORTS | {12345})
    with pytest.raises(AddressRefused):
        policy.may_dial("example.org", 12345)
    assert policy.may_dial("example.org", 12346) == "example.org"


@pytest.mark.parametrize("port", [1, 80, 65535])
def test_the_ends_of_the_port_range(port: int) -> None:
    assert PUBLIC.may_dial("example.org", port)


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "2620:0:ccc::2", "localhost"])
def test_onion_only(host: str) -> None:
    assert ONION_ONLY.may_dial(ONION, 80) == ONION
    with pytest.raises(AddressRefused):
        ONION_ONLY.may_dial(host, 80)
    with pytest.raises(AddressRefused):
        AddressPolicy(onion_only=True, allow_private=True).may_dial(host, 80)


@given(st.ip_addresses(v=4))
def test_ipv4_agrees_with_the_standard_library(address: ipaddress.IPv4Address) -> None:
    try:
        dialled = PUBLIC.may_dial(str(address), 80)
    except AddressRefused:
        return
    assert dialled == str(address)
    assert address.is_global
    assert not address.is_multicast


@given(st.ip_addresses(v=6))
def test_ipv6_agrees_with_the_standard_library(address: ipaddress.IPv6Address) -> None:
    try:
        dialled = PUBLIC.may_dial(address.exploded, 80)
    except AddressRefused:
        return
    assert dialled == str(address)
    assert address.is_global
    assert not address.is_multicast
    assert address.ipv4_mapped is None
    assert address.sixtofour is None
    assert address.teredo is None


@given(st.text(max_size=300), st.integers())
@example("\u0130", 80)  # its lower case has two characters
def test_random_text_is_refused_or_plain_ascii(host: str, port: int) -> None:
    try:
        dialled = PUBLIC.may_dial(host, port)
    except AddressRefused:
        return
    assert dialled.isascii()
    assert PUBLIC.may_dial(dialled, port) == dialled


@given(st.from_regex(r"[0-9a-fx.]{1,20}", fullmatch=True))
def test_what_ends_in_a_number_is_a_dotted_quad_or_refused(host: str) -> None:
    try:
        dialled = TESTING.may_dial(host, 80)
    except AddressRefused:
        return
    if dialled.rpartition(".")[2].isdigit():
        assert str(ipaddress.IPv4Address(dialled)) == dialled
