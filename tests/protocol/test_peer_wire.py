from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from torrent_onion.core.identity import PeerId
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.extensions import (
    DontHave,
    ExtensionHandshake,
    MetadataData,
    MetadataReject,
    MetadataRequest,
    UnreadPex,
)
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest
from torrent_onion.protocol.message_codec import encode_message
from torrent_onion.protocol.messages import (
    AllowedFast,
    BitfieldMessage,
    Cancel,
    Choke,
    Extended,
    Have,
    HaveAll,
    Interested,
    KeepAlive,
    Message,
    NotInterested,
    Piece,
    Port,
    Reject,
    Request,
    Suggest,
    Unchoke,
)
from torrent_onion.protocol.onion_pex import OnionPex
from torrent_onion.protocol.peer_wire import MAX_RUN, Event, PeerWire, Requests
from torrent_onion.protocol.receive_buffer import MAX_SIZE, MIN_ROOM

Shake = Callable[[PeerWire], PeerWire]
OpenWire = Callable[[], PeerWire]

PORT_BYTES = b"\x00\x00\x00\x03\x09\x1a\xe1"
HANDSHAKE = Handshake(info_hash=b"h" * 20, peer_id=PeerId(b"p" * 20))
ROOT = b"R" * 32

EXTENSIONS = ExtensionHandshake(metadata_size=16387)
# One of every message, in an order that is allowed; the event each becomes.
TRANSCRIPT: list[tuple[bytes, Event | None]] = [
    (HANDSHAKE.encode(), HANDSHAKE),
    (encode_message(Extended(0, EXTENSIONS.encode())), EXTENSIONS),
    (PORT_BYTES, Port(6881)),
    (encode_message(KeepAlive()), KeepAlive()),
    (b"\x00\x00\x00\x04\x63xyz", None),  # an id that nobody knows
    (encode_message(Extended(77, b"whatever")), None),
    (encode_message(BitfieldMessage(b"\xf0")), BitfieldMessage(b"\xf0")),
    *(
        (encode_message(message), cast("Event", message))
        for message in (
            Choke(),
            Unchoke(),
            Interested(),
            NotInterested(),
            Have(7),
            Piece(1, 0, memoryview(b"block")),
            Cancel(1, 2, 3),
            Piece(2, 5, memoryview(b"y")),
            Suggest(5),
            Reject(1, 2, 3),
            AllowedFast(5),
            HashRequest(ROOT, 0, 0, 2, 0),
            Hashes(ROOT, 0, 0, 2, 0, (ROOT, ROOT)),
            HashReject(ROOT, 0, 0, 2, 0),
        )
    ),
    (encode_message(Request(1, 2, 3)), Requests([Block(1, 2, 3)])),
    (encode_message(Extended(1, MetadataRequest(1).encode())), MetadataRequest(1)),
    (encode_message(Extended(1, MetadataReject(1).encode())), MetadataReject(1)),
    (
        encode_message(Extended(1, MetadataData(1, 16387, b"xyz").encode())),
        MetadataData(1, 16387, b"xyz"),
    ),
    (
        encode_message(Extended(2, OnionPex().encode())),
        UnreadPex(OnionPex.NAME, OnionPex().encode()),
    ),
    (encode_message(Extended(3, DontHave(7).encode())), DontHave(7)),
]
STREAM = b"".join(data for data, _ in TRANSCRIPT)
EVENTS = [event for _, event in TRANSCRIPT if event is not None]


def new_wire() -> PeerWire:
    wire = PeerWire(max_pieces=8)
    wire.send_handshake(HANDSHAKE)
    return wire


def receive(wire: PeerWire, message: Message) -> list[Event]:
    return wire.receive_data(encode_message(message))


def sent(wire: PeerWire) -> bytes:
    return b"".join(wire.data_to_send())


class TestFraming:
    def test_the_transcript_gives_its_events(self) -> None:
        wire = new_wire()
        assert wire.receive_data(STREAM) == EVENTS
        wire.receive_eof()
        assert wire.peer_handshake == HANDSHAKE
        assert wire.peer_extensions == EXTENSIONS

    def test_byte_by_byte_it_is_the_same(self) -> None:
        wire = new_wire()
        events = [event for n in range(len(STREAM)) for event in wire.receive_data(STREAM[n:][:1])]
        assert events == EVENTS

    def test_every_single_split_is_the_same(self) -> None:
        for split in range(len(STREAM)):
            wire = new_wire()
            assert wire.receive_data(STREAM[:split]) + wire.receive_data(STREAM[split:]) == EVENTS

    @given(st.lists(st.integers(1, 40_000), min_size=1, max_size=30), st.data())
    @settings(max_examples=examples(50))
    def test_any_chunking_of_blocks_is_the_same(
        self, sizes: list[int], data: st.DataObject
    ) -> None:
        blocks = data.draw(st.lists(st.integers(1, BLOCK_SIZE), min_size=1, max_size=12))
        messages = [
            Piece(number % 8, size, memoryview(bytes([number]) * size))
            for number, size in enumerate(blocks)
        ]
        stream = HANDSHAKE.encode() + b"".join(
            encode_message(message) + encode_message(Have(1)) for message in messages
        )
        expected = [event for message in messages for event in (message, Have(1))]
        wire = new_wire()
        events: list[Event] = []
        for turn in range(len(stream)):
            size = sizes[turn % len(sizes)]
            events += wire.receive_data(stream[:size])
            stream = stream[size:]
            if not stream:
                break
        assert events == [HANDSHAKE, *expected]

    def test_the_end_inside_a_message_is_an_error(self) -> None:
        wire = new_wire()
        ends = set(accumulate(len(data) for data, _ in TRANSCRIPT))
        for count in range(1, len(STREAM) + 1):
            wire.receive_data(STREAM[count - 1 : count])
            if count in ends:
                wire.receive_eof()
            else:
                with pytest.raises(ProtocolError, match="middle"):
                    wire.receive_eof()

    def test_an_end_before_everything_is_no_error(self) -> None:
        PeerWire().receive_eof()


