import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.message_codec import (
    FORMS,
    MAX_LENGTH,
    MAX_UNKNOWN,
    check_size,
    decode_message,
    encode_message,
    encode_requests,
)
from torrent_onion.protocol.messages import (
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

GOLDEN: list[tuple[Message, str]] = [
    (KeepAlive(), "00000000"),
    (Choke(), "00000001 00"),
    (Unchoke(), "00000001 01"),
    (Interested(), "00000001 02"),
    (NotInterested(), "00000001 03"),
    (Have(0x01020304), "00000005 04 01020304"),
    (BitfieldMessage(b"\xa0\x01"), "00000003 05 a001"),
    (Request(1, 2, 3), "0000000d 06 00000001 00000002 00000003"),
    (Piece(1, 2, memoryview(b"abc")), "0000000c 07 00000001 00000002 616263"),
    (Cancel(1, 2, 3), "0000000d 08 00000001 00000002 00000003"),
    (Suggest(5), "00000005 0d 00000005"),
    (HaveAll(), "00000001 0e"),
    (HaveNone(), "00000001 0f"),
    (Reject(1, 2, 3), "0000000d 10 00000001 00000002 00000003"),
    (AllowedFast(5), "00000005 11 00000005"),
    (Extended(0, b"de"), "00000004 14 00 6465"),
]

u32 = st.integers(0, 2**32 - 1)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Choke),
    st.builds(Interested),
    st.builds(HaveNone),
    st.builds(Have, u32),
    st.builds(AllowedFast, u32),
    st.builds(BitfieldMessage, st.binary(max_size=300)),
    st.builds(Request, u32, u32, u32),
    st.builds(Cancel, u32, u32, u32),
    st.builds(Reject, u32, u32, u32),
    st.builds(Piece, u32, u32, st.binary(min_size=1, max_size=BLOCK_SIZE).map(memoryview)),
    st.builds(Extended, st.integers(0, 255), st.binary(max_size=300)),
)


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_the_bytes_of_every_message(message: Message, text: str) -> None:
    data = bytes.fromhex(text)
    assert encode_message(message) == data
    if len(data) > 4:
        assert decode_message(data[4], data[5:]) == message


def test_every_message_has_golden_bytes_here_or_with_its_extension() -> None:
    elsewhere = {"HashRequest", "Hashes", "HashReject", "Port"}
    names = {type(message).__name__ for message, _ in GOLDEN} | elsewhere
    assert names == {message.__name__ for message in MESSAGE_IDS} | {"KeepAlive"}
    assert set(FORMS) == set(MessageId) == set(MESSAGE_IDS.values())


@given(messages)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    data = encode_message(message)
    length, kind = struct.unpack_from(">IB", data)
    assert length == len(data) - 4
    check_size(kind, length - 1)
    assert decode_message(kind, data[5:]) == message


@given(st.integers(0, 255), st.binary(max_size=700))
def test_random_payloads_are_read_or_refused(kind: int, payload: bytes) -> None:
    try:
        check_size(kind, len(payload))
        message = decode_message(kind, payload)
    except ProtocolError:
        return
    if message is not None and not isinstance(message, Port):
        assert encode_message(message)[5:] == payload


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_sizes_outside_the_limits_are_refused(kind: int) -> None:
    form = FORMS[kind]
    check_size(kind, form.shortest)
    check_size(kind, form.longest)
    for size in (form.shortest - 1, form.longest + 1, 2**32 - 1):
        with pytest.raises(ProtocolError):
            check_size(kind, size)
    assert form.longest < MAX_LENGTH


def test_unknown_ids_are_skipped_but_bounded() -> None:
    assert decode_message(99, b"whatever") is None
    check_size(99, MAX_UNKNOWN)
    with pytest.raises(ProtocolError):
        check_size(99, MAX_UNKNOWN + 1)


def test_the_dht_port_is_read_and_never_sent() -> None:
    assert decode_message(9, b"\x1a\xe1") == Port(6881)
    with pytest.raises(ValueError, match="DHT"):
        encode_message(Port(6881))


@pytest.mark.parametrize("size", [0, BLOCK_SIZE + 1])
def test_blocks_that_no_peer_accepts_are_not_sent(size: int) -> None:
    with pytest.raises(ValueError, match="PIECE"):
        encode_message(Piece(0, 0, memoryview(bytes(size))))


def test_many_requests_at_once_are_the_same_bytes() -> None:
    blocks = [Block(3, 0, BLOCK_SIZE), Block(3, BLOCK_SIZE, BLOCK_SIZE), Block(4, 0, 99)]
    single = b"".join(encode_message(Request(*block)) for block in blocks)
    assert encode_requests(blocks) == single
    assert encode_requests([]) == b""
