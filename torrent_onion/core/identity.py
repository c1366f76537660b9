"""Who is who: peers' ids and addresses, and the hashes that name a torrent.

- Text and bytes from outside become a :class:`PeerAddress` only through its class methods; what
  they return has one spelling, so that equal addresses compare equal.
- An onion address is right to its last bit (checksum, version, point on the curve) or refused.
  What ``onion_address`` says of a wrong one is a ``ValueError`` with a sentence for users.
- Nothing here says whether an address may be dialled; that is the dialer's decision.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NewType

from tor_control.onion_address import (
    ONION_SUFFIX,
    PUBLIC_KEY_LENGTH,
    encode_address,
    onion_address,
    public_key,
)
from torrent_onion.errors import AddressError

PeerId = NewType("PeerId", bytes)
"""20 bytes, random and new for every connection."""

COMPACT_ONION_LENGTH: Final = PUBLIC_KEY_LENGTH + 2
"""Bytes of the compact form: the key and the port, big-endian."""
V1_HASH_LENGTH: Final = 20
V2_HASH_LENGTH: Final = 32
_MAX_PORT: Final = 65535
_MAX_HOST_LENGTH: Final = 253
# A label of a host name; the underscore is against the rules and in use.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
# C libraries read such a last label as part of an IPv4 address ("127.1", "0x7f000001").
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch
_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True, order=True)
class PeerAddress:
    """Where a peer can be reached.

    Args:
        host: In lower case: ``<56 characters>.onion``, an IPv4 or IPv6 literal without brackets, or
            a host name.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> "PeerAddress":
        """Check and normalise a host and a port that came apart, as in a tracker's dictionary.

        Raises:
            AddressError: This cannot be the address of a peer.
        """
        if not 1 <= port <= _MAX_PORT:
            raise AddressError("A peer's port must be between 1 and 65535.")
        return cls(_normal_host(host), port)

    @classmethod
    def parse(cls, text: str) -> "PeerAddress":
        """Read ``host:port``, ``ipv4:port`` or ``[ipv6]:port`` (BEP 9 ``x.pe``).

        Raises:
            AddressError: This cannot be the address of a peer.
        """
        match = _HOST_AND_PORT.fullmatch(text)
        if match is None:
            raise AddressError("A peer's address must be written as host:port.")
        host = match["host"]
        if host is None:
            host = str(_ipv6(match["v6"]))
        return cls.of(host, int(match["port"]))

    @classmethod
    def from_compact_onion(cls, data: bytes | memoryview) -> "PeerAddress":
        """Read the 34 bytes of :meth:`to_compact_onion`.

        Raises:
            AddressError: The length is wrong, the key is no point on the curve, or the port is 0.
        """
        if len(data) != COMPACT_ONION_LENGTH:
            raise AddressError(f"A compact onion address has {COMPACT_ONION_LENGTH} bytes.")
        port = int.from_bytes(data[PUBLIC_KEY_LENGTH:], "big")
        if port == 0:
            raise AddressError("A peer's port must be between 1 and 65535.")
        try:
            return cls(onion_address(bytes(data[:PUBLIC_KEY_LENGTH])), port)
        except ValueError as error:
            raise AddressError(str(error)) from None

    @classmethod
    def from_checked_onion(cls, data: bytes) -> "PeerAddress":
        """Read 34 bytes that :meth:`from_compact_onion` has read before, without the checks."""
        port = int.from_bytes(data[PUBLIC_KEY_LENGTH:], "big")
        return cls(encode_address(data[:PUBLIC_KEY_LENGTH]), port)

    def to_compact_onion(self) -> bytes:
        """Return the 34 bytes that name an onion peer on the wire: key and port.

        Raises:
            AddressError: This is not an onion address.
        """
        try:
            return public_key(self.host) + self.port.to_bytes(2, "big")
        except ValueError as error:
            raise AddressError(str(error)) from None

    @property
    def is_onion(self) -> bool:
        """Whether the peer is an onion service."""
        return self.host.endswith(ONION_SUFFIX)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class InfoHashes:
    """The names of one torrent; at least one of them (BEP 52 "infohash").

    Args:
        v1: SHA-1 of the info dictionary, 20 bytes.
        v2: SHA-256 of it, 32 bytes.
    """

    v1: bytes | None
    v2: bytes | None

    def __post_init__(self) -> None:
        if self.v1 is None and self.v2 is None:
            raise ValueError("a torrent has at least one info-hash")
        if self.v1 is not None and len(self.v1) != V1_HASH_LENGTH:
            raise ValueError(f"a v1 info-hash has {V1_HASH_LENGTH} bytes")
        if self.v2 is not None and len(self.v2) != V2_HASH_LENGTH:
            raise ValueError(f"a v2 info-hash has {V2_HASH_LENGTH} bytes")

    @property
    def wire_hashes(self) -> tuple[bytes, ...]:
        """The 20-byte forms for handshakes and trackers: of version 1, then of version 2."""
        truncated = None if self.v2 is None else self.v2[:V1_HASH_LENGTH]
        return tuple(wire for wire in (self.v1, truncated) if wire is not None)

    @property
    def primary(self) -> bytes:
        """The 20-byte form to use where there can be only one."""
        return self.wire_hashes[0]

    def matches(self, wire: bytes) -> bool:
        """Whether a 20-byte hash from a handshake names this torrent."""
        return wire in self.wire_hashes

    @property
    def display(self) -> str:
        """The hash to show to users, in hex: of version 1 if there is one, else of version 2."""
        return (self.v1 or self.v2 or b"").hex()


def _normal_host(host: str) -> str:
    host = host.lower()
    if host.endswith(ONION_SUFFIX):
        try:
            public_key(host)
        except ValueError as error:
            raise AddressError(str(error)) from None
        return host
    if ":" in host:
        return str(_ipv6(host))
    labels = host.split(".")
    if _NUMERIC_LABEL(labels[-1]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise AddressError("This is not an IPv4 address.") from None
    if len(host) > _MAX_HOST_LENGTH or not all(map(_LABEL, labels)):
        raise AddressError("This is not the name of a host.")
    return host


def _ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise AddressError("This is not an IPv6 address.") from None
    if address.scope_id is not None:
        raise AddressError("An IPv6 address with a zone means nothing to anybody else.")
    return address
