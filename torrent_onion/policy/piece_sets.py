"""Sets of pieces, and small numbers for every piece, as large integers.

A set of pieces is one ``int``: bit n says whether piece n is in it. A number for every piece is a
few such sets, one for each binary digit. Python works on them 30 pieces at a time, in C: "the
rarest of what this peer has and we want" is a dozen operations, whatever the peer has, and a peer
that joins with 50,000 pieces costs little more than one HAVE.

- A set is never changed, only replaced, so it can be shared and kept.
- ``a ^ (a & b)`` is "a without b": ``a & ~b`` is ten times slower, for it makes a negative number.
- One operation on 25,000 pieces takes 0.2 microseconds, on 100,000 pieces 0.5. Do them for every
  piece, never for every block. A set of 100,000 pieces takes 13 KB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from torrent_onion.core.bitfield import Bitfield

PieceSet = int
"""Bit n is set when piece n is in the set."""

_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order: a bitfield has piece 0 in the high bit."""


def all_pieces(size: int) -> PieceSet:
    """Return the set of pieces 0 to ``size - 1``."""
    return (1 << size) - 1


def pieces_in(pieces: range) -> PieceSet:
    """Return the set of the pieces in a range with step 1."""
    return all_pieces(len(pieces)) << pieces.start


def from_bitfield(bitfield: Bitfield) -> PieceSet:
    """Return the pieces that a bitfield has."""
    return int.from_bytes(bitfield.to_bytes().translate(_MIRRORED), "little")


def contains(pieces: PieceSet, index: int) -> bool:
    """Whether a piece is in the set."""
    return bool(pieces >> index & 1)


def lowest(pieces: PieceSet) -> int:
    """Return the first piece of a set that is not empty."""
    return (pieces ^ (pieces - 1)).bit_length() - 1


def random_member(pieces: PieceSet, rng: Random) -> int:
    """Return the first piece at or after a random place in a set that is not empty.

    A piece after a gap is more likely than others; to spread peers over pieces this is enough.
    """
    start = int(rng.random() * pieces.bit_length())
    return start + lowest(pieces >> start)


def members(pieces: PieceSet) -> Iterator[int]:
    """Yield the pieces of a set, in order: for sets known to be small."""
    while pieces:
        index = lowest(pieces)
        yield index
        pieces ^= 1 << index


class PieceNumbers:
    """A small number, not negative, for every piece: its availability, or its priority.

    Every operation is on whole sets and costs a few set operations for each binary digit.
    """

    __slots__ = ("_digits",)

    def __init__(self) -> None:
        # _digits[k] holds the pieces whose number has the digit of value 2**k.
        self._digits: list[PieceSet] = []

    def add(self, pieces: PieceSet) -> None:
        """Add 1 to the number of every piece in the set."""
        carry = pieces
        for place, digit in enumerate(self._digits):
            self._digits[place] = digit ^ carry
            carry &= digit
            if not carry:
                return
        if carry:
            self._digits.append(carry)

    def subtract(self, pieces: PieceSet) -> None:
        """Take 1 from the number of every piece in the set; none of them may be 0."""
        borrow = pieces
        for place, digit in enumerate(self._digits):
            self._digits[place] = digit ^ borrow
            borrow &= self._digits[place]
            if not borrow:
                break
        while self._digits and not self._digits[-1]:
            self._digits.pop()

    def assign(self, pieces: PieceSet, number: int) -> None:
        """Give every piece in the set this number."""
        while len(self._digits) < number.bit_length():
            self._digits.append(0)
        for place, digit in enumerate(self._digits):
            others = digit ^ (digit & pieces)
            self._digits[place] = others | pieces if number >> place & 1 else others

    def __getitem__(self, index: int) -> int:
        return sum((digit >> index & 1) << place for place, digit in enumerate(self._digits))

    def nonzero(self) -> PieceSet:
        """Return the pieces whose number is not 0."""
        pieces = 0
        for digit in self._digits:
            pieces |= digit
        return pieces

    def smallest(self, among: PieceSet) -> PieceSet:
        """Return those pieces of a set that share the smallest number in it."""
        for digit in reversed(self._digits):
            smaller = among ^ (among & digit)
            if smaller:
                among = smaller
        return among

    def largest(self, among: PieceSet) -> PieceSet:
        """Return those pieces of a set that share the largest number in it."""
        for digit in reversed(self._digits):
            larger = among & digit
            if larger:
                among = larger
        return among
