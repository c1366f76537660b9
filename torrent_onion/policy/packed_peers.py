"""The peers of one swarm, packed into a few dozen bytes each (pure).

- Records of one size lie next to each other: first the peers that still fetch, then the seeds. So
  both are counted by looking at the border, and any k of them are picked in O(k).
- A record begins with its key. A table of slot numbers (open addressing, linear probing, never
  more than two thirds full) finds it in O(1).
- One byte a record says in which minute, modulo 256, the peer was last heard of. All that are
  stale are found by one look at these bytes, at the speed of C.

There is no object for a peer: a million records take the 35 bytes each, and 6 to 12 for the table.
"""

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

MINUTES = 256
"""As many differ in the byte of a record."""

_SMALLEST_TABLE = 8
_FULLEST = (2, 3)  # more, and probes become long
_EMPTIEST = 8  # a table this many times too large is made anew; far from the other limit


class PackedPeers:
    """Records of one kind.

    Args:
        key_size: Bytes at the start of a record that tell peers apart.
        record_size: Bytes of a record.

    A slot is the number of a record, from 0 on. It is valid until the next ``put`` or ``remove``.
    """

    __slots__ = ("_key_size", "_minutes", "_record_size", "_records", "_table", "num_fetching")

    def __init__(self, key_size: int, record_size: int) -> None:
        self._key_size = key_size
        self._record_size = record_size
        self._records = bytearray()
        self._minutes = bytearray()
        self._table = _empty_table(_SMALLEST_TABLE)
        self.num_fetching = 0

    def __len__(self) -> int:
        return len(self._minutes)

    @property
    def num_seeds(self) -> int:
        """How many have all of it."""
        return len(self) - self.num_fetching

    @property
    def records(self) -> bytes:
        """All records: those that fetch, then the seeds."""
        return bytes(self._records)

    @property
    def minutes(self) -> bytes:
        """For each record the minute in which it was put, modulo 256."""
        return bytes(self._minutes)

    def find(self, key: bytes) -> int | None:
        """The slot of a key; None if it is not here."""
        entry = self._table[self._position(key)]
        return entry - 1 if entry else None

    def is_seed(self, slot: int) -> bool:
        """Whether this peer has all of it."""
        return slot >= self.num_fetching

    def put(self, record: bytes, minute: int, *, is_seed: bool) -> None:
        """Add a peer, or write it anew.

        Args:
            record: Its key first.
            minute: Modulo 256.
            is_seed: It has all of it.
        """
        slot = self.find(record[: self._key_size])
        if slot is not None:
            if self.is_seed(slot) == is_seed:
                self._write(slot, record, minute)
                return
            self.remove(slot)
        self._add(record, minute, is_seed=is_seed)

    def remove(self, slot: int) -> None:
        """Take a record out. Records behind it move to other slots, those before it stay."""
        self._unlink(self._position(self._key(slot)))
        if slot < self.num_fetching:
            self.num_fetching -= 1
            self._move(self.num_fetching, slot)
            slot = self.num_fetching
        last = len(self) - 1
        self._move(last, slot)
        del self._minutes[last]
        del self._records[last * self._record_size :]
        self._fit_table(last)

    def remove_stale(self, is_stale: bytes, limit: int) -> int:
        """Take out what was put too long ago.

        Args:
            is_stale: 256 bytes, 1 for each minute that is too long ago and 0 for the others.
            limit: Remove no more than so many.

        Returns:
            How many were removed.
        """
        stale = self._minutes.translate(is_stale)
        slot, removed = len(stale), 0
        # From the end: removing moves only what comes behind, and that is fresh.
        while removed < limit and (slot := stale.rfind(1, 0, slot)) >= 0:
            self.remove(slot)
            removed += 1
        return removed

    def sample(
        self, count: int, rng: "Random", *, without: int | None = None, with_seeds: bool = True
    ) -> bytes:
        """Pick records at random, each with the same chance, none twice.

        Args:
            count: How many at most.
            rng: Where chance comes from.
            without: A slot that is not picked: who asks does not want itself.
            with_seeds: Pick seeds too.

        Returns:
            The records, one after the other.
        """
        among = len(self) if with_seeds else self.num_fetching
        slots = rng.sample(range(among), min(count + 1, among))
        if without is not None and without in slots:
            slots.remove(without)
        return b"".join(map(self._record, slots[:count]))

    def _add(self, record: bytes, minute: int, *, is_seed: bool) -> None:
        slot = end = len(self)
        self._fit_table(end + 1)
        self._records += record
        self._minutes.append(minute)
        if not is_seed:
            slot = self.num_fetching
            self.num_fetching += 1
            if slot != end:  # the first seed makes room at the border
                self._move(slot, end)
                self._write(slot, record, minute)
        self._table[self._position(self._key(slot))] = slot + 1

    def _write(self, slot: int, record: bytes, minute: int) -> None:
        start = slot * self._record_size
        self._records[start : start + self._record_size] = record
        self._minutes[slot] = minute

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self._table[self._position(self._key(source))] = target + 1
            self._write(target, self._record(source), self._minutes[source])

    def _record(self, slot: int) -> bytes:
        start = slot * self._record_size
        return bytes(self._records[start : start + self._record_size])

    def _key(self, slot: int) -> bytes:
        start = slot * self._record_size
        return bytes(self._records[start : start + self._key_size])

    # The table: 0 is free, any other entry is a slot plus one. Where a key belongs depends on
    # Python's own hash of bytes, which is keyed anew for every process: nobody can aim at it.

    def _position(self, key: bytes) -> int:
        """Where the table names this key's slot, or where it would."""
        table = self._table
        mask = len(table) - 1
        position = hash(key) & mask
        while (entry := table[position]) and self._key(entry - 1) != key:
            position = (position + 1) & mask
        return position

    def _unlink(self, hole: int) -> None:
        """Free an entry, and let the ones behind it that probed past it move up."""
        table = self._table
        mask = len(table) - 1
        position = hole
        while entry := table[position := (position + 1) & mask]:
            home = hash(self._key(entry - 1)) & mask
            if (position - home) & mask >= (position - hole) & mask:
                table[hole] = entry
                hole = position
        table[hole] = 0

    def _fit_table(self, count: int) -> None:
        """Make the table anew if so many records are too many, or far too few, for it."""
        size = len(self._table)
        while count * _FULLEST[1] > size * _FULLEST[0]:
            size *= 2
        while size > _SMALLEST_TABLE and count * _EMPTIEST < size:
            size //= 2
        if size != len(self._table):
            self._table = _empty_table(size)
            for slot in range(len(self)):
                self._table[self._position(self._key(slot))] = slot + 1


def _empty_table(size: int) -> "array[int]":
    return array("I", bytes(size * array("I").itemsize))
