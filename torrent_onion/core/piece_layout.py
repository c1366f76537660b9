"""Where pieces and blocks lie in the files of a torrent: arithmetic, and nothing else.

- Pieces are cut from all files as one long stream (BEP 3). In a torrent of version 2 alone, a file
  starts at a piece boundary instead (``aligned``; BEP 52), and the gap before it is no data: the
  last piece of a file is short and nothing may be asked for beyond it.
- Hybrid torrents fill that gap with padding (BEP 47). It belongs to the piece, and others may ask
  for it, but it is all zeros: the blocks that we fetch end where the data ends.
- Everything is O(1), or O(log files) plus the files touched; nothing lists all pieces. A file costs
  25 bytes.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

BLOCK_SIZE: Final = 16 * 1024
"""Bytes of one request; what every client asks for and the most that all of them answer (BEP 3)."""


class Block(NamedTuple):
    """A part of a piece, as it is asked for: byte offsets (BEP 3 ``request``).

    A tuple and not a dataclass: there is one for every 16 KiB, and it is hashed several times.
    """

    piece: int
    begin: int
    length: int


class FileSpan(NamedTuple):
    """A run of bytes inside one file."""

    file: int
    offset: int
    length: int


class PieceLayout:
    """The pieces of a torrent and the files under them.

    Args:
        piece_length: Bytes of every piece but the last (of each file, if aligned).
        file_lengths: Bytes of each file, in the order of the torrent.
        aligned: Each file starts at a piece boundary.
        padding: Numbers of the files that are padding.
    """

    __slots__ = (
        "_aligned",
        "_filled",
        "_filled_starts",
        "_is_padding",
        "_lengths",
        "_starts",
        "num_pieces",
        "piece_length",
        "total_length",
    )

    def __init__(
        self,
        piece_length: int,
        file_lengths: Sequence[int],
        *,
        aligned: bool = False,
        padding: Collection[int] = (),
    ) -> None:
        if piece_length < 1 or any(length < 0 for length in file_lengths):
            raise ValueError("lengths are not negative, and that of a piece not zero")
        self.piece_length: Final = piece_length
        self._aligned = aligned
        self._lengths = array("q", file_lengths)
        self._is_padding = bytearray(len(self._lengths))
        for file in padding:
            self._is_padding[file] = True
        self.total_length: Final = sum(self._lengths)
        self._starts = array("q")
        # Files that have data, and where they start: empty ones would stand in the way of bisect.
        self._filled = array("q")
        self._filled_starts = array("q")
        self.num_pieces: Final = self._place_files()

    def _place_files(self) -> int:
        position = 0
        for file, length in enumerate(self._lengths):
            self._starts.append(position)
            if length:
                self._filled.append(file)
                self._filled_starts.append(position)
            position += self._round_up(length) if self._aligned else length
        return self._round_up(position) // self.piece_length

    def _round_up(self, length: int) -> int:
        return -(-length // self.piece_length) * self.piece_length

    def piece_size(self, index: int) -> int:
        """Return the number of bytes in a piece.

        Raises:
            IndexError: There is no such piece.
        """
        if not 0 <= index < self.num_pieces:
            raise IndexError(f"piece {index} of {self.num_pieces}")
        start = index * self.piece_length
        end = self.total_length
        if self._aligned:
            place = bisect_right(self._filled_starts, start) - 1
            end = self._filled_starts[place] + self._lengths[self._filled[place]]
        return min(self.piece_length, end - start)

    def fetched_size(self, index: int) -> int:
        """Return the number of bytes in a piece before the padding that ends it.

        A piece of nothing but padding is fetched like any other: no torrent needs one.
        """
        size = self.piece_size(index)
        start = index * self.piece_length
        end = start + size
        place = bisect_left(self._filled_starts, end) - 1
        while end > start and self._is_padding[self._filled[place]]:
            end = self._filled_starts[place]
            place -= 1
        return end - start if end > start else size

    def data_length(self, index: int, begin: int, length: int) -> int:
        """Return how many bytes of a part of a piece are no padding; the errors of ``spans``."""
        spans = self.spans(index, begin, length)
        return sum(span.length for span in spans if not self._is_padding[span.file])

    def num_blocks(self, index: int) -> int:
        """Return the number of blocks in a piece that are fetched."""
        return -(-self.fetched_size(index) // BLOCK_SIZE)

    def block(self, index: int, number: int) -> Block:
        """Return the block of that number in a piece, as it is fetched.

        Raises:
            IndexError: There is no such piece or block.
        """
        begin = number * BLOCK_SIZE
        left = self.fetched_size(index) - begin
        if number < 0 or left <= 0:
            raise IndexError(f"block {number} of piece {index}")
        return Block(index, begin, min(BLOCK_SIZE, left))

    @staticmethod
    def block_number(begin: int) -> int:
        """Return the number of the block that holds this offset in a piece."""
        return begin // BLOCK_SIZE

    def is_valid_request(self, piece: int, begin: int, length: int) -> bool:
        """Whether a peer may ask for this: at least a byte, at most a block, inside one piece."""
        return (
            0 <= piece < self.num_pieces
            and 1 <= length <= BLOCK_SIZE
            and 0 <= begin <= self.piece_size(piece) - length
        )

    def spans(self, index: int, begin: int, length: int) -> list[FileSpan]:
        """Return the parts of files that hold a part of a piece, in order.

        Raises:
            IndexError: There is no such piece.
            ValueError: The part is not inside the piece.
        """
        if begin < 0 or length < 0 or begin + length > self.piece_size(index):
            raise ValueError(f"{begin}+{length} is not inside piece {index}")
        return self._spans(index * self.piece_length + begin, length)

    def piece_spans(self, index: int) -> list[FileSpan]:
        """Return the parts of files that hold a whole piece; the same errors."""
        return self._spans(index * self.piece_length, self.piece_size(index))

    def spans_of_pieces(self, pieces: range) -> Iterator[list[FileSpan]]:
        """Yield what ``piece_spans`` returns for pieces that follow one another, without a search.

        Args:
            pieces: Of step 1; none beyond the last.
        """
        if not pieces:
            return
        position = pieces.start * self.piece_length
        place = bisect_right(self._filled_starts, position) - 1
        offset = position - self._filled_starts[place]
        for _ in pieces:
            left = self.piece_length
            spans = []
            while left and place < len(self._filled):
                file = self._filled[place]
                in_file = self._lengths[file] - offset
                count = min(left, in_file)
                spans.append(FileSpan(file, offset, count))
                left -= count
                offset += count
                if count == in_file:
                    place += 1
                    offset = 0
                    if self._aligned:
                        break
            yield spans

    def _spans(self, position: int, length: int) -> list[FileSpan]:
        place = bisect_right(self._filled_starts, position) - 1
        offset = position - self._filled_starts[place]
        spans = []
        while length:
            file = self._filled[place]
            count = min(length, self._lengths[file] - offset)
            spans.append(FileSpan(file, offset, count))
            length -= count
            place += 1
            offset = 0
        return spans

    def pieces_of_file(self, file: int) -> range:
        """Return the pieces that hold any byte of a file; empty for an empty file."""
        start = self._starts[file]
        first = start // self.piece_length
        end = start + self._lengths[file]
        return range(first, -(-end // self.piece_length) if end > start else first)