class TestRequests:
    @given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 60))
    @settings(max_examples=examples(50))
    def test_they_keep_their_order_among_other_messages(self, kinds: list[int], size: int) -> None:
        """However the bytes are cut, what comes out is what went in; only runs are joined."""
        sent: list[Message] = [
            Cancel(1, number, 1) if kind == 0 else Request(kind, number, 1)
            for number, kind in enumerate(kinds)
        ]
        stream = HANDSHAKE.encode() + b"".join(encode_message(message) for message in sent)
        wire = new_wire()
        got: list[Event] = []
        for start in range(0, len(stream), size):
            for event in wire.receive_data(stream[start : start + size]):
                requests = event.blocks if isinstance(event, Requests) else ()
                got += [Request(*block) for block in requests] if requests else [event]
        assert got == [HANDSHAKE, *sent]

    def test_a_run_is_one_event_and_bounded(self, open_wire: OpenWire) -> None:
        blocks = [Block(1, number, 1) for number in range(MAX_RUN + 1)]
        wire = open_wire()
        stream = b"".join(encode_message(Request(*block)) for block in blocks)
        wire.get_buffer()[: len(stream)] = stream
        assert list(wire.buffer_updated(len(stream))) == [
            Requests(blocks[:MAX_RUN]),
            Requests(blocks[MAX_RUN:]),
        ]

    def test_those_before_one_that_breaks_a_rule_are_good(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        data = b"".join(encode_message(Request(piece, 0, 1)) for piece in (0, 7, 8))
        wire.get_buffer()[: len(data)] = data
        events = wire.buffer_updated(len(data))
        assert next(events) == Requests([Block(0, 0, 1), Block(7, 0, 1)])
        with pytest.raises(ProtocolError, match="does not exist"):
            next(events)


class TestBlocks:
    def test_blocks_lie_in_the_buffer_until_the_next_read(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        data = encode_message(Piece(1, 0, memoryview(b"a" * 100)))
        room = wire.get_buffer()
        room[: len(data)] = data
        (event,) = wire.buffer_updated(len(data))
        assert isinstance(event, Piece)
        assert event.block.obj is room.obj
        assert event.block == b"a" * 100

    def test_a_read_always_has_room_for_a_block(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        stream = encode_message(Piece(1, 0, memoryview(bytes(BLOCK_SIZE)))) * 300
        rest = memoryview(stream)
        count = 0
        largest = 0
        while rest:
            room = wire.get_buffer()
            assert len(room) >= MIN_ROOM
            largest = max(largest, len(room))
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            rest = rest[size:]
            count += len(list(wire.buffer_updated(size)))
        assert count == 300
        assert MAX_SIZE - MIN_ROOM <= largest <= MAX_SIZE

    def test_events_before_an_error_are_good(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        data = encode_message(Have(1)) + encode_message(Have(99))
        wire.get_buffer()[: len(data)] = data
        events = wire.buffer_updated(len(data))
        assert next(events) == Have(1)
        with pytest.raises(ProtocolError, match="piece 99"):
            next(events)

    def test_an_error_stays(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        for data in (encode_message(Have(99)), encode_message(Have(1))):
            with pytest.raises(ProtocolError, match="piece 99"):
                wire.receive_data(data)

    def test_an_event_may_change_how_the_next_one_is_read(self) -> None:
        """As when the handshake names the torrent, and only then its size is known."""
        wire = PeerWire()
        data = HANDSHAKE.encode() + encode_message(HaveAll()) + encode_message(Have(8))
        wire.get_buffer()[: len(data)] = data
        events = wire.buffer_updated(len(data))
        assert next(events) == HANDSHAKE
        wire.send_handshake(HANDSHAKE)
        wire.set_num_pieces(8)
        assert next(events) == HaveAll()
        with pytest.raises(ProtocolError, match="piece 8"):
            next(events)


def test_events_come_as_they_are_asked_for() -> None:
    wire = new_wire()
    wire.receive_data(HANDSHAKE.encode())
    data = encode_message(Have(1)) * 2
    wire.get_buffer()[: len(data)] = data
    events: Iterator[Event] = wire.buffer_updated(len(data))
    assert next(events) == Have(1)
    assert [*events] == [Have(1)]


def test_events_that_were_not_taken_come_with_the_next_read() -> None:
    wire = new_wire()
    wire.receive_data(HANDSHAKE.encode())
    messages: list[Message] = [
        BitfieldMessage(b"\xff"),
        Have(1),
        Piece(1, 0, memoryview(b"x")),
        KeepAlive(),
    ]
    data = b"".join(map(encode_message, messages))
    wire.get_buffer()[: len(data)] = data
    for count, message in zip([len(data), 0, 0, 0], messages, strict=True):
        assert next(wire.buffer_updated(count)) == message
