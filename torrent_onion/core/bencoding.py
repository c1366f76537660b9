"""Bencoding (BEP 3), strict and bounded, over the decoder and encoder of bencode.py.

- Nothing is guessed: every length and integer has its one spelling, a key never comes twice, and
  nothing is left over. Only the order of keys may be forgiven (``canonical=False``), since old
  torrents and many trackers get it wrong.
- Nothing is unbounded: bytes, depth and number of values have limits, and integers have 64 bits.
- Strings are bytes. What they mean is for the caller to say.

The library's own methods accept much more and can be made to loop for ever, so each of them is
replaced; its dispatch by the first byte stays.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from bencodepy.decoder import BencodeDecoder
from bencodepy.encoder import BencodeEncoder

from torrent_onion.errors import BencodeError

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]
"""What decoding gives."""
Encodable: TypeAlias = int | bytes | Sequence["Encodable"] | Mapping[bytes, "Encodable"]
"""What can be encoded; sequences are lists or tuples, mappings are dicts."""
Buffer: TypeAlias = bytes | bytearray | memoryview

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class BencodeLimits:
    """How much one encoded value may be.

    Args:
        max_bytes: Length of the encoding.
        max_depth: Lists and dictionaries inside each other. Far below Python's recursion limit.
        max_items: Values of every kind, keys not counted. A decoded value takes up to 100 bytes.
    """

    max_bytes: int
    max_depth: int = 32
    max_items: int = 1_000_000


METAINFO_LIMITS: Final = BencodeLimits(max_bytes=128 * MIB, max_items=4_000_000)
"""A .torrent file: 64 MiB of info, as much besides; 100,000 hybrid files are 1,500,000 values."""
INFO_LIMITS: Final = BencodeLimits(max_bytes=64 * MIB, max_depth=31, max_items=4_000_000)
"""An info dictionary alone; one level less deep than the file that contains it."""
PEER_LIMITS: Final = BencodeLimits(max_bytes=64 * KIB, max_depth=8, max_items=4_000)
"""A message of the extension protocol; real ones take a few hundred bytes."""
RESUME_LIMITS: Final = BencodeLimits(max_bytes=32 * MIB, max_depth=4, max_items=1_000_000)
"""Our own record of a partial download: a bitfield, and two numbers for each file."""
TRACKER_LIMITS: Final = BencodeLimits(max_bytes=1 * MIB, max_depth=8, max_items=50_000)
"""A tracker's reply: 200 peers as dictionaries are 800 values, a scrape of many torrents more."""

_INT_BITS: Final = 64
_MIN_INT: Final = -(1 << (_INT_BITS - 1))
_MAX_INT: Final = (1 << (_INT_BITS - 1)) - 1
# No sign but minus, no leading zero, no minus zero; 19 digits hold every 64-bit number.
_INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e").match
# Nine digits: far above every limit on bytes.
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,8}):").match
_END: Final = b"e"


def decode(data: Buffer, *, limits: BencodeLimits, canonical: bool) -> Value:
    """Decode one value that fills ``data`` to its last byte.

    Args:
        data: The encoding.
        limits: What it may take.
        canonical: Keys must come in order, as BEP 3 demands.

    Raises:
        BencodeError: The bytes are not such a value.
    """
    return _decode_all(data, _StrictDecoder(limits, canonical=canonical))


def decode_prefix(data: Buffer, *, limits: BencodeLimits) -> tuple[Value, int]:
    """Decode the value at the start of ``data``, which other bytes may follow (BEP 9).

    Returns:
        The value, and the number of bytes that it took.

    Raises:
        BencodeError: There is no value, or it is larger than the limits.
    """
    # The rest is not part of the value: copying and limits stop where the value must have ended.
    head = bytes(memoryview(data)[: limits.max_bytes])
    return _StrictDecoder(limits, canonical=False).decode_value(head, 0, 0)


def decode_with_span(
    data: Buffer, key: bytes, *, limits: BencodeLimits, canonical: bool
) -> tuple[dict[bytes, Value], bytes]:
    """Decode a dictionary and return the bytes of one of its values as they were received.

    An info-hash is the hash of received bytes (BEP 52, "infohash"): decoding and encoding again
    would hide what an encoder did wrong.

    Returns:
        The dictionary, and the encoding of ``key``'s value; empty if there is no such key.

    Raises:
        BencodeError: The bytes are not a dictionary.
    """
    decoder = _StrictDecoder(limits, canonical=canonical)
    value = _decode_all(data, decoder)
    if not isinstance(value, dict):
        raise BencodeError("This is not a bencoded dictionary.")
    start, end = decoder.spans.get(key, (0, 0))
    return value, bytes(memoryview(data)[start:end])


