"""The messages of the peer wire (BEP 3, 6, 10, 52) as values; their bytes are in message_codec.py.

What their integers mean for a torrent (does this piece exist?) is judged by whoever knows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from torrent_onion.protocol import hash_messages
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest

MAX_PIECES = 1 << 22
"""Pieces of the largest torrent, a bitfield of 512 KiB: 64 MiB of metadata (BEP 9) hold the v1
hashes of 3.3 million pieces."""


class MessageId(IntEnum):
    """The byte after the length."""

    CHOKE = 0
    UNCHOKE = 1
    INTERESTED = 2
    NOT_INTERESTED = 3
    HAVE = 4
    BITFIELD = 5
    REQUEST = 6
    PIECE = 7
    CANCEL = 8
    PORT = 9  # BEP 5
    SUGGEST = 13  # BEP 6, and the next four
    HAVE_ALL = 14
    HAVE_NONE = 15
    REJECT = 16
    ALLOWED_FAST = 17
    EXTENDED = 20  # BEP 10
    HASH_REQUEST = hash_messages.HASH_REQUEST  # BEP 52, and the next two
    HASHES = hash_messages.HASHES
    HASH_REJECT = hash_messages.HASH_REJECT


FAST_IDS = frozenset(
    {
        MessageId.SUGGEST,
        MessageId.HAVE_ALL,
        MessageId.HAVE_NONE,
        MessageId.REJECT,
        MessageId.ALLOWED_FAST,
    }
)
"""Only for connections on which both sides announced the fast extension (BEP 6)."""

OPENING_IDS = frozenset({MessageId.BITFIELD, MessageId.HAVE_ALL, MessageId.HAVE_NONE})
"""What a peer has at the start: first of all messages about pieces, and at most once."""

INDEXED_IDS = frozenset(
    {
        MessageId.HAVE,
        MessageId.REQUEST,
        MessageId.PIECE,
        MessageId.CANCEL,
        MessageId.SUGGEST,
        MessageId.REJECT,
        MessageId.ALLOWED_FAST,
    }
)
"""Their payload begins with the index of a piece."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing, so that the connection is not taken for dead."""


@dataclass(frozen=True, slots=True)
class Choke:
    """Requests will not be served from now on."""


@dataclass(frozen=True, slots=True)
class Unchoke:
    """Requests will be served."""


@dataclass(frozen=True, slots=True)
class Interested:
    """The sender wants pieces that the receiver has."""


@dataclass(frozen=True, slots=True)
class NotInterested:
    """The sender wants nothing of the receiver's."""


@dataclass(frozen=True, slots=True)
class Have:
    """The sender has verified one more piece."""

    piece: int


@dataclass(frozen=True, slots=True)
class BitfieldMessage:
    """The pieces that the sender has; raw, since the torrent's size may not be known yet."""

    bits: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Please send ``length`` bytes of a piece, from byte ``begin`` of it."""

    piece: int
    begin: int
    length: int


class Piece(NamedTuple):
    """One block of a piece; a tuple, for there is one for every 16 KiB.

    Attributes:
        piece: index of the piece.
        begin: byte offset within it.
        block: 1 to 16 KiB. Received ones lie in the receive buffer: valid until the next read.
    """

    piece: int
    begin: int
    block: memoryview


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request is no longer needed."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Port:
    """The UDP port of the peer's DHT node (BEP 5). Read so that it can be ignored; never sent."""

    port: int


@dataclass(frozen=True, slots=True)
class Suggest:
    """A piece that it would be good to ask for (BEP 6)."""

    piece: int


@dataclass(frozen=True, slots=True)
class HaveAll:
    """The sender has every piece (BEP 6)."""


@dataclass(frozen=True, slots=True)
class HaveNone:
    """The sender has no piece (BEP 6)."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A request will not be served (BEP 6)."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class AllowedFast:
    """A piece that is served even to a choked peer (BEP 6)."""

    piece: int


@dataclass(frozen=True, slots=True)
class Extended:
    """A message of the extension protocol (BEP 10), not yet understood.

    Attributes:
        id: 0 for the extension handshake, else as the receiver of the message announced it.
        payload: what follows the id.
    """

    id: int
    payload: bytes


Message = (
    KeepAlive
    | Choke
    | Unchoke
    | Interested
    | NotInterested
    | Have
    | BitfieldMessage
    | Request
    | Piece
    | Cancel
    | Port
    | Suggest
    | HaveAll
    | HaveNone
    | Reject
    | AllowedFast
    | Extended
    | HashRequest
    | Hashes
    | HashReject
)

MESSAGE_IDS: Mapping[type[Message], MessageId] = {
    Choke: MessageId.CHOKE,
    Unchoke: MessageId.UNCHOKE,
    Interested: MessageId.INTERESTED,
    NotInterested: MessageId.NOT_INTERESTED,
    Have: MessageId.HAVE,
    BitfieldMessage: MessageId.BITFIELD,
    Request: MessageId.REQUEST,
    Piece: MessageId.PIECE,
    Cancel: MessageId.CANCEL,
    Port: MessageId.PORT,
    Suggest: MessageId.SUGGEST,
    HaveAll: MessageId.HAVE_ALL,
    HaveNone: MessageId.HAVE_NONE,
    Reject: MessageId.REJECT,
    AllowedFast: MessageId.ALLOWED_FAST,
    Extended: MessageId.EXTENDED,
    HashRequest: MessageId.HASH_REQUEST,
    Hashes: MessageId.HASHES,
    HashReject: MessageId.HASH_REJECT,
}
