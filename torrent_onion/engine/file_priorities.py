"""How much each file of a torrent is wanted, and what that means for its pieces.

A piece is wanted as much as the most wanted file that has bytes in it. In sequence, the first and
last piece of every wanted file go before all others, so that it can be opened early.
"""

from collections.abc import Collection, Iterator
from itertools import groupby

from torrent_onion.core.metainfo import Info
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY


class FilePriorities:
    """The priorities of one torrent's files: 0, not at all, to ``MAX_PRIORITY``.

    Args:
        info: What the torrent is.
        wanted: Numbers of files; None: all.
        sequential: The ends of files go first.
    """

    def __init__(self, info: Info, wanted: Collection[int] | None, *, sequential: bool) -> None:
        self._info = info
        self._sequential = sequential
        self._files = [
            NORMAL_PRIORITY if wanted is None or file in wanted else 0
            for file in range(len(info.files))
        ]

    def __getitem__(self, file: int) -> int:
        return self._files[file]

    @property
    def wanted(self) -> frozenset[int]:
        """Numbers of the files that are to be fetched."""
        return frozenset(file for file, priority in enumerate(self._files) if priority)

    def change(self, file: int, priority: int) -> None:
        """Change how much a file is wanted.

        Raises:
            ValueError: There is no such file or priority, or no file with data would be wanted.
        """
        entries = self._info.files
        if not 0 <= file < len(entries) or entries[file].is_pad:
            raise ValueError(f"there is no file {file} to fetch")
        if not 0 <= priority <= MAX_PRIORITY:
            raise ValueError(f"a priority is 0 to {MAX_PRIORITY}, not {priority}")
        before, self._files[file] = self._files[file], priority
        if not any(
            p and e.length and not e.is_pad for p, e in zip(self._files, entries, strict=True)
        ):
            self._files[file] = before
            raise ValueError("no file would be wanted any more")

    def of_pieces(self, pieces: range | None = None) -> Iterator[tuple[range, int]]:
        """Yield runs of pieces with their priority; of all pieces unless some are named."""
        layout = self._info.layout
        chosen = range(layout.num_pieces) if pieces is None else pieces
        place = chosen.start
        for priority, run in groupby(self._priorities(chosen)):
            end = place + sum(1 for _ in run)
            yield range(place, end), priority
            place = end

    def _priorities(self, pieces: range) -> bytearray:
        """The priority of each of some pieces."""
        found = bytearray(len(pieces))
        for file in self._files_of(pieces):
            own = self._info.layout.pieces_of_file(file)
            priority = self._files[file]
            if not (priority and own):
                continue
            first, last = max(own.start, pieces.start), min(own.stop, pieces.stop)
            for index in range(first, last):
                is_end = self._sequential and index in (own[0], own[-1])
                value = MAX_PRIORITY if is_end else priority
                place = index - pieces.start
                found[place] = max(found[place], value)
        return found

    def _files_of(self, pieces: range) -> Iterator[int]:
        """The files, without padding, that have bytes in any of some pieces."""
        layout, entries = self._info.layout, self._info.files
        if not pieces:
            return
        first = layout.spans(pieces[0], 0, layout.piece_size(pieces[0]))[0].file
        last = layout.spans(pieces[-1], 0, layout.piece_size(pieces[-1]))[-1].file
        for file in range(first, last + 1):
            if entries[file].length and not entries[file].is_pad:
                yield file
