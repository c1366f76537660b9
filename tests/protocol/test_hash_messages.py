import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.hash_messages import (
    MAX_HASHES,
    MAX_PROOF_LAYERS,
    Hashes,
    HashReject,
    HashRequest,
)
from torrent_onion.protocol.message_codec import check_size, decode_message, encode_message
from torrent_onion.protocol.messages import Message

FIELDS = "52" * 32 + "00000001 00000200 00000002 00000003"
ROOT = b"R" * 32

GOLDEN: list[tuple[Message, str]] = [
    (HashRequest(ROOT, 1, 512, 2, 3), "00000031 15" + FIELDS),
    (
        Hashes(ROOT, 1, 512, 2, 3, (b"a" * 32, b"b" * 32)),
        "00000071 16" + FIELDS + "61" * 32 + "62" * 32,
    ),
    (HashReject(ROOT, 1, 512, 2, 3), "00000031 17" + FIELDS),
]

root = st.binary(min_size=32, max_size=32)
u32 = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_the_bytes_of_every_message(message: Message, text: str) -> None:
    data = bytes.fromhex(text)
    assert encode_message(message) == data
    assert decode_message(data[4], data[5:]) == message


@given(root, u32, u32, st.integers(0, 9), st.integers(0, 9), st.data())
def test_what_is_encoded_is_decoded(
    pieces_root: bytes, layer: int, index: int, length: int, proof: int, data: st.DataObject
) -> None:
    hashes = data.draw(st.lists(root, max_size=length + proof).map(tuple))
    message = Hashes(pieces_root, layer, index, length, proof, hashes)
    encoded = encode_message(message)
    assert decode_message(encoded[4], encoded[5:]) == message


def test_the_longest_answer_that_we_can_ask_for_is_accepted() -> None:
    hashes = (bytes(32),) * (MAX_HASHES + MAX_PROOF_LAYERS)
    data = encode_message(Hashes(ROOT, 0, 0, MAX_HASHES, MAX_PROOF_LAYERS, hashes))
    check_size(data[4], len(data) - 5)
    with pytest.raises(ProtocolError):
        check_size(data[4], len(data) - 5 + 32)


@pytest.mark.parametrize("extra", [b"x", bytes(31), bytes(33), bytes(32 * 6)])
def test_hashes_that_contradict_their_fields_are_refused(extra: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_message(22, bytes.fromhex(FIELDS) + extra)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HashRequest(ROOT, 0, 0, 512, 20), True),
        (HashRequest(ROOT, 6, 1024, 512, 0), True),
        (HashRequest(ROOT, 0, 0, 1, 0), True),
        (HashRequest(ROOT, 0, 0, 0, 0), False),
        (HashRequest(ROOT, 0, 0, 1024, 0), False),
        (HashRequest(ROOT, 0, 3, 2, 0), False),
        (HashRequest(ROOT, 1, 0, 2, MAX_PROOF_LAYERS), False),
        (HashRequest(ROOT, 2**32 - 1, 0, 2, 0), False),
    ],
)
def test_requests_that_nobody_has_to_serve(request_: HashRequest, *, expected: bool) -> None:
    assert request_.is_within_limits is expected


def test_wrong_sizes_are_not_sent() -> None:
    with pytest.raises(ValueError, match="pieces root"):
        encode_message(HashRequest(b"short", 0, 0, 2, 0))
    with pytest.raises(ValueError, match="32 bytes"):
        encode_message(Hashes(ROOT, 0, 0, 2, 0, (b"short",)))
