"""Which pieces somebody has: one bit a piece, high bit first, as BEP 3 sends it.

- The spare bits of the last byte are always zero, in what comes in and in what goes out.
- The number of set bits is kept, never counted again.
- What looks at all pieces at once works on whole bytes or one large integer: a few microseconds
  for 100,000 pieces.
"""

from collections.abc import Iterator
from typing import Final

from torrent_onion.errors import ProtocolError

_BITS: Final = 8
_BITS_OF_BYTE: Final = tuple(
    tuple(bit for bit in range(_BITS) if byte & (0x80 >> bit)) for byte in range(256)
)
"""For each byte the places of its set bits, from the high bit."""
_INVERTED: Final = bytes(0xFF ^ byte for byte in range(256))


class Bitfield:
    """A set of piece indices below a fixed size.

    Args:
        size: Number of pieces.
    """

    __slots__ = ("_bits", "_count", "_size")

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError("a bitfield has no negative size")
        self._size = size
        self._bits = bytearray(_byte_length(size))
        self._count = 0

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, size: int) -> "Bitfield":
        """Read the payload of a bitfield message.

        Raises:
            ProtocolError: The length is not that of ``size`` pieces, or a spare bit is set.
        """
        if len(data) != _byte_length(size):
            raise ProtocolError("The peer's bitfield has the wrong length.")
        if size % _BITS and data[-1] & (0xFF >> size % _BITS):
            raise ProtocolError("The peer's bitfield has bits beyond the last piece.")
        bitfield = cls(size)
        bitfield._bits[:] = data
        bitfield._count = _integer(data).bit_count()
        return bitfield

    @classmethod
    def full(cls, size: int) -> "Bitfield":
        """Return a bitfield that has every piece."""
        bitfield = cls(size)
        bitfield._bits[:] = b"\xff" * len(bitfield._bits)
        bitfield._clear_spare_bits()
        bitfield._count = size
        return bitfield

    def to_bytes(self) -> bytes:
        """Return the payload of a bitfield message."""
        return bytes(self._bits)

    def copy(self) -> "Bitfield":
        """Return a bitfield of its own with the same pieces."""
        twin = Bitfield(self._size)
        twin._bits[:] = self._bits
        twin._count = self._count
        return twin

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> bool:
        self._check(index)
        return bool(self._bits[index >> 3] & (0x80 >> (index & 7)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self._size == other._size and self._bits == other._bits

    # It changes, so it has no hash; and `in` would walk through all bits: ask bitfield[index].
    __hash__ = None  # type: ignore[assignment]  # the documented way to say "unhashable"
    __iter__ = None
    __contains__ = None

    def __repr__(self) -> str:
        return f"<Bitfield {self._count}/{self._size}>"

    def set(self, index: int) -> None:
        """Add a piece.

        Raises:
            IndexError: There is no such piece.
        """
        if not self[index]:
            self._bits[index >> 3] |= 0x80 >> (index & 7)
            self._count += 1

    def clear(self, index: int) -> None:
        """Take a piece away.

        Raises:
            IndexError: There is no such piece.
        """
        if self[index]:
            self._bits[index >> 3] &= ~(0x80 >> (index & 7))
            self._count -= 1

    @property
    def count(self) -> int:
        """Number of pieces that are there."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether every piece is there."""
        return self._count == self._size

    @property
    def is_empty(self) -> bool:
        """Whether no piece is there."""
        return self._count == 0

    def indices(self) -> Iterator[int]:
        """Yield the pieces that are there, in order. Do not change the bitfield meanwhile."""
        return _set_bits(self._bits)

    def missing(self) -> Iterator[int]:
        """Yield the pieces that are not there, in order, as they are at this moment."""
        inverted = Bitfield(self._size)
        inverted._bits[:] = self._bits.translate(_INVERTED)
        inverted._clear_spare_bits()
        return _set_bits(inverted._bits)

    def intersects_missing(self, other: "Bitfield") -> bool:
        """Whether ``other``, of the same size, has any piece that is missing here."""
        return bool(_integer(other.to_bytes()) & ~_integer(self._bits))

    def update(self, other: "Bitfield") -> "Bitfield":
        """Add the pieces of ``other``, of the same size; return those that were missing here."""
        mine, theirs = _integer(self._bits), _integer(other.to_bytes())
        new = theirs ^ (theirs & mine)
        added = Bitfield(self._size)
        added._bits[:] = new.to_bytes(len(self._bits))
        added._count = new.bit_count()
        self._bits[:] = (mine | new).to_bytes(len(self._bits))
        self._count += added._count
        return added

    def _check(self, index: int) -> None:
        if not 0 <= index < self._size:
            raise IndexError(f"piece {index} of {self._size}")

    def _clear_spare_bits(self) -> None:
        if self._size % _BITS:
            self._bits[-1] &= ~(0xFF >> self._size % _BITS) & 0xFF


def _integer(bits: bytes | bytearray | memoryview) -> int:
    return int.from_bytes(bits, "big")


def _byte_length(size: int) -> int:
    return (size + _BITS - 1) // _BITS


def _set_bits(bits: bytearray) -> Iterator[int]:
    for place, byte in enumerate(bits):
        if byte:
            first = place * _BITS
            for bit in _BITS_OF_BYTE[byte]:
                yield first + bit
