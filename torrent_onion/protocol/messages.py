"""The messages of the peer wire (BEP 3, 6, 10, 52): values, their bytes and their limits.

Rules:

- A message is a 4-byte length, one id byte and a payload; a length of zero is a keep-alive.
- ``FORMS`` is the one table of what may arrive: id, shortest and longest payload, how to read it.
  A length outside its row is an error before the payload is buffered.
- All integers are unsigned, 4 bytes, big-endian. What they mean for a torrent (does this piece
  exist?) is judged by whoever knows the torrent.

Unknown ids are not errors: later BEPs may bring them. They are bounded and skipped.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol import hash_messages
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest

MAX_PIECES = 1 << 22
"""Pieces of the largest torrent, a bitfield of 512 KiB: 64 MiB of metadata (BEP 9) hold the v1
hashes of 3.3 million pieces."""

MAX_EXTENDED = 32 * 1024
"""Bytes of an extended payload: a metadata block of 16 KiB (BEP 9) with its dictionary, twice."""

MAX_UNKNOWN = 32 * 1024
"""Bytes of a payload with an id that we do not know."""

LENGTH_SIZE = 4  # bytes of the length before every message
PIECE_FIELDS_SIZE = 8  # piece and begin, before the block
PIECE_HEADER_SIZE = LENGTH_SIZE + 1 + PIECE_FIELDS_SIZE  # bytes before a block
KEEP_ALIVE_BYTES = bytes(LENGTH_SIZE)


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

_HEADER = struct.Struct(">IB")
_INDEX = struct.Struct(">I")
_RANGE = struct.Struct(">III")
_PORT = struct.Struct(">H")
_INDEX_MESSAGE = struct.Struct(">IBI")
_RANGE_MESSAGE = struct.Struct(">IBIII")
_PIECE_HEADER = struct.Struct(">IBII")

pack_piece_header = _PIECE_HEADER.pack
unpack_header = _PIECE_HEADER.unpack_from
"""Length, id, piece, begin, of any message; the last two mean something only where it has them."""

unpack_request_length = _INDEX.unpack_from
"""The last four bytes of a request."""

PIECE_EXTRA = 1 + PIECE_FIELDS_SIZE
"""Bytes that a piece message's length counts besides the block."""


class Form(NamedTuple):
    """A row of ``FORMS``: what a message with this id looks like.

    Attributes:
        shortest: bytes of payload, after the id.
        longest: bytes of payload; a bitfield's own bound is tighter once the torrent is known.
        decode: payload to message.
    """

    shortest: int
    longest: int
    decode: Callable[[bytes], Message]


def _fixed(layout: struct.Struct, message: Callable[..., Message]) -> Form:
    return Form(layout.size, layout.size, lambda payload: message(*layout.unpack(payload)))


def _empty(message: Message) -> Form:
    return Form(0, 0, lambda _payload: message)


def _decode_piece(payload: bytes) -> Piece:
    piece, begin = struct.unpack_from(">II", payload)
    return Piece(piece, begin, memoryview(payload)[PIECE_FIELDS_SIZE:])


def bitfield_size(num_pieces: int) -> int:
    """How many bytes a bitfield of so many pieces has."""
    return (num_pieces + 7) // 8