def encode(value: Encodable) -> bytes:
    """Encode a value in the one canonical form.

    Raises:
        TypeError: Something in it is not int, bytes, list, tuple or dict, or a key is not bytes.
    """
    try:
        return cast("bytes", _StrictEncoder().encode(value))
    except KeyError as error:
        raise TypeError(f"cannot bencode {error.args[0]}") from None


def _decode_all(data: Buffer, decoder: "_StrictDecoder") -> Value:
    if len(data) > decoder.limits.max_bytes:
        raise BencodeError(
            f"This is longer than {decoder.limits.max_bytes} bytes, the most allowed."
        )
    value, end = decoder.decode_value(bytes(data), 0, 0)
    if end != len(data):
        raise _broken("more data follows", end)
    return value


class _StrictDecoder(BencodeDecoder):  # type: ignore[misc]  # bencodepy has no types
    """Decodes one value; ``spans`` then says where the values of the outermost dictionary are."""

    def __init__(self, limits: BencodeLimits, *, canonical: bool) -> None:
        super().__init__()
        self.limits = limits
        self.spans: dict[bytes, tuple[int, int]] = {}
        self._canonical = canonical
        self._items_left = limits.max_items

    def decode_value(self, data: bytes, start: int, depth: int) -> tuple[Value, int]:
        self._items_left -= 1
        if self._items_left < 0:
            raise BencodeError(f"This has more than {self.limits.max_items} values.")
        method = self.decode_func.get(data[start : start + 1])
        if method is None:
            raise _broken("no value", start)
        return cast("tuple[Value, int]", method(data, start, depth))

    def decode_int(self, data: bytes, start: int, _depth: int) -> tuple[int, int]:
        match = _INTEGER(data, start)
        if match is None:
            raise _broken("a wrong integer", start)
        number = int(match[1])
        if not _MIN_INT <= number <= _MAX_INT:
            raise _broken("an integer of more than 64 bits", start)
        return number, match.end()

    def decode_string(self, data: bytes, start: int, _depth: int) -> tuple[bytes, int]:
        match = _LENGTH(data, start)
        if match is None:
            raise _broken("a wrong length", start)
        start = match.end()
        end = start + int(match[1])
        if end > len(data):
            raise _broken("a string that is cut off", start)
        return data[start:end], end

    def decode_list(self, data: bytes, start: int, depth: int) -> tuple[list[Value], int]:
        depth = self._deeper(depth, start)
        items: list[Value] = []
        at = start + 1
        while data[at : at + 1] != _END:
            item, at = self.decode_value(data, at, depth)
            items.append(item)
        return items, at + 1

    def decode_dict(self, data: bytes, start: int, depth: int) -> tuple[dict[bytes, Value], int]:
        depth = self._deeper(depth, start)
        items: dict[bytes, Value] = {}
        last: bytes | None = None
        at = start + 1
        while data[at : at + 1] != _END:
            key, value_at = self.decode_string(data, at, depth)
            if key in items:
                raise _broken("a key that comes twice", at)
            if self._canonical and last is not None and key < last:
                raise _broken("a key out of order", at)
            last = key
            items[key], at = self.decode_value(data, value_at, depth)
            if depth == 1:
                self.spans[key] = value_at, at
        return items, at + 1

    def _deeper(self, depth: int, at: int) -> int:
        if depth >= self.limits.max_depth:
            raise _broken(f"more than {self.limits.max_depth} levels", at)
        return depth + 1


class _StrictEncoder(BencodeEncoder):  # type: ignore[misc]  # bencodepy has no types
    """Refuses what the library would turn into something else: text, booleans, mixed keys."""

    def __init__(self) -> None:
        super().__init__()
        self.encode_func = {
            int: self.encode_int,
            bytes: self.encode_bytes,
            list: self.encode_list,
            tuple: self.encode_list,
            dict: self.encode_dict,
        }

    def encode_dict(self, items: dict[Any, Any], parts: Any) -> None:
        parts.append(b"d")
        for key in sorted(items):
            if type(key) is not bytes:
                raise TypeError(f"a key must be bytes, not {key!r}")
            value = items[key]
            kind = type(value)
            if kind is bytes:  # as most of a torrent of many files; a call for each is slow
                parts.append(b"%d:%b%d:%b" % (len(key), key, len(value), value))
            elif kind is int:
                parts.append(b"%d:%bi%de" % (len(key), key, value))
            else:
                parts.append(b"%d:%b" % (len(key), key))
                self.encode_func[kind](value, parts)
        parts.append(_END)

    def encode_list(self, items: Sequence[Any], parts: Any) -> None:
        parts.append(b"l")
        for value in items:
            kind = type(value)
            if kind is bytes:
                parts.append(b"%d:%b" % (len(value), value))
            else:
                self.encode_func[kind](value, parts)
        parts.append(_END)


def _broken(what: str, at: int) -> BencodeError:
    return BencodeError(f"This is not valid bencoding: {what} at byte {at}.")
