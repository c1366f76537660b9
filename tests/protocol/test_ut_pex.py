import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.compact_peers import is_ip_address
from torrent_onion.protocol.ut_pex import FLAG_REACHABLE, FLAG_SEED, MAX_ENTRIES, MAX_READ, UtPex

ONE = PeerAddress("198.51.100.1", 6881)
TWO = PeerAddress("198.51.100.2", 258)
SIX = PeerAddress("2001:db8::1", 6882)
ONION = PeerAddress("a" * 56 + ".onion", 6881)

ONE_BYTES = b"\xc6\x33\x64\x01\x1a\xe1"
TWO_BYTES = b"\xc6\x33\x64\x02\x01\x02"
SIX_BYTES = bytes.fromhex("20010db8000000000000000000000001") + b"\x1a\xe2"


def test_the_payload_is_exactly_this() -> None:
    message = UtPex(added=((ONE, FLAG_SEED), (SIX, 0), (TWO, FLAG_REACHABLE)), dropped=(SIX, TWO))
    assert message.encode() == (
        b"d5:added12:" + ONE_BYTES + TWO_BYTES + b"7:added.f2:\x02\x10"
        b"6:added618:" + SIX_BYTES + b"8:added6.f1:\x00"
        b"7:dropped6:" + TWO_BYTES + b"8:dropped618:" + SIX_BYTES + b"e"
    )
    read = UtPex.decode(message.encode())
    assert set(read.added) == set(message.added)
    assert set(read.dropped) == set(message.dropped)


def test_what_libtorrent_sends_is_understood() -> None:
    """Recorded from 2.1.1 on loopback: nobody at first, its seed after a minute."""
    empty = b"d5:added0:7:added.f0:6:added60:8:added6.f0:7:dropped0:8:dropped60:e"
    assert UtPex.decode(empty) == UtPex()
    named = empty.replace(b"5:added0:", b"5:added6:\x7f\x00\x00\x01\x8f\x1d")
    message = UtPex.decode(named.replace(b"7:added.f0:", b"7:added.f1:\x0b"))
    [(address, flags)] = message.added
    assert address == PeerAddress("127.0.0.1", 36637)
    assert flags & FLAG_SEED
    assert not message.dropped


@pytest.mark.parametrize("address", [ONION, PeerAddress("peer.example", 1)])
def test_nothing_but_ip_addresses_is_sent(address: PeerAddress) -> None:
    assert not is_ip_address(address)
    for message in (UtPex(added=((address, 0),)), UtPex(dropped=(address,))):
        with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
            message.encode()


def test_a_larger_message_is_not_sent() -> None:
    added = tuple((PeerAddress(f"198.51.100.{n}", 1), 0) for n in range(MAX_ENTRIES))
    UtPex(added).encode()
    with pytest.raises(ValueError, match="at most 50"):
        UtPex(added, (ONE,)).encode()


def test_of_what_is_too_long_only_the_beginning_is_read() -> None:
    many = b"".join(bytes([198, 51, n >> 8, n & 255, 0, 1]) for n in range(500))
    read = UtPex.decode(encode({b"added": many, b"dropped": many, b"added6": SIX_BYTES * 500}))
    assert len(read.added) == 2 * MAX_READ
    assert len(read.dropped) == MAX_READ


def test_what_cannot_be_is_left_out_and_flags_stay_with_theirs() -> None:
    no_port = b"\xc6\x33\x64\x01\x00\x00"
    read = UtPex.decode(
        encode({b"added": no_port + TWO_BYTES + b"odd", b"added.f": b"\x01\x10", b"dropped": 5})
    )
    assert read == UtPex(added=((TWO, 0x10),))
    assert UtPex.decode(b"de") == UtPex()


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        UtPex.decode(payload)
