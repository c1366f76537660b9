import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.identity import PeerId
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.handshake import HANDSHAKE_SIZE, Handshake, check_header

handshakes = st.builds(
    Handshake,
    info_hash=st.binary(min_size=20, max_size=20),
    peer_id=st.binary(min_size=20, max_size=20),
    extensions=st.booleans(),
    fast=st.booleans(),
    v2=st.booleans(),
)


def test_the_bytes_of_ours_are_exactly_these() -> None:
    """A new field or bit must not appear unnoticed."""
    ours = Handshake(info_hash=bytes(range(20)), peer_id=PeerId(b"-" * 20))
    assert ours.encode() == (
        b"\x13BitTorrent protocol"
        b"\x00\x00\x00\x00\x00\x10\x00\x04"
        b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13"
        b"--------------------"
    )


def test_a_hybrid_torrent_adds_one_bit(handshake: Handshake) -> None:
    hybrid = Handshake(handshake.info_hash, handshake.peer_id, v2=True)
    assert hybrid.encode()[20:28] == b"\x00\x00\x00\x00\x00\x10\x00\x14"


@given(handshakes)
def test_what_is_encoded_is_parsed(handshake: Handshake) -> None:
    assert Handshake.parse(handshake.encode()) == handshake


@given(st.binary(min_size=HANDSHAKE_SIZE, max_size=HANDSHAKE_SIZE))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Handshake.parse(data)


@given(st.binary(min_size=48, max_size=48))
def test_any_reserved_bits_are_read(rest: bytes) -> None:
    parsed = Handshake.parse(b"\x13BitTorrent protocol" + rest)
    assert parsed.info_hash + parsed.peer_id == rest[8:]
    assert parsed.extensions == bool(rest[5] & 16)
    assert (parsed.dht, parsed.fast, parsed.v2) == tuple(bool(rest[7] & bit) for bit in (1, 4, 16))


def test_the_dht_bit_is_never_sent() -> None:
    with pytest.raises(ValueError, match="DHT"):
        Handshake(b"h" * 20, PeerId(b"p" * 20), dht=True).encode()


@pytest.mark.parametrize(("info_hash", "peer_id"), [(b"h" * 32, b"p" * 20), (b"h" * 20, b"p" * 19)])
def test_wrong_sizes_are_not_sent(info_hash: bytes, peer_id: bytes) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        Handshake(info_hash, PeerId(peer_id)).encode()


@pytest.mark.parametrize("size", [0, HANDSHAKE_SIZE - 1, HANDSHAKE_SIZE + 1])
def test_other_lengths_are_refused(size: int, handshake: Handshake) -> None:
    with pytest.raises(ProtocolError, match="68 bytes"):
        Handshake.parse((handshake.encode() + b"x")[:size])


def test_the_header_is_refused_at_its_first_wrong_byte(handshake: Handshake) -> None:
    good = handshake.encode()
    for size in range(HANDSHAKE_SIZE):
        check_header(good[:size])
    for size in range(20):
        with pytest.raises(ProtocolError):
            check_header(good[:size] + b"\xff")
