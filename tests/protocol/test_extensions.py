import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.errors import BencodeError, ProtocolError
from torrent_onion.protocol.extensions import (
    CLEARNET_IDS,
    CLEARNET_PEX_IDS,
    MAX_METADATA_SIZE,
    OUR_IDS,
    REQQ,
    STRIPE_SIZE,
    DontHave,
    ExtendedMessage,
    ExtensionHandshake,
    MetadataData,
    MetadataReject,
    MetadataRequest,
    UnreadPex,
    decode_extended,
)
from torrent_onion.protocol.onion_pex import OnionPex
from torrent_onion.protocol.ut_pex import UtPex

Onion = Callable[[int], PeerAddress]


class TestHandshake:
    def test_ours_is_exactly_this(self) -> None:
        """A new field must not appear unnoticed: it would tell clients apart."""
        assert ExtensionHandshake().encode() == (
            b"d1:md11:lt_donthavei3e9:onion_pexi2e11:ut_metadatai1ee4:reqqi2000ee"
        )

    def test_ours_to_peers_outside_tor_is_exactly_this(self) -> None:
        """Nothing of onions is said there, and ``ut_pex`` is said nowhere else."""
        assert ExtensionHandshake(ids=CLEARNET_IDS).encode() == (
            b"d1:md11:lt_donthavei3e11:ut_metadatai1ee4:reqqi2000ee"
        )
        assert ExtensionHandshake(ids=CLEARNET_PEX_IDS).encode() == (
            b"d1:md11:lt_donthavei3e11:ut_metadatai1e6:ut_pexi4ee4:reqqi2000ee"
        )

    def test_ours_with_everything_is_exactly_this(self, onion: Onion) -> None:
        everything = ExtensionHandshake(
            metadata_size=31235,
            upload_only=True,
            onion=onion(1).to_compact_onion(),
            stripe=b"s" * STRIPE_SIZE,
        )
        assert everything.encode() == (
            b"d1:md11:lt_donthavei3e9:onion_pexi2e11:ut_metadatai1ee"
            b"13:metadata_sizei31235e"
            b"5:onion34:" + onion(1).to_compact_onion() + b"4:reqqi2000e"
            b"6:stripe16:ssssssssssssssss"
            b"11:upload_onlyi1ee"
        )
        assert ExtensionHandshake.decode(everything.encode()) == everything

    def test_nothing_that_names_a_version_or_an_address_is_read(self) -> None:
        theirs: dict[bytes, Any] = {
            b"m": {b"ut_metadata": 3, b"ut_holepunch": 1, b"lt_donthave": 0},
            b"v": b"Client 1.0",
            b"p": 6881,
            b"ipv4": b"\x7f\x00\x00\x01",
            b"ipv6": bytes(16),
            b"yourip": b"\xc0\x00\x02\x01",
            b"complete_ago": 5,
            b"reqq": 250,
        }
        assert ExtensionHandshake.decode(encode(theirs) + b"junk") == ExtensionHandshake(
            ids={"ut_metadata": 3, "lt_donthave": 0}, reqq=250
        )

    @pytest.mark.parametrize(
        "values",
        [
            {b"m": 5},
            {b"m": {b"ut_metadata": 256}},
            {b"m": {b"ut_metadata": b"1"}},
            {b"metadata_size": 0},
            {b"metadata_size": MAX_METADATA_SIZE + 1},
            {b"metadata_size": -1},
            {b"reqq": 0},
            {b"reqq": 2**40},
            {b"upload_only": 2},
            {b"onion": b"short"},
            {b"onion": b"\x02" + bytes(31) + b"\x00\x01"},
            {b"stripe": b"s" * 15},
            {b"stripe": [1]},
        ],
    )
    def test_values_that_cannot_be_count_as_absent(self, values: dict[bytes, Any]) -> None:
        assert ExtensionHandshake.decode(encode(values)) == ExtensionHandshake(ids={}, reqq=None)

    def test_a_later_one_says_only_what_changed(self) -> None:
        first = ExtensionHandshake(ids={"ut_metadata": 2, "lt_donthave": 7}, upload_only=True)
        later = ExtensionHandshake(
            ids={"lt_donthave": 0, "onion_pex": 4}, reqq=None, metadata_size=9, upload_only=False
        )
        assert first.updated_by(ExtensionHandshake(ids={}, reqq=None)) == first
        assert first.updated_by(later) == ExtensionHandshake(
            ids={"ut_metadata": 2, "onion_pex": 4},
            reqq=REQQ,
            metadata_size=9,
            upload_only=False,
        )

    @given(st.binary(max_size=200))
    def test_random_bytes_are_read_or_refused(self, payload: bytes) -> None:
        with contextlib.suppress(BencodeError):
            ExtensionHandshake.decode(payload)


class TestMessages:
    @pytest.mark.parametrize(
        ("message", "payload"),
        [
            (MetadataRequest(0), b"d8:msg_typei0e5:piecei0ee"),
            (MetadataReject(3), b"d8:msg_typei2e5:piecei3ee"),
            (
                MetadataData(1, 16384 + 3, b"xyz"),
                b"d8:msg_typei1e5:piecei1e10:total_sizei16387eexyz",
            ),
            (DontHave(258), b"\x00\x00\x01\x02"),
        ],
    )
    def test_the_payload_of_every_message(self, message: ExtendedMessage, payload: bytes) -> None:
        assert message.encode() == payload
        assert decode_extended(OUR_IDS[message.NAME], payload) == message

    @pytest.mark.parametrize("message", [OnionPex(), UtPex()])
    def test_peer_exchange_is_left_for_later(self, message: OnionPex | UtPex) -> None:
        unread = decode_extended(OUR_IDS[message.NAME], message.encode())
        assert unread == UnreadPex(message.NAME, message.encode())
        assert message.decode(message.encode()) == message

    def test_unknown_ids_and_kinds_are_ignored(self) -> None:
        assert decode_extended(99, b"anything") is None
        assert decode_extended(1, encode({b"msg_type": 7, b"piece": 0})) is None

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"i1e",
            b"d8:msg_typei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei0e5:piecei4096ee",
            b"d8:msg_typei1e5:piecei0ee",  # no total size
            b"d8:msg_typei1e5:piecei0e10:total_sizei3eexx",  # too short
            b"d8:msg_typei1e5:piecei0e10:total_sizei3eexxxx",  # too long
            b"d8:msg_typei1e5:piecei1e10:total_sizei3eexxx",  # no such block
            b"d8:msg_typei1e5:piecei0e10:total_sizei67108865ee" + bytes(16384),
        ],
    )
    def test_metadata_messages_that_break_a_rule(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError):
            decode_extended(OUR_IDS["ut_metadata"], payload)

    @pytest.mark.parametrize("size", [0, 3, 5])
    def test_dont_have_of_another_length(self, size: int) -> None:
        with pytest.raises(ProtocolError):
            decode_extended(OUR_IDS["lt_donthave"], bytes(size))

    @given(st.integers(0, 255), st.binary(max_size=200))
    def test_random_bytes_are_read_or_refused(self, extended_id: int, payload: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            decode_extended(extended_id, payload)
