import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.extensions import (
    DontHave,
    ExtensionHandshake,
    MetadataRequest,
    UnreadPex,
)
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.message_codec import MAX_LENGTH, encode_message
from torrent_onion.protocol.messages import (
    MAX_PIECES,
    AllowedFast,
    BitfieldMessage,
    Cancel,
    Extended,
    Have,
    HaveAll,
    HaveNone,
    KeepAlive,
    Message,
    Piece,
    Port,
    Reject,
    Request,
    Suggest,
    Unchoke,
)
from torrent_onion.protocol.onion_pex import OnionPex
from torrent_onion.protocol.peer_wire import Event, PeerWire, Requests
from torrent_onion.protocol.receive_buffer import MIN_SIZE

Shake = Callable[[PeerWire], PeerWire]
OpenWire = Callable[[], PeerWire]

PORT_BYTES = b"\x00\x00\x00\x03\x09\x1a\xe1"
HANDSHAKE = Handshake(info_hash=b"h" * 20, peer_id=PeerId(b"p" * 20))
ROOT = b"R" * 32

EXTENSIONS = ExtensionHandshake(metadata_size=16387)


def new_wire() -> PeerWire:
    wire = PeerWire(max_pieces=8)
    wire.send_handshake(HANDSHAKE)
    return wire


def receive(wire: PeerWire, message: Message) -> list[Event]:
    return wire.receive_data(encode_message(message))


def sent(wire: PeerWire) -> bytes:
    return b"".join(wire.data_to_send())


def handshaken() -> PeerWire:
    wire = new_wire()
    wire.receive_data(HANDSHAKE.encode())
    return wire


class TestRulesForThePeer:
    def test_the_handshake_comes_first(self) -> None:
        with pytest.raises(ProtocolError, match="BitTorrent protocol"):
            new_wire().receive_data(encode_message(Unchoke()))

    def test_another_protocol_is_refused_at_once(self) -> None:
        with pytest.raises(ProtocolError, match="BitTorrent protocol"):
            new_wire().receive_data(b"\x13BitTorrent pr*")

    @pytest.mark.parametrize(
        "first",
        [BitfieldMessage(b"\xff"), HaveAll(), HaveNone(), Have(1), Unchoke(), Request(0, 0, 1)],
    )
    def test_that_it_has_nothing_a_peer_says_first_and_once(
        self, shake: Shake, first: Message
    ) -> None:
        wire = shake(PeerWire(max_pieces=8))
        receive(wire, first)
        with pytest.raises(ProtocolError, match="after the beginning"):
            receive(wire, HaveNone())

    @pytest.mark.parametrize("later", [BitfieldMessage(b"\xf0"), HaveAll()])
    def test_what_it_has_got_a_peer_may_say_later_as_aria2_does(
        self, shake: Shake, later: Message
    ) -> None:
        """Where that is shorter than a HAVE for each piece."""
        wire = shake(PeerWire(max_pieces=8))
        receive(wire, HaveNone())
        receive(wire, Request(0, 0, 1))
        assert receive(wire, later) == [later]
        with pytest.raises(ProtocolError, match="too long"):
            receive(wire, BitfieldMessage(b"\xf0\0"))

    def test_a_block_may_be_the_first_message(self, shake: Shake) -> None:
        wire = shake(PeerWire(max_pieces=8))
        piece = Piece(1, 0, memoryview(b"x"))
        assert receive(wire, piece) == [piece]
        with pytest.raises(ProtocolError, match="after the beginning"):
            receive(wire, HaveNone())

    @pytest.mark.parametrize(
        "message", [Suggest(1), HaveAll(), HaveNone(), Reject(1, 2, 3), AllowedFast(1)]
    )
    @pytest.mark.parametrize("we_are_fast", [True, False])
    def test_fast_messages_need_both_sides(self, message: Message, *, we_are_fast: bool) -> None:
        ours = Handshake(HANDSHAKE.info_hash, HANDSHAKE.peer_id, fast=we_are_fast)
        theirs = Handshake(HANDSHAKE.info_hash, HANDSHAKE.peer_id, fast=not we_are_fast)
        wire = PeerWire()
        wire.send_handshake(ours)
        wire.receive_data(theirs.encode())
        assert not wire.supports_fast
        with pytest.raises(ProtocolError, match="fast extension"):
            receive(wire, message)
        with pytest.raises(RuntimeError, match="fast extension"):
            wire.send(message)

    @pytest.mark.parametrize("we_extend", [True, False])
    def test_extended_messages_need_both_sides(self, *, we_extend: bool) -> None:
        hash_, peer_id = HANDSHAKE.info_hash, HANDSHAKE.peer_id
        wire = PeerWire()
        wire.send_handshake(Handshake(hash_, peer_id, extensions=we_extend))
        wire.receive_data(Handshake(hash_, peer_id, extensions=not we_extend).encode())
        assert not wire.supports_extensions
        with pytest.raises(ProtocolError, match="extension protocol"):
            receive(wire, Extended(0, b"de"))
        with pytest.raises(RuntimeError, match="extension protocol"):
            wire.send_extension_handshake(EXTENSIONS)

    @pytest.mark.parametrize(
        "message",
        [
            Have(8),
            Request(8, 0, 1),
            Cancel(8, 0, 1),
            Reject(8, 0, 1),
            Suggest(8),
            AllowedFast(8),
            Piece(8, 0, memoryview(b"x")),
            Extended(3, DontHave(8).encode()),
        ],
    )
    def test_no_piece_beyond_the_torrent(self, open_wire: OpenWire, message: Message) -> None:
        with pytest.raises(ProtocolError, match="piece 8"):
            receive(open_wire(), message)

    def test_before_the_torrent_is_known_pieces_are_bounded_as_well(self, shake: Shake) -> None:
        wire = shake(PeerWire())
        assert receive(wire, Have(MAX_PIECES - 1))
        with pytest.raises(ProtocolError, match="does not exist"):
            receive(wire, Have(MAX_PIECES))

    @pytest.mark.parametrize("payload", [b"", b"le", b"d1:m", b"i5e", b"d1:mdee"[:-1]])
    def test_extension_handshakes_are_dictionaries(self, shake: Shake, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match="bad extension handshake"):
            receive(shake(PeerWire()), Extended(0, payload))

    def test_an_extension_handshake_may_repeat(self, shake: Shake) -> None:
        wire = shake(PeerWire())
        receive(wire, Extended(0, b"d1:md11:ut_metadatai2eee"))
        assert receive(wire, Extended(0, b"d11:upload_onlyi1ee")) == [
            ExtensionHandshake(ids={"ut_metadata": 2}, reqq=None, upload_only=True)
        ]


