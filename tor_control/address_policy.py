"""Which addresses may be dialled (pure): the one place that decides it for the whole program.

Trackers, peers and web seeds name addresses, and some name them to reach into the user's own
network. Four rules:

- What is judged is what is dialled: :meth:`AddressPolicy.may_dial` returns the canonical text, and
  the dialer sends exactly that.
- An address has one spelling. A name that ends in a number is an IPv4 address or nothing, so the
  decimal, octal, hexadecimal and shortened forms that an exit's resolver would read are refused
  whatever they mean. So are IPv6 addresses that carry an IPv4 address.
- What the public network cannot hold is refused: IANA's special-purpose address registries, and
  special-use domain names (RFC 6761).
- ``allow_private`` opens the user's own ranges for tests on a private network, and nothing else.

A public name that resolves to a private address cannot be seen here; tor refuses such answers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tor_control.errors import AddressRefused, InvalidOnionAddress
from tor_control.onion_address import ONION_SUFFIX, public_key

TOR_PORTS = frozenset({9050, 9051, 9150, 9151})
"""SOCKS and control ports of the system's tor and of Tor Browser."""
MAX_PORT = 65535
MAX_NAME_LENGTH = 253
"""Characters in a domain name without its final dot (RFC 1035); SOCKS has room for 255."""

# RFC 952 has no underscore, but it is in use. Everything else (blanks, NUL, %, @, brackets, other
# scripts) is refused: somebody further on could read it as something else.
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)

_OWN_IPV4 = (
    IPv4Network("10.0.0.0/8"),  # private use
    IPv4Network("100.64.0.0/10"),  # shared by a provider's customers
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("169.254.0.0/16"),  # link-local; cloud machines keep secrets at 169.254.169.254
    IPv4Network("172.16.0.0/12"),  # private use
    IPv4Network("192.168.0.0/16"),  # private use
)
_OWN_IPV6 = (
    IPv6Network("::1/128"),  # loopback
    IPv6Network("fc00::/7"),  # private use (unique local)
    IPv6Network("fe80::/10"),  # link-local
)
_RESERVED_IPV4 = (
    IPv4Network("0.0.0.0/8"),  # unspecified, and "this network": many systems read it as loopback
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)
# All that is not global unicast is refused: unspecified, IPv4-mapped and IPv4-compatible, NAT64
# (64:ff9b::/96 and 64:ff9b:1::/48), discard-only, site-local, multicast.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_RESERVED_IPV6 = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarks
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
)
_OWN_SUFFIXES = ("localhost", "localdomain", "local", "internal", "intranet", "private", "corp")
_HOME_SUFFIXES = ("home", "lan", "home.arpa")
# `.exit` would choose the exit (tor(1), AllowDotExit); the others name other networks, or nothing.
_RESERVED_SUFFIXES = ("exit", "noconnect", "onion", "alt", "i2p", "example", "invalid", "test")

_OWN_NETWORK = (
    "This address lies in a private network, which is never dialled; "
    "--allow-private-addresses is for tests on a Tor network of your own."
)
_NOT_PUBLIC = "This address is never dialled, since the public network cannot hold it."
_NOT_CANONICAL = "This address is spelled in a form that could hide another; use its plain form."
_ONION_ONLY = "Only onion services are dialled; leave out --onion-only to reach others."


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be dialled.

    Args:
        allow_private: Loopback, private and link-local addresses too. Only for tests.
        onion_only: Nothing but onion services.
        tor_ports: Ports that are never dialled on any host: tor's own.
    """

    allow_private: bool = False
    onion_only: bool = False
    tor_ports: frozenset[int] = TOR_PORTS

    def may_dial(self, host: str, port: int) -> str:
        """Judge one address.

        Args:
            host: A domain name, an IPv4 or IPv6 address (no brackets), or an onion host.
            port: As the address says it.

        Returns:
            The host as it must be sent: lower case, no final dot, IPv6 in its shortest form.

        Raises:
            AddressRefused: It must not be dialled. The text says why, without the address.
        """
        if not 1 <= port <= MAX_PORT or port in self.tor_ports:
            raise AddressRefused("This port is never dialled: it is Tor's own, or it is no port.")
        # Before lower(), which turns the Kelvin sign into a plain k.
        if not host.isascii():
            raise AddressRefused(_NOT_CANONICAL)
        name = host.removesuffix(".").lower()
        if name.endswith(ONION_SUFFIX):
            return _judge_onion(name)
        if self.onion_only:
            raise AddressRefused(_ONION_ONLY)
        if ":" in name:
            return self._judge_ipv6(name)
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            return self._judge_ipv4(name)
        return self._judge_name(name)

    def _judge_ipv4(self, text: str) -> str:
        try:
            address = IPv4Address(text)
        except AddressValueError:
            raise AddressRefused(_NOT_CANONICAL) from None
        if any(address in network for network in _OWN_IPV4):
            return self._own(text)
        if any(address in network for network in _RESERVED_IPV4):
            raise AddressRefused(_NOT_PUBLIC)
        return str(address)

    def _judge_ipv6(self, text: str) -> str:
        try:
            address = IPv6Address(text)
        except AddressValueError:
            raise AddressRefused(_NOT_CANONICAL) from None
        if address.scope_id is not None:
            raise AddressRefused(_NOT_CANONICAL)
        if any(address in network for network in _OWN_IPV6):
            return self._own(str(address))
        if address not in _GLOBAL_IPV6 or any(address in network for network in _RESERVED_IPV6):
            raise AddressRefused(_NOT_PUBLIC)
        return str(address)

    def _judge_name(self, name: str) -> str:
        _require_labels(name)
        if _is_below(name, _RESERVED_SUFFIXES):
            raise AddressRefused(_NOT_PUBLIC)
        # A name without a dot is looked up in the resolver's own domain.
        if "." not in name or _is_below(name, _OWN_SUFFIXES + _HOME_SUFFIXES):
            return self._own(name)
        return name

    def _own(self, host: str) -> str:
        if not self.allow_private:
            raise AddressRefused(_OWN_NETWORK)
        return host


def _judge_onion(name: str) -> str:
    """Names before the 56 characters are kept: tor ignores them, web servers may not."""
    _require_labels(name)
    *_, encoded, suffix = name.split(".")
    try:
        public_key(f"{encoded}.{suffix}")
    except InvalidOnionAddress as error:
        raise AddressRefused(str(error)) from None
    return name


def _require_labels(name: str) -> None:
    if len(name) > MAX_NAME_LENGTH or not all(map(_LABEL.fullmatch, name.split("."))):
        raise AddressRefused(_NOT_CANONICAL)


def _is_below(name: str, suffixes: Iterable[str]) -> bool:
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)
