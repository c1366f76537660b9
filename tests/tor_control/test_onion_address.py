import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tor_control.errors import InvalidOnionAddress, TorError
from tor_control.onion_address import OnionKey, onion_address, public_key

# The Tor Project's own site and rend-spec-v3's examples.
KNOWN = [
    "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
    "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
    "sp3k262uwy4r2k3ycr5awluarykdpag6a7y33jxop4cs2lu5uz5sseqd.onion",
    "xa4r2iadxm55fbnqgwwi5mymqdcofiu3w6rpbtqn7b2dyn7mgwj64jyd.onion",
]
ADDRESS = KNOWN[0]
seeds = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("address", KNOWN)
def test_known_addresses_go_both_ways(address: str) -> None:
    assert onion_address(public_key(address)) == address
    assert public_key(address.upper()) == public_key(address)


@given(seeds)
def test_every_key_has_an_address_that_leads_back(seed: bytes) -> None:
    key = OnionKey.from_seed(seed)
    assert len(key.address) == 62
    assert public_key(key.address) == key.public_key


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".onion",
        "onion",
        ADDRESS.removesuffix(".onion"),
        ADDRESS + ".",
        "www." + ADDRESS,
        " " + ADDRESS,
        ADDRESS + "\n",
        ADDRESS[1:],
        "a" + ADDRESS,
        ADDRESS.replace(".onion", ".exit"),
        ADDRESS.replace("2gzy", "1gzy"),
        ADDRESS.replace("2gzy", "2gz="),
        ADDRESS.replace("2gzy", "2gz\u212a"),
        "expyuzz4wqqyqhjn.onion",
        "\u0430" * 56 + ".onion",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidOnionAddress):
        public_key(text)


@given(st.integers(0, 55), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_any_changed_character_is_noticed(index: int, character: str) -> None:
    changed = ADDRESS[:index] + character + ADDRESS[index + 1 :]
    if changed == ADDRESS:
        return
    # 16 bits of checksum: with one character changed all of these happen to be caught.
    with pytest.raises(InvalidOnionAddress):
        public_key(changed)


@given(st.text())
def test_random_text_raises_nothing_else(text: str) -> None:
    for candidate in (text, text + ".onion"):
        with pytest.raises(InvalidOnionAddress):
            public_key(candidate)


def encode_unchecked(key: bytes, version: int = 3) -> str:
    checksum = hashlib.sha3_256(b".onion checksum" + key + bytes([version])).digest()[:2]
    return base64.b32encode(key + checksum + bytes([version])).decode().lower() + ".onion"


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),  # a point of small order
        (1).to_bytes(32, "little"),  # the neutral element
        (2).to_bytes(32, "little"),  # not on the curve
        b"\xff" * 32,  # not in canonical form
        # Of order 8: "torsion", which rend-spec-v3 tells clients to refuse.
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ],
)
def test_keys_that_are_no_proper_point(key: bytes) -> None:
    with pytest.raises(InvalidOnionAddress):
        onion_address(key)
    with pytest.raises(InvalidOnionAddress):
        public_key(encode_unchecked(key))


def test_another_version_with_a_right_checksum() -> None:
    key = public_key(ADDRESS)
    assert encode_unchecked(key) == ADDRESS
    with pytest.raises(InvalidOnionAddress):
        public_key(encode_unchecked(key, version=4))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_wrong_length(length: int) -> None:
    with pytest.raises(InvalidOnionAddress):
        onion_address(bytes(length))
    with pytest.raises(ValueError, match="32 bytes"):
        OnionKey.from_seed(bytes(length))


def test_the_error_is_a_value_error_with_a_sentence() -> None:
    error = InvalidOnionAddress()
    assert isinstance(error, ValueError)
    assert isinstance(error, TorError)
    assert str(error).endswith(".")


def test_the_blob_for_tor_is_the_expanded_key() -> None:
    seed = bytes(range(32))
    kind, encoded = OnionKey.from_seed(seed).control_blob().reveal().split(b":")
    expanded = base64.b64decode(encoded)
    assert kind == b"ED25519-V3"
    assert len(encoded) == 88
    # RFC 8032: the prefix is the second half of the hash, the scalar the clamped first half.
    digest = hashlib.sha512(seed).digest()
    assert expanded[32:] == digest[32:]
    assert expanded[1:31] == digest[1:31]
    assert expanded[0] & 7 == 0
    assert expanded[31] & 0xC0 == 0x40


def test_a_key_shows_only_its_public_half() -> None:
    seed = bytes(range(32))
    key = OnionKey.from_seed(seed)
    shown = repr(key) + repr(key.control_blob())
    assert "Secret(...)" in shown
    assert repr(seed) not in shown
    assert "ED25519" not in shown


def test_a_signature_is_the_onions_own() -> None:
    key = OnionKey.from_seed(bytes(range(32)))
    message = b"torrent-onion announce"
    signature = key.sign(message)
    assert len(signature) == 64
    assert VerifyKey(key.public_key).verify(message, signature) == message
    with pytest.raises(BadSignatureError):
        VerifyKey(key.public_key).verify(message + b"!", signature)