class TestLimits:
    @pytest.mark.parametrize(
        "header",
        [
            "ffffffff",
            "00800000",
            f"{MAX_LENGTH + 1:08x}",
            "00000002 00",  # a choke with a payload
            "00000004 04",
            "0000000e 06",
            f"{1 + 8 + BLOCK_SIZE + 1:08x} 07",
            "00000009 07",  # a block of nothing
            "00000003 05",  # sixteen pieces, and there are eight
            f"{1 + 1 + 32 * 1024 + 1:08x} 14",
            f"{1 + 32 * 1024 + 1:08x} 63",
            "00008000 16",
        ],
    )
    def test_a_length_over_its_limit_is_refused_before_it_is_buffered(
        self, shake: Shake, header: str
    ) -> None:
        wire = shake(PeerWire(max_pieces=8))
        with pytest.raises(ProtocolError):
            wire.receive_data(bytes.fromhex(header))

    @pytest.mark.parametrize("size", [0, BLOCK_SIZE + 1])
    def test_a_block_of_the_wrong_size_is_refused_when_it_is_all_there(
        self, open_wire: OpenWire, size: int
    ) -> None:
        data = struct.pack(">IBII", 9 + size, 7, 1, 0) + bytes(size)
        wire = open_wire()
        wire.get_buffer()[: len(data)] = data
        with pytest.raises(ProtocolError, match="message 7"):
            next(wire.buffer_updated(len(data)))

    def test_memory_follows_what_arrives_not_what_is_announced(self, shake: Shake) -> None:
        wire = shake(PeerWire())
        wire.receive_data((1 + MAX_PIECES // 8).to_bytes(4, "big") + b"\x05" + bytes(1000))
        assert len(wire.get_buffer()) < MIN_SIZE
        (event,) = wire.receive_data(bytes(MAX_PIECES // 8 - 1000))
        assert event == BitfieldMessage(bytes(MAX_PIECES // 8))
        assert len(wire._incoming.data) <= 4 * MAX_PIECES // 8

    @given(st.lists(st.binary(max_size=100), max_size=20))
    def test_random_bytes_give_events_or_a_protocol_error(self, chunks: list[bytes]) -> None:
        for wire in (new_wire(), handshaken()):
            with contextlib.suppress(ProtocolError):
                for chunk in chunks:
                    wire.receive_data(chunk)
            assert len(wire._incoming.data) < 2 * MIN_SIZE

    @given(
        st.lists(
            st.tuples(st.integers(0, 25), st.binary(max_size=80), st.integers(-2, 2)), max_size=20
        )
    )
    @settings(max_examples=examples(300))
    def test_random_messages_give_events_or_a_protocol_error(
        self, frames: list[tuple[int, bytes, int]]
    ) -> None:
        wire = handshaken()
        with contextlib.suppress(ProtocolError):
            for kind, payload, lie in frames:
                length = max(0, 1 + len(payload) + lie)
                wire.receive_data(length.to_bytes(4, "big") + bytes([kind]) + payload)
        assert len(wire._incoming.data) < 2 * MIN_SIZE

    @given(st.integers(0, 4), st.binary(max_size=80))
    def test_random_extended_messages_give_events_or_a_protocol_error(
        self, extended_id: int, payload: bytes
    ) -> None:
        with contextlib.suppress(ProtocolError):
            receive(handshaken(), Extended(extended_id, payload))

    def test_more_pieces_than_any_torrent_has_is_a_mistake_of_ours(self) -> None:
        with pytest.raises(ValueError, match="at most"):
            PeerWire(max_pieces=MAX_PIECES + 1)
        with pytest.raises(ValueError, match="at most"):
            PeerWire().set_num_pieces(-1)


class TestSending:
    def test_what_one_wire_sends_another_receives(
        self, onion: Callable[[int], PeerAddress]
    ) -> None:
        one, two = new_wire(), new_wire()
        two.receive_data(sent(one))
        one.receive_data(sent(two))
        one.send_extension_handshake(EXTENSIONS)
        two.send_extension_handshake(EXTENSIONS)
        one.receive_data(sent(two))
        two.receive_data(sent(one))
        pex = OnionPex(added=((onion(1), 0),))
        one.send(HaveAll())
        one.send(KeepAlive())
        assert one.send_extended(pex)
        one.send_piece(3, 4, b"block")
        one.send_requests([Block(1, 0, 16384), Block(1, 16384, 5)])
        assert two.receive_data(sent(one)) == [
            HaveAll(),
            KeepAlive(),
            UnreadPex(pex.NAME, pex.encode()),
            Piece(3, 4, memoryview(b"block")),
            Requests([Block(1, 0, 16384), Block(1, 16384, 5)]),
        ]

    def test_blocks_are_queued_as_they_are(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        block = memoryview(bytearray(b"b" * BLOCK_SIZE))
        wire.send(Have(1))
        wire.send_piece(1, 16384, block)
        wire.send_piece(1, 32768, block)
        wire.send(Have(2))
        assert wire.bytes_queued == 9 + 2 * (13 + BLOCK_SIZE) + 9
        parts = wire.data_to_send()
        assert wire.bytes_queued == 0
        assert [len(part) for part in parts] == [9 + 13, BLOCK_SIZE, 13, BLOCK_SIZE, 9]
        assert parts[1] is block
        assert parts[2] == bytes.fromhex("00004009 07 00000001 00008000")

    def test_extended_messages_carry_the_ids_of_the_peer(self, open_wire: OpenWire) -> None:
        wire = open_wire()
        assert not wire.send_extended(DontHave(1))
        receive(wire, Extended(0, b"d1:md11:lt_donthavei7e11:ut_metadatai0eee"))
        assert not wire.send_extended(MetadataRequest(0))
        assert wire.send_extended(DontHave(1))
        assert sent(wire) == b"\x00\x00\x00\x06\x14\x07\x00\x00\x00\x01"

    @pytest.mark.parametrize(
        "call",
        [
            lambda wire: wire.send(Unchoke()),
            lambda wire: wire.send(KeepAlive()),
            lambda wire: wire.send_piece(0, 0, b"x"),
            lambda wire: wire.send_requests([Block(0, 0, 1)]),
            lambda wire: wire.send_extension_handshake(EXTENSIONS),
        ],
    )
    def test_nothing_before_the_handshake(self, call: Callable[[PeerWire], None]) -> None:
        with pytest.raises(RuntimeError):
            call(PeerWire())

    def test_one_handshake(self) -> None:
        wire = new_wire()
        with pytest.raises(RuntimeError, match="before"):
            wire.send_handshake(HANDSHAKE)

    @pytest.mark.parametrize("second", [BitfieldMessage(b"\xff"), HaveAll(), HaveNone()])
    @pytest.mark.parametrize(
        "first", [BitfieldMessage(b"\xff"), HaveAll(), Have(1), "piece", "requests"]
    )
    def test_what_we_have_comes_first_and_once(
        self, shake: Shake, first: Message | str, second: Message
    ) -> None:
        wire = shake(PeerWire(max_pieces=8))
        match first:
            case "piece":
                wire.send_piece(0, 0, b"x")
            case "requests":
                wire.send_requests([Block(0, 0, 1)])
            case str():
                pytest.fail("no such case")
            case _:
                wire.send(first)
        with pytest.raises(RuntimeError, match="may not be sent now"):
            wire.send(second)

    def test_a_message_that_breaks_a_rule_is_not_half_sent(self, shake: Shake) -> None:
        wire = shake(PeerWire())
        with pytest.raises(ValueError, match="DHT"):
            wire.send(Port(1))
        assert sent(wire) == b""

    @pytest.mark.parametrize("size", [0, BLOCK_SIZE + 1])
    def test_blocks_that_no_peer_accepts(self, open_wire: OpenWire, size: int) -> None:
        with pytest.raises(ValueError, match="a block has"):
            open_wire().send_piece(0, 0, bytes(size))