FORMS: Mapping[int, Form] = {
    MessageId.CHOKE: _empty(Choke()),
    MessageId.UNCHOKE: _empty(Unchoke()),
    MessageId.INTERESTED: _empty(Interested()),
    MessageId.NOT_INTERESTED: _empty(NotInterested()),
    MessageId.HAVE: _fixed(_INDEX, Have),
    MessageId.BITFIELD: Form(0, bitfield_size(MAX_PIECES), BitfieldMessage),
    MessageId.REQUEST: _fixed(_RANGE, Request),
    MessageId.PIECE: Form(PIECE_FIELDS_SIZE + 1, PIECE_FIELDS_SIZE + BLOCK_SIZE, _decode_piece),
    MessageId.CANCEL: _fixed(_RANGE, Cancel),
    MessageId.PORT: _fixed(_PORT, Port),
    MessageId.SUGGEST: _fixed(_INDEX, Suggest),
    MessageId.HAVE_ALL: _empty(HaveAll()),
    MessageId.HAVE_NONE: _empty(HaveNone()),
    MessageId.REJECT: _fixed(_RANGE, Reject),
    MessageId.ALLOWED_FAST: _fixed(_INDEX, AllowedFast),
    MessageId.EXTENDED: Form(1, 1 + MAX_EXTENDED, lambda p: Extended(p[0], p[1:])),
    MessageId.HASH_REQUEST: Form(
        hash_messages.REQUEST_SIZE, hash_messages.REQUEST_SIZE, HashRequest.decode_payload
    ),
    MessageId.HASHES: Form(
        hash_messages.REQUEST_SIZE, hash_messages.MAX_HASHES_SIZE, Hashes.decode_payload
    ),
    MessageId.HASH_REJECT: Form(
        hash_messages.REQUEST_SIZE, hash_messages.REQUEST_SIZE, HashReject.decode_payload
    ),
}

MAX_LENGTH = 1 + max(MAX_UNKNOWN, *(form.longest for form in FORMS.values()))
"""The largest length that any message may have: what is known before its id has arrived."""


def check_size(kind: int, size: int) -> None:
    """Refuse a payload that is longer or shorter than its message can be, before it is read.

    Args:
        kind: the id byte.
        size: bytes of payload, after the id.

    Raises:
        ProtocolError: the size breaks the limit of this message.
    """
    form = FORMS.get(kind)
    shortest, longest = (form.shortest, form.longest) if form else (0, MAX_UNKNOWN)
    if not shortest <= size <= longest:
        raise ProtocolError(f"The peer sent a message {kind} of {size} bytes.")


def decode_message(kind: int, payload: bytes) -> Message | None:
    """Read one message.

    Args:
        kind: the id byte.
        payload: all bytes after it; ``check_size`` has let their number pass.

    Returns:
        The message, or None where the id is not known.

    Raises:
        ProtocolError: the payload contradicts itself.
    """
    form = FORMS.get(kind)
    if form is None:
        return None
    return form.decode(payload)


def encode_message(message: Message) -> bytes:
    """Give the bytes of a message, its length included. A block is copied: see ``send_piece``.

    Raises:
        ValueError: a block, or an extended payload, that no peer would accept.
        struct.error: a number outside 32 bits.
    """
    if isinstance(message, KeepAlive):
        return KEEP_ALIVE_BYTES
    kind = MESSAGE_IDS[type(message)]
    match message:
        case Have(piece) | Suggest(piece) | AllowedFast(piece):
            return _INDEX_MESSAGE.pack(1 + _INDEX.size, kind, piece)
        case Request() | Cancel() | Reject():
            return _RANGE_MESSAGE.pack(
                1 + _RANGE.size, kind, message.piece, message.begin, message.length
            )
    payload = _encode_payload(message)
    form = FORMS[kind]
    if not form.shortest <= len(payload) <= form.longest:
        raise ValueError(f"a {kind.name} message cannot have a payload of {len(payload)} bytes")
    return _HEADER.pack(1 + len(payload), kind) + payload


def encode_requests(blocks: Iterable[Block]) -> bytes:
    """Give the bytes of one request for each block: what ``Request`` gives, in one go."""
    pack, length, kind = _RANGE_MESSAGE.pack, 1 + _RANGE.size, MessageId.REQUEST
    return b"".join([pack(length, kind, *block) for block in blocks])


def _encode_payload(message: Message) -> bytes:
    match message:
        case Piece(piece, begin, block):
            return b"".join((_INDEX.pack(piece), _INDEX.pack(begin), block))
        case BitfieldMessage(bits):
            return bits
        case Extended(extended_id, payload):
            return bytes((extended_id,)) + payload
        case HashRequest() | Hashes() | HashReject():
            return message.encode_payload()
        case Port():
            raise ValueError("a port message is never sent: there is no DHT node here")
    return b""
