"""Peers with IP addresses in their compact form: address and port, big-endian (BEP 23, 7)."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import AddressError

IPV4_SIZE: Final = 4
IPV6_SIZE: Final = 16
PORT_SIZE: Final = 2


def read_compact_peers(data: bytes, address_size: int) -> Iterator[tuple[int, PeerAddress]]:
    """Give each usable address with its number; what is left over at the end is ignored.

    Args:
        data: The addresses, one after the other.
        address_size: ``IPV4_SIZE`` or ``IPV6_SIZE``.
    """
    size = address_size + PORT_SIZE
    literal = IPv4Address if address_size == IPV4_SIZE else IPv6Address
    for number, start in enumerate(range(0, len(data) - size + 1, size)):
        host, port = data[start : start + address_size], data[start + address_size : start + size]
        try:
            address = PeerAddress.of(str(literal(host)), int.from_bytes(port, "big"))
        except AddressError:
            continue
        yield number, address


def compact_peer(address: PeerAddress) -> bytes:
    """Give 6 or 18 bytes.

    Raises:
        ValueError: This is no IP address.
    """
    return ip_address(address.host).packed + address.port.to_bytes(PORT_SIZE, "big")


def is_ip_address(address: PeerAddress) -> bool:
    """Whether a peer is reached by an IP address: it is outside Tor, and no name."""
    try:
        ip_address(address.host)
    except ValueError:
        return False
    return True
