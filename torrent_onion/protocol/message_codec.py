"""The bytes of the peer wire's messages (BEP 3, 6, 10, 52), and their limits.

Rules:

- A message is a 4-byte length, one id byte and a payload; a length of zero is a keep-alive.
- ``FORMS`` is the one table of what may arrive: id, shortest and longest payload, how to read it.
  A length outside its row is an error before the payload is buffered.
- All integers are unsigned, 4 bytes, big-endian.

Unknown ids are not errors: later BEPs may bring them. They are bounded and skipped.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol import hash_messages
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest
from torrent_onion.protocol.messages import (
    MAX_PIECES,
    MESSAGE_IDS,
    AllowedFast,
    BitfieldMessage,
    Cancel,
    Choke,
    Extended,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    KeepAlive,
    Message,
    MessageId,
    NotInterested,
    Piece,
    Port,
    Reject,
    Request,
    Suggest,
    Unchoke,
)

MAX_EXTENDED = 32 * 1024
"""Bytes of an extended payload: a metadata block of 16 KiB (BEP 9) with its dictionary, twice."""

MAX_UNKNOWN = 32 * 1024
"""Bytes of a payload with an id that we do not know."""

LENGTH_SIZE = 4  # bytes of the length before every message
PIECE_FIELDS_SIZE = 8  # piece and begin, before the block
PIECE_HEADER_SIZE = LENGTH_SIZE + 1 + PIECE_FIELDS_SIZE  # bytes before a block
KEEP_ALIVE_BYTES = bytes(LENGTH_SIZE)

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

iter_requests = _RANGE_MESSAGE.iter_unpack
"""Length, id, piece, begin, length, of requests that lie one behind another, or what is as long."""

REQUEST_SIZE = _RANGE_MESSAGE.size
"""Bytes of a whole request."""

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
