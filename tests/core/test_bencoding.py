import itertools
from typing import Any

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import (
    INFO_LIMITS,
    METAINFO_LIMITS,
    PEER_LIMITS,
    TRACKER_LIMITS,
    BencodeLimits,
    Value,
    decode,
    decode_prefix,
    decode_with_span,
    encode,
)
from torrent_onion.errors import BencodeError

LIMITS = BencodeLimits(max_bytes=10_000, max_depth=8, max_items=1_000)

integers = st.integers(-(2**63), 2**63 - 1)
values: st.SearchStrategy[Any] = st.recursive(
    integers | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)
# Bytes that look like bencoding far more often than random ones do.
almost_bencoding = st.lists(
    st.sampled_from([b"d", b"l", b"e", b"i", b"-", b"0", b"1", b"9", b":", b"a", b"1:a", b"i7e"]),
    max_size=14,
).map(b"".join)


def decode_strictly(data: bytes) -> Value:
    return decode(data, limits=LIMITS, canonical=True)


@given(values)
def test_round_trip(value: Any) -> None:
    limits = BencodeLimits(max_bytes=10**6)
    assert decode(encode(value), limits=limits, canonical=True) == value
    assert decode(encode(value), limits=limits, canonical=False) == value


@given(values)
def test_encodes_as_another_library_does(value: Any) -> None:
    assert encode(value) == bencode2.bencode(value)


@given(almost_bencoding | st.binary(max_size=30))
def test_strict_decoding_accepts_only_what_encoding_gives(data: bytes) -> None:
    try:
        value = decode_strictly(data)
    except BencodeError:
        return
    assert encode(value) == data


@given(almost_bencoding)
def test_agrees_with_another_strict_library(data: bytes) -> None:
    try:
        expected = bencode2.bdecode(data)
    except bencode2.BencodeDecodeError:
        with pytest.raises(BencodeError):
            decode_strictly(data)
    else:
        assert decode_strictly(data) == expected


@given(values, st.binary(max_size=10))
def test_a_prefix_leaves_the_rest_alone(value: Any, rest: bytes) -> None:
    encoded = encode(value)
    limits = BencodeLimits(max_bytes=len(encoded))
    assert decode_prefix(encoded + rest, limits=limits) == (value, len(encoded))


@given(values)
def test_every_truncation_is_an_error(value: Any) -> None:
    encoded = encode(value)
    for length in range(len(encoded)):
        with pytest.raises(BencodeError):
            decode_strictly(encoded[:length])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer(kind: type) -> None:
    data = kind(b"d1:ali1e2:bcee")
    expected = {b"a": [1, b"bc"]}
    assert decode(data, limits=LIMITS, canonical=True) == expected
    assert decode_prefix(data, limits=LIMITS) == (expected, 14)
    assert decode_with_span(data, b"a", limits=LIMITS, canonical=True) == (expected, b"li1e2:bce")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"e",
        b"i",
        b"ie",
        b"i-e",
        b"i-0e",
        b"i00e",
        b"i01e",
        b"i+1e",
        b"i 1e",
        b"i1 e",
        b"i1_0e",
        b"i1.0e",
        b"i0x1e",
        b"i9223372036854775808e",
        b"i-9223372036854775809e",
        b"i" + b"1" * 4299 + b"e",
        b"i1",
        b"i1ei2e",
        b"1:",
        b"1",
        b"01:a",
        b"00:",
        b"-1:a",
        b"+1:a",
        b"1_0:aaaaaaaaaa",
        b"2:a",
        b"9999999999:a",
        b"99999999999999999999:a",
        b"1:ab",
        b"l",
        b"li1e",
        b"lx",
        b"lee",
        b"d",
        b"de1",
        b"d1:a",
        b"d1:ae",
        b"d1:ai1e",
        b"di1ei1ee",
        b"dli1eei1ee",
        b"d1:ai1e1:ai1ee",
        b"d1:bi1e1:ai1ee",
        b"d1:ai1e0:i1ee",
        b"d0:i0e-6:e",
    ],
)
def test_what_strict_decoding_refuses(data: bytes) -> None:
    with pytest.raises(BencodeError):
        decode_strictly(data)


@pytest.mark.parametrize("data", [b"d1:ai1e1:bi1e1:ai1ee", b"i-0e", b"i01e", b"01:a", b"i1ei1e"])
def test_forgiving_the_order_of_keys_forgives_nothing_else(data: bytes) -> None:
    with pytest.raises(BencodeError):
        decode(data, limits=LIMITS, canonical=False)


