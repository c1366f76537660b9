"""Peer exchange between onions: the extension message ``onion_pex``.

Rules:

- Onion addresses only, 34 bytes each: networks are never mixed in one message.
- At most ``MAX_ENTRIES`` addresses a message, added and dropped together. The engine sends and
  accepts one message a minute and peer, and none for private torrents (BEP 27).
- An address that cannot be one (no curve point, port 0) is dropped, not an error: the sender may
  only be repeating what it was told. An address is a candidate and nothing more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import COMPACT_ONION_LENGTH, PeerAddress
from torrent_onion.errors import AddressError, ProtocolError
from torrent_onion.protocol.dictionaries import get_bytes, read_peer_dictionary

ONION_PEX = "onion_pex"
MAX_ENTRIES = 50

FLAG_SEED = 0x02
"""The peer only uploads; the same bit as in BEP 11. It is the one flag that says anything here."""


@dataclass(frozen=True, slots=True)
class OnionPex:
    """What changed among the onion peers that the sender is connected to.

    Attributes:
        added: addresses with their flags (``FLAG_SEED`` or 0).
        dropped: addresses that the sender is no longer connected to.
    """

    NAME: ClassVar = ONION_PEX
    added: tuple[tuple[PeerAddress, int], ...] = ()
    dropped: tuple[PeerAddress, ...] = ()

    def encode(self) -> bytes:
        """Give the payload: ``{added: n x 34, added.f: n flag bytes, dropped: n x 34}``.

        Raises:
            ValueError: more than ``MAX_ENTRIES`` addresses.
            AddressError: an address that is no onion.
        """
        if len(self.added) + len(self.dropped) > MAX_ENTRIES:
            raise ValueError(f"at most {MAX_ENTRIES} addresses a message")
        return encode(
            {
                b"added": b"".join(address.to_compact_onion() for address, _ in self.added),
                b"added.f": bytes(flags & FLAG_SEED for _, flags in self.added),
                b"dropped": b"".join(address.to_compact_onion() for address in self.dropped),
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload.

        Raises:
            ProtocolError: not bencoding, not whole addresses, or more than ``MAX_ENTRIES`` of them.
        """
        dictionary = read_peer_dictionary(payload)
        added = get_bytes(dictionary, b"added") or b""
        dropped = get_bytes(dictionary, b"dropped") or b""
        if len(added) % COMPACT_ONION_LENGTH or len(dropped) % COMPACT_ONION_LENGTH:
            raise ProtocolError("The peer sent an onion peer exchange with half an address.")
        if len(added) + len(dropped) > MAX_ENTRIES * COMPACT_ONION_LENGTH:
            raise ProtocolError("The peer sent too many addresses in one onion peer exchange.")
        flags = (get_bytes(dictionary, b"added.f") or b"").ljust(MAX_ENTRIES, b"\0")
        return cls(
            tuple((address, flags[n] & FLAG_SEED) for n, address in read_compact_onions(added)),
            tuple(address for _, address in read_compact_onions(dropped)),
        )


def read_compact_onions(data: bytes) -> Iterator[tuple[int, PeerAddress]]:
    """Give each usable address in n x 34 bytes with its number; the others are left out."""
    for number in range(len(data) // COMPACT_ONION_LENGTH):
        start = number * COMPACT_ONION_LENGTH
        try:
            yield number, PeerAddress.from_compact_onion(data[start : start + COMPACT_ONION_LENGTH])
        except AddressError:
            continue
