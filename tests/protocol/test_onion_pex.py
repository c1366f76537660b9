import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import AddressError, ProtocolError
from torrent_onion.protocol.onion_pex import FLAG_SEED, MAX_ENTRIES, OnionPex

Onion = Callable[[int], PeerAddress]


def test_the_payload_is_exactly_this(onion: Onion) -> None:
    one, two, three = (onion(number) for number in (1, 2, 3))
    message = OnionPex(added=((one, 0), (two, FLAG_SEED)), dropped=(three,))
    assert message.encode() == (
        b"d5:added68:" + one.to_compact_onion() + two.to_compact_onion() + b"7:added.f2:\x00\x02"
        b"7:dropped34:" + three.to_compact_onion() + b"e"
    )
    assert OnionPex.decode(message.encode()) == message


def test_an_empty_message_still_has_every_key() -> None:
    assert OnionPex().encode() == b"d5:added0:7:added.f0:7:dropped0:e"


def test_a_full_message_travels_and_a_larger_one_does_not(onion: Onion) -> None:
    addresses = tuple(onion(number) for number in range(MAX_ENTRIES + 1))
    added = tuple((address, 0) for address in addresses)
    full = OnionPex(added=added[:30], dropped=addresses[30:MAX_ENTRIES])
    assert OnionPex.decode(full.encode()) == full
    with pytest.raises(ValueError, match="at most 50"):
        OnionPex(added=added[:30], dropped=addresses[30:]).encode()
    too_many = b"".join(address.to_compact_onion() for address in addresses)
    one, rest = too_many[:34], too_many[34:]
    for payload in (
        {b"added": too_many},
        {b"added": one, b"dropped": rest},
        {b"dropped": too_many},
    ):
        with pytest.raises(ProtocolError, match="too many"):
            OnionPex.decode(encode(payload))


def test_addresses_that_cannot_be_are_left_out_and_flags_stay_with_theirs(onion: Onion) -> None:
    good = onion(7)
    no_port = good.to_compact_onion()[:32] + b"\x00\x00"
    no_point = b"\x02" + bytes(31) + b"\x1a\xe1"
    payload = {b"added": no_port + no_point + good.to_compact_onion(), b"added.f": b"\x00\x00\xff"}
    decoded = OnionPex.decode(encode({**payload, b"dropped": no_point}))
    assert decoded == OnionPex(added=((good, FLAG_SEED),))


def test_no_other_flag_is_sent(onion: Onion) -> None:
    assert b"7:added.f1:\x02" in OnionPex(added=((onion(1), 0xFF),)).encode()


def test_missing_flags_are_zero(onion: Onion) -> None:
    payload = encode({b"added": onion(1).to_compact_onion()})
    assert OnionPex.decode(payload).added == ((onion(1), 0),)


def test_half_an_address_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="half"):
        OnionPex.decode(encode({b"dropped": bytes(35)}))


def test_only_onions_are_sent() -> None:
    with pytest.raises(AddressError):
        OnionPex(dropped=(PeerAddress("192.0.2.1", 6881),)).encode()


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        OnionPex.decode(payload)
