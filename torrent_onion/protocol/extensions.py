"""The extension protocol (BEP 10): its handshake, and the extended messages that we speak.

Rules:

- Our ids are constants in a constant order, one set for onion peers and one for peers outside Tor,
  so that no network hears of the other's peer exchange. The handshake has no field besides those of
  ``ExtensionHandshake``: nothing in it tells one of us from another, or names a version or an IP
  address. ``v``, ``p``, ``ipv4``, ``ipv6``, ``yourip``, ``complete_ago`` are neither sent nor read.
- A peer's extended messages carry our ids, ours carry the peer's.
- A handshake may repeat. It says only what changed: see ``ExtensionHandshake.updated_by``.
- A value in a handshake that cannot be right counts as absent: the peer may still have the data.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Self

from torrent_onion.core.bencoding import PEER_LIMITS, Encodable, encode
from torrent_onion.core.identity import COMPACT_ONION_LENGTH
from torrent_onion.core.piece_layout import BLOCK_SIZE
from torrent_onion.errors import BencodeError, ProtocolError
from torrent_onion.protocol.dictionaries import (
    Dictionary,
    get_bytes,
    get_dictionary,
    get_int,
    read_dictionary,
)
from torrent_onion.protocol.onion_pex import (
    ONION_PEX,
    OnionPex,
    read_compact_onions,
)
from torrent_onion.protocol.ut_pex import UT_PEX, UtPex

HANDSHAKE_ID = 0

UT_METADATA = "ut_metadata"  # BEP 9
LT_DONTHAVE = "lt_donthave"  # BEP 54

OUR_IDS: Mapping[str, int] = MappingProxyType(
    {UT_METADATA: 1, ONION_PEX: 2, LT_DONTHAVE: 3, UT_PEX: 4}
)
"""Extended messages that we understand, by the ids that peers use toward us."""


def _some_of_ours(*names: str) -> Mapping[str, int]:
    return MappingProxyType({name: OUR_IDS[name] for name in names})


OFFERED_IDS = _some_of_ours(UT_METADATA, ONION_PEX, LT_DONTHAVE)
"""What is offered to onion peers."""
CLEARNET_IDS = _some_of_ours(UT_METADATA, LT_DONTHAVE)
"""What is offered to peers outside Tor: they have no use for onions."""
CLEARNET_PEX_IDS = _some_of_ours(UT_METADATA, LT_DONTHAVE, UT_PEX)
"""The same where they may name others: see BEP 27."""

REQQ = 2000
"""Requests that a peer may have outstanding with us.

It must cover rate times round trip over Tor: 4 MB/s for 2 s is 500 blocks, and a stall as long
again must not empty the pipe. 2000 is also what libtorrent 2 says, so it singles nobody out.
"""

MAX_REQQ = 1 << 16  # more than this is nonsense: 1 GiB on its way to one peer

METADATA_BLOCK_SIZE = BLOCK_SIZE  # BEP 9
MAX_METADATA_SIZE = 64 << 20  # bytes; holds 3.3 million v1 piece hashes
_MAX_METADATA_BLOCKS = MAX_METADATA_SIZE // METADATA_BLOCK_SIZE

STRIPE_SIZE = 16  # bytes of randomness: no two downloaders share a token by chance
_MAX_ID = 255
_INDEX = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class ExtensionHandshake:
    """What a side says about itself in the extension protocol. None: it did not say.

    Attributes:
        ids: name to id of the extended messages that the sender understands; 0 switches one off.
            Names that we do not know are left out when it is read.
        metadata_size: bytes of the info dictionary (BEP 9), 1 to ``MAX_METADATA_SIZE``.
        reqq: outstanding requests that the sender keeps without dropping any.
        upload_only: the sender wants no more pieces (BEP 21). False is only sent to take back a
            True: a downloader is silent about it.
        onion: 34 bytes, the sender's own onion address; a valid one when it was received.
        stripe: ``STRIPE_SIZE`` random bytes, the same on all connections by which one downloader
            reaches one seeder, new for every torrent and start. For fair choking between people.
    """

    ids: Mapping[str, int] = field(default_factory=lambda: OFFERED_IDS)
    metadata_size: int | None = None
    reqq: int | None = REQQ
    upload_only: bool | None = None
    onion: bytes | None = None
    stripe: bytes | None = None

    def encode(self) -> bytes:
        """Give the payload. Keys are sorted, so their order never varies."""
        values: dict[bytes, Encodable | None] = {
            b"m": {name.encode("ascii"): number for name, number in self.ids.items()},
            b"metadata_size": self.metadata_size,
            b"onion": self.onion,
            b"reqq": self.reqq,
            b"stripe": self.stripe,
            b"upload_only": None if self.upload_only is None else int(self.upload_only),
        }
        return encode({key: value for key, value in values.items() if value is not None})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload; bytes after the dictionary are ignored, as other clients do.

        Raises:
            BencodeError: not a bencoded dictionary.
        """
        values, _ = read_dictionary(payload, PEER_LIMITS)
        upload_only = get_int(values, b"upload_only", 0, 1)
        stripe = get_bytes(values, b"stripe") or b""
        return cls(
            ids=_read_ids(get_dictionary(values, b"m")),
            metadata_size=get_int(values, b"metadata_size", 1, MAX_METADATA_SIZE),
            reqq=get_int(values, b"reqq", 1, MAX_REQQ),
            upload_only=None if upload_only is None else bool(upload_only),
            onion=_read_onion(get_bytes(values, b"onion") or b""),
            stripe=stripe if len(stripe) == STRIPE_SIZE else None,
        )

    def updated_by(self, later: Self) -> Self:
        """Give what holds after a repeated handshake: what it says replaces what was said."""
        ids = {name: number for name, number in {**self.ids, **later.ids}.items() if number}
        upload_only = self.upload_only if later.upload_only is None else later.upload_only
        return replace(
            self,
            ids=MappingProxyType(ids),
            metadata_size=later.metadata_size or self.metadata_size,
            reqq=later.reqq or self.reqq,
            upload_only=upload_only,
            onion=later.onion or self.onion,
            stripe=later.stripe or self.stripe,
        )


