"""One connection between two peers, without the network: bytes in, events out, and back.

Rules:

- ``NEXT_PHASE`` is the whole order of a connection, the same in both directions: a handshake, then
  at most one message that says which pieces there are, then the rest; only that a peer may say
  again which ones it has got.
- A peer that breaks a rule is a ``ProtocolError`` and the connection is over: parsing again gives
  the same error. A call of ours that would break one is a ``RuntimeError`` or ``ValueError``.
- A length beyond its limit is an error before its bytes are buffered.
- Events are parsed as they are asked for, so an event may change how the next bytes are read:
  answer a handshake, or call ``set_num_pieces``, before going on to the next event.

A 16 KiB block costs one ``unpack``, one slice and one event: this is the path of every byte
downloaded. Requests, one for every 16 KiB uploaded, come in runs and are one event for each run.
Everything else takes the general way.

The way of one read::

    count = await stream.receive_into(wire.get_buffer())
    for event in wire.buffer_updated(count):
        ...
    await stream.send_buffers(wire.data_to_send())
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import BencodeError, ProtocolError
from torrent_onion.protocol.extensions import (
    HANDSHAKE_ID,
    DontHave,
    ExtendedMessage,
    ExtensionHandshake,
    ReceivedExtended,
    decode_extended,
)
from torrent_onion.protocol.handshake import HANDSHAKE_SIZE, Handshake, check_header
from torrent_onion.protocol.message_codec import (
    LENGTH_SIZE,
    MAX_LENGTH,
    PIECE_EXTRA,
    PIECE_HEADER_SIZE,
    REQUEST_SIZE,
    bitfield_size,
    check_size,
    decode_message,
    encode_message,
    encode_requests,
    iter_requests,
    pack_piece_header,
    unpack_header,
)
from torrent_onion.protocol.messages import (
    FAST_IDS,
    INDEXED_IDS,
    MAX_PIECES,
    MESSAGE_IDS,
    OPENING_IDS,
    Extended,
    KeepAlive,
    Message,
    MessageId,
    Piece,
    Request,
)
from torrent_onion.protocol.receive_buffer import ReceiveBuffer
from torrent_onion.protocol.send_queue import SendQueue


class Requests(NamedTuple):
    """What a peer asks for, in its order: the requests that came one behind another.

    Instead of single ``Request`` messages: one read brings those for many blocks.
    """

    blocks: list[Block]


Event = Handshake | Message | Requests | ExtensionHandshake | ReceivedExtended

MAX_RUN = 1024
"""Requests in one event, more than peers keep open: the rest of a flood is the next event."""

_PIECE_ID = int(MessageId.PIECE)
_REQUEST_ID = int(MessageId.REQUEST)
_REQUEST_LENGTH = REQUEST_SIZE - LENGTH_SIZE
_MAX_PIECE_LENGTH = PIECE_EXTRA + BLOCK_SIZE
_KEEP_ALIVE = KeepAlive()


class Phase(Enum):
    """How far one direction of a connection has come."""

    HANDSHAKE = "nothing but the handshake may come"
    OPENING = "what the sender has may still come"
    OPEN = "what the sender has was said, or never will be"


NEXT_PHASE: Mapping[Phase, Mapping[int, Phase]] = {
    Phase.HANDSHAKE: {},
    Phase.OPENING: {
        **dict.fromkeys(MessageId, Phase.OPEN),
        # Clients differ in whether these come before the bitfield or after it.
        MessageId.EXTENDED: Phase.OPENING,
        MessageId.PORT: Phase.OPENING,
    },
    Phase.OPEN: dict.fromkeys(set(MessageId) - OPENING_IDS, Phase.OPEN),
}
"""From a phase, by a message id, to the next phase; what is not listed is a breach. Keep-alives and
unknown ids change nothing."""

# Of what is received. aria2 says a long row of HAVEs by a bitfield, or HAVE_ALL, at any time.
_ONLY_OPENING = OPENING_IDS - {MessageId.BITFIELD, MessageId.HAVE_ALL}
_OPEN = Phase.OPEN  # a member is slower to reach through its class


class PeerWire:
    """Framing and protocol state of one connection.

    Attributes:
        peer_handshake: what the peer said first, or None.
        peer_extensions: all that the peer has said in extension handshakes, or None.
        supports_fast: both sides announced the fast extension (BEP 6).
        supports_extensions: both sides announced the extension protocol (BEP 10).
    """

    def __init__(self, *, max_pieces: int | None = None) -> None:
        """Begin a connection.

        Args:
            max_pieces: how many pieces the torrent has; None while its metadata is not known.
        """
        self.peer_handshake: Handshake | None = None
        self.peer_extensions: ExtensionHandshake | None = None
        self.supports_fast = False
        self.supports_extensions = False
        self._our_handshake: Handshake | None = None
        self._incoming = ReceiveBuffer()
        self._outgoing = SendQueue()
        self._receiving = Phase.HANDSHAKE
        self._sending = Phase.HANDSHAKE
        self._max_pieces = MAX_PIECES
        if max_pieces is not None:
            self.set_num_pieces(max_pieces)

    def set_num_pieces(self, count: int) -> None:
        """Say how many pieces the torrent has: no message may name another one from now on.

        Raises:
            ValueError: more than ``MAX_PIECES``.
        """
        if not 0 <= count <= MAX_PIECES:
            raise ValueError(f"a torrent has at most {MAX_PIECES} pieces, not {count}")
        self._max_pieces = count

    # Receiving

    def get_buffer(self) -> memoryview:
        """Give the place for the next read: at least a block and its header.

        The blocks of earlier events are overwritten from now on. All events of the last
        ``buffer_updated`` must have been taken.
        """
        return self._incoming.room()

    def buffer_updated(self, count: int) -> Iterator[Event]:
        """Say that ``count`` bytes were read into ``get_buffer()``.

        Returns:
            The events that are complete now; each is parsed when it is asked for. A ``Piece``'s
            block is valid until the next ``get_buffer``.

        Raises:
            ValueError: more bytes than the buffer has room for.
            ProtocolError: (while iterating) the peer broke a rule; events before that are good.
        """
        self._incoming.add(count)
        return self._parse()

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """Take bytes of any number and copy them, blocks included. For what is not a hot path.

        Raises:
            ProtocolError: the peer broke a rule.
        """
        events: list[Event] = []
        rest = memoryview(data)
        while rest:
            room = self.get_buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            events += map(_keep, self.buffer_updated(count))
        return events

    def receive_eof(self) -> None:
        """Say that the peer will send nothing more.

        Raises:
            ProtocolError: it stopped inside a message.
        """
        if self._incoming.start != self._incoming.end:
            raise ProtocolError("The peer hung up in the middle of a message.")

    def _parse(self) -> Iterator[Event]:
        if self._receiving is Phase.HANDSHAKE:
            handshake = self._parse_handshake()
            if handshake is None:
                return
            yield handshake
        incoming = self._incoming
        data, view, end = incoming.data, incoming.view, incoming.end
        start = incoming.start
        while start + LENGTH_SIZE <= end:
            # What lies past the end is stale; it is not looked at before `after` says so.
            length, kind, piece, begin = unpack_header(data, start)
            after = start + LENGTH_SIZE + length
            if (
                kind == _PIECE_ID
                and after <= end
                and PIECE_EXTRA < length <= _MAX_PIECE_LENGTH
                and piece < self._max_pieces
                and self._receiving is _OPEN
            ):
                incoming.start = after
                yield Piece(piece, begin, view[start + PIECE_HEADER_SIZE : after])
            elif (
                kind == _REQUEST_ID
                and after <= end
                and length == _REQUEST_LENGTH
                and piece < self._max_pieces
                and self._receiving is _OPEN
            ):
                blocks = self._parse_requests(view[start:end])
                after = start + len(blocks) * REQUEST_SIZE
                incoming.start = after
                yield Requests(blocks)
            elif length == 0:
                incoming.start = after
                yield _KEEP_ALIVE
            elif after <= end:
                event = self._parse_message(kind, piece, view[start + LENGTH_SIZE + 1 : after])
                incoming.start = after
                if event is not None:
                    yield event
            else:
                self._check_beginning(length, kind if start + LENGTH_SIZE < end else None)
                return
            start = after

    def _parse_requests(self, data: memoryview) -> list[Block]:
        """Read requests until something else comes; the first one is known to be good."""
        blocks = []
        count = min(len(data) // REQUEST_SIZE, MAX_RUN)
        for length, kind, piece, begin, size in iter_requests(data[: count * REQUEST_SIZE]):
            if length != _REQUEST_LENGTH or kind != _REQUEST_ID or piece >= self._max_pieces:
                break
            blocks.append(Block(piece, begin, size))
        return blocks

    def _parse_handshake(self) -> Handshake | None:
        incoming = self._incoming
        data = bytes(incoming.view[incoming.start : incoming.end][:HANDSHAKE_SIZE])
        check_header(data)
        if len(data) < HANDSHAKE_SIZE:
            return None
        incoming.start += HANDSHAKE_SIZE
        self._receiving = Phase.OPENING
        self.peer_handshake = Handshake.parse(data)
        self._agree()
        return self.peer_handshake

    def _check_beginning(self, length: int, kind: int | None) -> None:
        """Judge a message of which only the length is here, and perhaps the id."""
        if length > MAX_LENGTH:
            raise ProtocolError(f"The peer announced a message of {length} bytes.")
        if kind is not None:
            self._check(kind, length - 1)

    def _check(self, kind: int, size: int) -> None:
        """Hold a message to every rule that needs no more than its id and size."""
        check_size(kind, size)
        if kind == MessageId.BITFIELD and size > bitfield_size(self._max_pieces):
            raise ProtocolError("The peer sent a bitfield that is too long for this torrent.")
        if kind in _ONLY_OPENING and kind not in NEXT_PHASE[self._receiving]:
            raise ProtocolError("The peer said after the beginning that it has no pieces.")
        if kind in FAST_IDS and not self.supports_fast:
            raise ProtocolError("The peer used the fast extension, which was not agreed on.")
        if kind == MessageId.EXTENDED and not self.supports_extensions:
            raise ProtocolError("The peer used the extension protocol, which was not agreed on.")

    def _parse_message(self, kind: int, first: int, payload: memoryview) -> Event | None:
        """Read a whole message; ``first`` is the integer its payload begins with, if it has one."""
        self._check(kind, len(payload))
        if kind in INDEXED_IDS:
            self._check_piece(first)
        message = decode_message(kind, bytes(payload))
        self._receiving = NEXT_PHASE[self._receiving].get(kind, self._receiving)
        if isinstance(message, Extended):
            return self._parse_extended(message)
        if isinstance(message, Request):
            return Requests([Block(message.piece, message.begin, message.length)])
        return message

    def _check_piece(self, piece: int) -> None:
        if piece >= self._max_pieces:
            raise ProtocolError(f"The peer named piece {piece}, which does not exist.")

    def _parse_extended(self, message: Extended) -> ExtensionHandshake | ReceivedExtended | None:
        if message.id == HANDSHAKE_ID:
            return self._parse_extension_handshake(message.payload)
        decoded = decode_extended(message.id, message.payload)
        if isinstance(decoded, DontHave):
            self._check_piece(decoded.piece)
        return decoded

    def _parse_extension_handshake(self, payload: bytes) -> ExtensionHandshake:
        try:
            said = ExtensionHandshake.decode(payload)
        except BencodeError as error:
            raise ProtocolError(f"The peer sent a bad extension handshake: {error}") from error
        known = self.peer_extensions
        self.peer_extensions = said if known is None else known.updated_by(said)
        return self.peer_extensions

    # Sending

    def send_handshake(self, handshake: Handshake) -> None:
        """Queue our handshake, which comes first.

        Raises:
            RuntimeError: it was sent before.
        """
        if self._sending is not Phase.HANDSHAKE:
            raise RuntimeError("the handshake was sent before")
        self._outgoing.add(handshake.encode())
        self._sending = Phase.OPENING
        self._our_handshake = handshake
        self._agree()

    def send(self, message: Message) -> None:
        """Queue a message. Use ``send_piece`` for blocks and ``send_requests`` for many requests.

        Raises:
            RuntimeError: this message may not be sent on this connection, or not now.
            ValueError: the message itself is not valid.
        """
        if not isinstance(message, KeepAlive):
            self._check_sending(MESSAGE_IDS[type(message)])
        elif self._sending is Phase.HANDSHAKE:
            raise RuntimeError("the handshake comes first")
        self._outgoing.add(encode_message(message))

    def send_piece(self, piece: int, begin: int, block: bytes | memoryview) -> None:
        """Queue a block, which is not copied: it must not change until it is sent.

        Raises:
            RuntimeError: the handshake was not sent yet.
            ValueError: an empty block, or one of more than 16 KiB.
        """
        length = len(block)
        if not 0 < length <= BLOCK_SIZE:
            raise ValueError(f"a block has 1 to {BLOCK_SIZE} bytes, not {length}")
        if self._sending is not _OPEN:
            self._check_sending(MessageId.PIECE)
        header = pack_piece_header(PIECE_EXTRA + length, _PIECE_ID, piece, begin)
        self._outgoing.add_block(header, block)

    def send_requests(self, blocks: Sequence[Block]) -> None:
        """Queue a request for each block.

        Raises:
            RuntimeError: the handshake was not sent yet.
        """
        self._check_sending(MessageId.REQUEST)
        self._outgoing.add(encode_requests(blocks))

    def send_extension_handshake(self, handshake: ExtensionHandshake) -> None:
        """Queue our extension handshake (BEP 10); it may be sent again when something changes.

        Raises:
            RuntimeError: the extension protocol was not agreed on.
        """
        self.send(Extended(HANDSHAKE_ID, handshake.encode()))

    def send_extended(self, message: ExtendedMessage) -> bool:
        """Queue an extended message under the id that the peer gave it.

        Returns:
            False, and nothing is queued, where the peer does not speak this extension.
        """
        ids = self.peer_extensions.ids if self.peer_extensions else {}
        extended_id = ids.get(message.NAME, 0)
        if not extended_id:
            return False
        self.send(Extended(extended_id, message.encode()))
        return True

    def data_to_send(self) -> list[bytes | memoryview]:
        """Take all that is queued, in order, for ``sendmsg`` or the like."""
        return self._outgoing.take()

    @property
    def bytes_queued(self) -> int:
        """How many bytes wait for ``data_to_send``."""
        return self._outgoing.size

    def _check_sending(self, kind: MessageId) -> None:
        phase = NEXT_PHASE[self._sending].get(kind)
        if phase is None:
            raise RuntimeError(f"{kind.name} may not be sent now: {self._sending.value}")
        if kind in FAST_IDS and not self.supports_fast:
            raise RuntimeError(f"{kind.name} needs the fast extension on both sides")
        if kind == MessageId.EXTENDED and not self.supports_extensions:
            raise RuntimeError("the extension protocol was not agreed on")
        self._sending = phase

    def _agree(self) -> None:
        ours, theirs = self._our_handshake, self.peer_handshake
        if ours is not None and theirs is not None:
            self.supports_fast = ours.fast and theirs.fast
            self.supports_extensions = ours.extensions and theirs.extensions


def _keep(event: Event) -> Event:
    """Give an event that outlives the receive buffer."""
    if isinstance(event, Piece):
        return event._replace(block=memoryview(bytes(event.block)))
    return event
