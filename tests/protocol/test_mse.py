"""Message Stream Encryption, from the side that dials."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.mse_responder import PRIME, PlainRc4, Responder
from torrent_onion.engine.obfuscation import rc4
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.mse import (
    MAX_PAD,
    PRIVATE_KEY_SIZE,
    PUBLIC_KEY_SIZE,
    RC4,
    MseInitiator,
    Randomness,
)

INFO_HASH = bytes(range(20))
FIRST = b"\x13BitTorrent protocol and so on"
AFTER = bytes(range(100))
MOST = PUBLIC_KEY_SIZE + 2 * MAX_PAD + 14
"""Bytes of the longest handshake of the side that answers."""


def randomness(pad_a: int = 7, pad_c: int = 9) -> Randomness:
    rng = random.Random(3)
    return Randomness(rng.randbytes(PRIVATE_KEY_SIZE), rng.randbytes(pad_a), rng.randbytes(pad_c))


NEW_CIPHER = rc4() or PlainRc4  # the same, only faster


def new_initiator() -> MseInitiator:
    return MseInitiator(INFO_HASH, randomness(), NEW_CIPHER)


def answer_of(responder: Responder) -> bytes:
    """Everything that the other side says in a handshake with ``new_initiator()``."""
    initiator = new_initiator()
    answer = responder.receive(initiator.begin(FIRST))
    initiator.receive_data(answer[:PUBLIC_KEY_SIZE])
    return answer + responder.receive(initiator.data_to_send())


def test_both_sides_agree() -> None:
    responder = Responder(INFO_HASH, pad_b=bytes(100), pad_d=bytes(50))
    initiator = new_initiator()
    begun = initiator.begin(FIRST)
    assert len(begun) == PUBLIC_KEY_SIZE + 7
    assert initiator.receive_data(responder.receive(begun)) == b""
    rest = responder.receive(initiator.data_to_send())
    assert initiator.receive_data(rest + responder.encrypt(AFTER)) == AFTER
    assert initiator.is_open
    assert not initiator.data_to_send()
    assert responder.offered == RC4
    assert responder.first == FIRST
    assert responder.decrypt(initiator.encrypt(AFTER)) == AFTER
    assert initiator.receive_data(responder.encrypt(b"more")) == b"more"


def test_any_cut_gives_the_same() -> None:
    responder = Responder(INFO_HASH, pad_b=bytes(range(20)), pad_d=bytes(11))
    whole = answer_of(responder) + responder.encrypt(AFTER)
    for cut in range(len(whole)):
        initiator = new_initiator()
        initiator.begin(FIRST)
        assert initiator.receive_data(whole[:cut]) + initiator.receive_data(whole[cut:]) == AFTER
    initiator = new_initiator()
    initiator.begin(FIRST)
    assert b"".join(initiator.receive_data(bytes([byte])) for byte in whole) == AFTER


@given(
    pads=st.tuples(*[st.integers(0, MAX_PAD)] * 4),
    first=st.binary(max_size=600),
    sizes=st.lists(st.integers(1, MOST), max_size=6),
)
def test_any_padding_and_any_cuts(
    pads: tuple[int, int, int, int], first: bytes, sizes: list[int]
) -> None:
    a, b, c, d = pads
    responder = Responder(INFO_HASH, pad_b=random.Random(b).randbytes(b), pad_d=bytes(d))
    initiator = MseInitiator(INFO_HASH, randomness(a, c), NEW_CIPHER)
    on_its_way = responder.receive(initiator.begin(first))
    while on_its_way:
        size = sizes.pop() if sizes else len(on_its_way)
        arrived, on_its_way = on_its_way[:size], on_its_way[size:]
        assert initiator.receive_data(arrived) == b""
        on_its_way += responder.receive(initiator.data_to_send())
    assert initiator.is_open
    assert responder.first == first


@pytest.mark.parametrize("weak", [0, 1, PRIME - 1, PRIME, PRIME + 1, 2 ** (8 * 96) - 1])
def test_a_key_whose_secret_anybody_knows_is_refused(weak: int) -> None:
    initiator = new_initiator()
    initiator.begin(FIRST)
    with pytest.raises(ProtocolError):
        initiator.receive_data(weak.to_bytes(PUBLIC_KEY_SIZE, "big"))
    assert not initiator.data_to_send()


@pytest.mark.parametrize(
    "responder",
    [
        pytest.param(Responder(INFO_HASH, constant=b"\1" * 8, pad_d=bytes(512)), id="wrong VC"),
        pytest.param(Responder(INFO_HASH, pad_b=bytes(MAX_PAD + 1)), id="long pad B"),
        pytest.param(Responder(INFO_HASH, chosen=1), id="no encryption"),
        pytest.param(Responder(INFO_HASH, chosen=3), id="both"),
        pytest.param(Responder(INFO_HASH, chosen=0), id="nothing"),
        pytest.param(Responder(INFO_HASH, pad_d_size=MAX_PAD + 1), id="long pad D"),
        pytest.param(Responder(INFO_HASH, pad_d_size=0xFFFF), id="longest pad D"),
    ],
)
def test_who_breaks_a_rule_is_left(responder: Responder) -> None:
    answer = answer_of(responder) + bytes(2 * MAX_PAD)
    initiator = new_initiator()
    initiator.begin(FIRST)
    with pytest.raises(ProtocolError):
        initiator.receive_data(answer)


def test_who_pads_without_end_is_left_soon() -> None:
    initiator = new_initiator()
    initiator.begin(FIRST)
    key = Responder(INFO_HASH).receive(initiator.begin(FIRST))
    initiator.receive_data(key)
    for _ in range(MAX_PAD + 7):
        initiator.receive_data(b"\0")
    with pytest.raises(ProtocolError):
        initiator.receive_data(b"\0")


@given(noise=st.binary(min_size=MOST, max_size=4 * MOST))
def test_noise_never_opens(noise: bytes) -> None:
    initiator = new_initiator()
    initiator.begin(FIRST)
    with pytest.raises(ProtocolError):
        initiator.receive_data(noise)


def test_nothing_is_said_before_there_is_a_key() -> None:
    initiator = new_initiator()
    for speak in (initiator.encrypt, initiator.decrypt):
        with pytest.raises(RuntimeError):
            speak(b"x")
    for bad in (Randomness(b"short", b"", b""), randomness(MAX_PAD + 1), randomness(0, 513)):
        with pytest.raises(ValueError, match="has"):
            MseInitiator(INFO_HASH, bad, PlainRc4)


def test_the_oracle_is_rc4() -> None:
    """RFC 6229, the first vectors of the key 0x0102030405."""
    stream = PlainRc4(bytes([1, 2, 3, 4, 5])).update(bytes(16))
    assert stream.hex() == "b2396305f03dc027ccc3524a0a1118a8"
