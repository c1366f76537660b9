"""Peer exchange among peers outside Tor: the extension message ``ut_pex`` (BEP 11).

Rules:

- IP addresses only. What onions tell each other is another message (``onion_pex``), offered to
  other peers: networks are never mixed.
- We send at most ``MAX_ENTRIES`` addresses a message, added and dropped together, and read at most
  ``MAX_READ`` of each list: other clients begin with more than BEP 11 allows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.protocol.compact_peers import (
    IPV4_SIZE,
    IPV6_SIZE,
    PORT_SIZE,
    compact_peer,
    read_compact_peers,
)
from torrent_onion.protocol.dictionaries import Dictionary, get_bytes, read_peer_dictionary

UT_PEX = "ut_pex"
MAX_ENTRIES = 50
MAX_READ = 100

FLAG_SEED = 0x02
FLAG_REACHABLE = 0x10
"""The sender connected to the peer, not the other way round."""

_FORMS = ((b"", IPV4_SIZE), (b"6", IPV6_SIZE))
"""What follows the names of the lists of each address family, and bytes of an address."""


@dataclass(frozen=True, slots=True)
class UtPex:
    """What changed among the peers with IP addresses that the sender is connected to.

    Attributes:
        added: addresses with their flags (``FLAG_SEED``, ``FLAG_REACHABLE``, others when read).
        dropped: addresses that the sender is no longer connected to.
    """

    NAME: ClassVar = UT_PEX
    added: tuple[tuple[PeerAddress, int], ...] = ()
    dropped: tuple[PeerAddress, ...] = ()

    def encode(self) -> bytes:
        """Give the payload, with every key of BEP 11.

        Raises:
            ValueError: more than ``MAX_ENTRIES`` addresses, or one that is no IP address.
        """
        if len(self.added) + len(self.dropped) > MAX_ENTRIES:
            raise ValueError(f"at most {MAX_ENTRIES} addresses a message")
        values: dict[bytes, bytes] = {}
        added = [(compact_peer(address), flags) for address, flags in self.added]
        dropped = [compact_peer(address) for address in self.dropped]
        for suffix, size in _FORMS:
            of_family = [each for each in added if len(each[0]) == size + PORT_SIZE]
            values[b"added" + suffix] = b"".join(packed for packed, _ in of_family)
            values[b"added" + suffix + b".f"] = bytes(flags for _, flags in of_family)
            values[b"dropped" + suffix] = _join(dropped, size + PORT_SIZE)
        return encode(values)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload; lists that are missing or odd count for what can be read of them.

        Raises:
            ProtocolError: not bencoding.
        """
        dictionary = read_peer_dictionary(payload)
        added: list[tuple[PeerAddress, int]] = []
        dropped: list[PeerAddress] = []
        for suffix, size in _FORMS:
            flags = (get_bytes(dictionary, b"added" + suffix + b".f") or b"").ljust(MAX_READ, b"\0")
            for number, address in _read(dictionary, b"added" + suffix, size):
                added.append((address, flags[number]))
            dropped += [address for _, address in _read(dictionary, b"dropped" + suffix, size)]
        return cls(tuple(added), tuple(dropped))


def _join(packed: Iterable[bytes], size: int) -> bytes:
    return b"".join(each for each in packed if len(each) == size)


def _read(dictionary: Dictionary, name: bytes, size: int) -> Iterable[tuple[int, PeerAddress]]:
    data = (get_bytes(dictionary, name) or b"")[: MAX_READ * (size + PORT_SIZE)]
    return read_compact_peers(data, size)
