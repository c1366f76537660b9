"""The first 68 bytes of a connection (BEP 3) and the extensions their reserved bits announce.

Rules:

- We announce the extension protocol (BEP 10), the fast extension (BEP 6) and, for hybrid torrents,
  v2 (BEP 52). The DHT bit is never set: there is no DHT here.
- Other reserved bits of a peer are ignored, and ours are zero: they would tell clients apart.
- The peer id is 20 random bytes for every connection. It is made where randomness is, not here.
"""

from dataclasses import dataclass
from typing import Self

from torrent_onion.core.identity import PeerId
from torrent_onion.errors import ProtocolError

PROTOCOL_HEADER = b"\x13BitTorrent protocol"
RESERVED_SIZE = 8
HASH_SIZE = 20  # a v2 hash is cut to this length on the wire (BEP 52)
PEER_ID_SIZE = 20
HANDSHAKE_SIZE = len(PROTOCOL_HEADER) + RESERVED_SIZE + HASH_SIZE + PEER_ID_SIZE

_EXTENSIONS_BYTE, _EXTENSIONS_BIT = 5, 0x10  # BEP 10
_LAST_BYTE = 7
_DHT_BIT = 0x01  # BEP 5
_FAST_BIT = 0x04  # BEP 6
_V2_BIT = 0x10  # BEP 52 "upgrade path"


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one side says before any message.

    Attributes:
        info_hash: 20 bytes: the v1 hash, or the v2 hash cut to 20 bytes.
        peer_id: 20 bytes.
        extensions: the sender speaks the extension protocol (BEP 10).
        fast: the sender speaks the fast extension (BEP 6).
        v2: the sender of a v1 hash could also use the v2 one (BEP 52).
        dht: the peer has a DHT node; only ever received.
    """

    info_hash: bytes
    peer_id: PeerId
    extensions: bool = True
    fast: bool = True
    v2: bool = False
    dht: bool = False

    def encode(self) -> bytes:
        """Give the 68 bytes to send.

        Raises:
            ValueError: a hash or id of the wrong size, or the DHT bit, which we never send.
        """
        if len(self.info_hash) != HASH_SIZE or len(self.peer_id) != PEER_ID_SIZE:
            raise ValueError("info-hash and peer id have 20 bytes each in a handshake")
        if self.dht:
            raise ValueError("the DHT bit is never sent")
        reserved = bytearray(RESERVED_SIZE)
        reserved[_EXTENSIONS_BYTE] = _EXTENSIONS_BIT * self.extensions
        reserved[_LAST_BYTE] = _FAST_BIT * self.fast | _V2_BIT * self.v2
        return PROTOCOL_HEADER + reserved + self.info_hash + self.peer_id

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the 68 bytes of a peer.

        Raises:
            ProtocolError: another length, or another protocol.
        """
        if len(data) != HANDSHAKE_SIZE:
            raise ProtocolError(f"A handshake has {HANDSHAKE_SIZE} bytes, not {len(data)}.")
        check_header(data)
        reserved = data[len(PROTOCOL_HEADER) :][:RESERVED_SIZE]
        hash_end = HANDSHAKE_SIZE - PEER_ID_SIZE
        return cls(
            info_hash=data[hash_end - HASH_SIZE : hash_end],
            peer_id=PeerId(data[hash_end:]),
            extensions=bool(reserved[_EXTENSIONS_BYTE] & _EXTENSIONS_BIT),
            fast=bool(reserved[_LAST_BYTE] & _FAST_BIT),
            v2=bool(reserved[_LAST_BYTE] & _V2_BIT),
            dht=bool(reserved[_LAST_BYTE] & _DHT_BIT),
        )


def check_header(data: bytes) -> None:
    """Refuse the beginning of a handshake, of any length, as soon as it cannot become one.

    An encrypted or foreign connection is dropped at its first byte rather than after 68.

    Raises:
        ProtocolError: the bytes so far are not those of the BitTorrent protocol.
    """
    if not PROTOCOL_HEADER.startswith(data[: len(PROTOCOL_HEADER)]):
        raise ProtocolError("The peer does not speak the BitTorrent protocol.")