def _read_ids(names: Dictionary) -> Mapping[str, int]:
    found = {name: get_int(names, name.encode("ascii"), 0, _MAX_ID) for name in OUR_IDS}
    return MappingProxyType({name: number for name, number in found.items() if number is not None})


def _read_onion(data: bytes) -> bytes | None:
    is_usable = len(data) == COMPACT_ONION_LENGTH and any(read_compact_onions(data))
    return data if is_usable else None


class _MetadataKind:
    """``msg_type`` of BEP 9. Others are ignored, as it demands."""

    REQUEST = 0
    DATA = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class MetadataRequest:
    """Please send a block of the info dictionary (BEP 9)."""

    NAME: ClassVar = UT_METADATA
    piece: int

    def encode(self) -> bytes:
        """Give the payload."""
        return encode({b"msg_type": _MetadataKind.REQUEST, b"piece": self.piece})


@dataclass(frozen=True, slots=True)
class MetadataReject:
    """The block asked for will not be sent (BEP 9)."""

    NAME: ClassVar = UT_METADATA
    piece: int

    def encode(self) -> bytes:
        """Give the payload."""
        return encode({b"msg_type": _MetadataKind.REJECT, b"piece": self.piece})


@dataclass(frozen=True, slots=True)
class MetadataData:
    """A block of the info dictionary (BEP 9).

    Attributes:
        piece: number of the block.
        total_size: bytes of the whole dictionary.
        data: the block: 16 KiB, the last one what is left.
    """

    NAME: ClassVar = UT_METADATA
    piece: int
    total_size: int
    data: bytes

    def encode(self) -> bytes:
        """Give the payload: a dictionary, and the block right after it."""
        header: dict[bytes, Encodable] = {
            b"msg_type": _MetadataKind.DATA,
            b"piece": self.piece,
            b"total_size": self.total_size,
        }
        return encode(header) + self.data


@dataclass(frozen=True, slots=True)
class DontHave:
    """The sender no longer has a piece that it said it had (BEP 54)."""

    NAME: ClassVar = LT_DONTHAVE
    piece: int

    def encode(self) -> bytes:
        """Give the payload."""
        return _INDEX.pack(self.piece)


@dataclass(frozen=True, slots=True)
class UnreadPex:
    """A message of peer exchange that has come, ``OnionPex`` or ``UtPex`` by its name.

    Reading it takes milliseconds, for onions are points of a curve. So that is left to whoever
    knows whether this peer may be heard, and whether it is time.
    """

    name: str
    payload: bytes


MetadataMessage = MetadataRequest | MetadataData | MetadataReject
ExtendedMessage = MetadataMessage | DontHave | OnionPex | UtPex
ReceivedExtended = MetadataMessage | DontHave | UnreadPex


def decode_extended(extended_id: int, payload: bytes) -> ReceivedExtended | None:
    """Read an extended message that came with one of our ids.

    Returns:
        The message, or None where the id or the kind of message is not known.

    Raises:
        ProtocolError: it breaks the rules of its extension.
    """
    decode = _DECODERS.get(extended_id)
    try:
        return decode(payload) if decode else None
    except BencodeError as error:
        raise ProtocolError(f"The peer sent a bad extended message: {error}") from error


def _decode_metadata(payload: bytes) -> MetadataMessage | None:
    values, taken = read_dictionary(payload, PEER_LIMITS)
    piece = get_int(values, b"piece", 0, _MAX_METADATA_BLOCKS - 1)
    if piece is None:
        raise ProtocolError("The peer sent a metadata message without a block number.")
    match values.get(b"msg_type"):
        case _MetadataKind.REQUEST:
            return MetadataRequest(piece)
        case _MetadataKind.DATA:
            return _metadata_data(piece, values, payload[taken:])
        case _MetadataKind.REJECT:
            return MetadataReject(piece)
    return None


def _metadata_data(piece: int, values: Dictionary, data: bytes) -> MetadataData:
    total_size = get_int(values, b"total_size", 1, MAX_METADATA_SIZE) or 0
    expected = min(METADATA_BLOCK_SIZE, total_size - piece * METADATA_BLOCK_SIZE)
    if expected <= 0 or len(data) != expected:
        raise ProtocolError("The peer sent a metadata block of the wrong size.")
    return MetadataData(piece, total_size, data)


def _decode_dont_have(payload: bytes) -> DontHave:
    if len(payload) != _INDEX.size:
        raise ProtocolError("The peer sent a lt_donthave message of the wrong length.")
    return DontHave(*_INDEX.unpack(payload))


_DECODERS: Mapping[int, Callable[[bytes], ReceivedExtended | None]] = {
    OUR_IDS[UT_METADATA]: _decode_metadata,
    OUR_IDS[ONION_PEX]: partial(UnreadPex, ONION_PEX),
    OUR_IDS[LT_DONTHAVE]: _decode_dont_have,
    OUR_IDS[UT_PEX]: partial(UnreadPex, UT_PEX),
}