def test_keys_in_any_order_where_that_is_allowed() -> None:
    data = b"d1:bd1:di1e1:ci2ee1:ai3ee"
    expected = {b"b": {b"d": 1, b"c": 2}, b"a": 3}
    assert decode(data, limits=LIMITS, canonical=False) == expected
    assert decode_prefix(data, limits=LIMITS)[0] == expected
    with pytest.raises(BencodeError, match="order"):
        decode_strictly(data)


def test_keys_are_ordered_as_bytes() -> None:
    assert decode_strictly(b"d0:i1e1:Ai2e1:ai3e2:aai4e1:\xffi5ee") == {
        b"": 1,
        b"A": 2,
        b"a": 3,
        b"aa": 4,
        b"\xff": 5,
    }


def test_errors_say_what_and_where() -> None:
    with pytest.raises(BencodeError, match="a wrong integer at byte 4"):
        decode_strictly(b"d1:ai-0ee")


def test_the_integers_of_64_bits() -> None:
    assert decode_strictly(b"i9223372036854775807e") == 2**63 - 1
    assert decode_strictly(b"i-9223372036854775808e") == -(2**63)


def test_depth_is_limited() -> None:
    deepest = b"l" * 8 + b"e" * 8
    assert decode_strictly(deepest) == [[[[[[[[]]]]]]]]
    with pytest.raises(BencodeError, match="8 levels"):
        decode_strictly(b"l" + deepest + b"e")
    with pytest.raises(BencodeError, match="8 levels"):
        decode_strictly(b"d1:a" * 9)


@pytest.mark.parametrize("limits", [METAINFO_LIMITS, INFO_LIMITS, PEER_LIMITS, TRACKER_LIMITS])
def test_no_depth_reaches_the_recursion_limit(limits: BencodeLimits) -> None:
    with pytest.raises(BencodeError, match="levels"):
        decode(b"l" * 20_000 + b"e" * 20_000, limits=limits, canonical=True)


def test_items_are_limited() -> None:
    assert len(decode_strictly(b"l" + b"0:" * 999 + b"e")) == 999  # type: ignore[arg-type]  # a list
    with pytest.raises(BencodeError, match="1000 values"):
        decode_strictly(b"l" + b"0:" * 1000 + b"e")


def test_bytes_are_limited() -> None:
    limits = BencodeLimits(max_bytes=4)
    assert decode(b"2:ab", limits=limits, canonical=True) == b"ab"
    with pytest.raises(BencodeError, match="longer than 4 bytes"):
        decode(b"3:abc", limits=limits, canonical=True)
    with pytest.raises(BencodeError):
        decode_prefix(b"3:abc", limits=limits)


def test_spans_are_the_bytes_as_received() -> None:
    # The value's keys are out of order: encoding it again would give other bytes.
    value, raw = decode_with_span(
        b"d4:infod1:bi1e1:ai2ee4:moreli1eee", b"info", limits=LIMITS, canonical=False
    )
    assert value == {b"info": {b"b": 1, b"a": 2}, b"more": [1]}
    assert raw == b"d1:bi1e1:ai2ee"


def test_spans_are_of_the_outermost_dictionary() -> None:
    _, raw = decode_with_span(b"d1:ad4:infoi1ee4:infoi2ee", b"info", limits=LIMITS, canonical=True)
    assert raw == b"i2e"


def test_the_span_of_a_missing_key_is_empty() -> None:
    assert decode_with_span(b"de", b"info", limits=LIMITS, canonical=True) == ({}, b"")


@pytest.mark.parametrize("data", [b"le", b"i1e", b"2:de"])
def test_spans_need_a_dictionary(data: bytes) -> None:
    with pytest.raises(BencodeError, match="dictionary"):
        decode_with_span(data, b"info", limits=LIMITS, canonical=True)


@pytest.mark.parametrize(
    "value", ["text", None, True, 1.5, {"a": 1}, {"a": 1, b"a": 2}, [{b"a": "text"}], {1: 2}, {1}]
)
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_tuples_are_lists_and_keys_get_their_order() -> None:
    assert encode((1, {b"b": b"", b"a": ()})) == b"li1ed1:ale1:b0:ee"


def test_four_random_parts_never_hang() -> None:
    for parts in itertools.product([b"d", b"l", b"0:", b"i0e", b"e", b"-6:"], repeat=4):
        with pytest.raises(BencodeError):
            decode_strictly(b"d0:" + b"".join(parts) + b"x")
