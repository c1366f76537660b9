"""How much each piece is wanted now, from how much its files are and from what need not be fetched.

Of pieces with one content (BEP 52 "pieces root") one is fetched and the others wait: the picker
skips them until that one is here and was copied, so neither alone knows when all is done. All of it
is decided anew, from the same rule, whenever a file is wanted otherwise or a piece has come.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.file_priorities import FilePriorities
from torrent_onion.engine.identical_files import IdenticalPieces
from torrent_onion.policy.piece_board import PieceState
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.piece_picker import PiecePicker

Cancelled = list[tuple[PeerKey, Block]]
"""Requests to take back: whom was asked for what."""


class PiecePriorities:
    """Keeps the picker's priorities right, and account of what is not wanted.

    Args:
        info: The torrent.
        files: How much its files are wanted.
        picker: Whose priorities these are; nobody else sets them.
        have: The pieces that are here; read whenever something changes.

    Attributes:
        unwanted: Bytes of files that are missing and not to be fetched.
    """

    def __init__(
        self, info: Info, files: FilePriorities, picker: PiecePicker, have: Bitfield
    ) -> None:
        self.unwanted = 0
        self._info = info
        self._files = files
        self._picker = picker
        self._have = have
        self._wanted = Bitfield.full(info.layout.num_pieces)
        self._identical = IdenticalPieces(info)
        self._waiting: set[int] = set()
        self._apply([range(info.layout.num_pieces)])

    @property
    def is_done(self) -> bool:
        """Whether every wanted piece is here, those too that only wait to be copied."""
        return self._picker.is_done and not self._waiting

    def is_waiting(self, index: int) -> bool:
        """Whether a piece is wanted and missing, and will be copied from one like it."""
        return index in self._waiting

    def to_copy(self, index: int) -> Iterator[int]:
        """Pieces that wait for one like this, each as things are when it is its turn."""
        return filter(self.is_waiting, self._identical.group(index))

    def file_changed(self, file: int) -> Cancelled:
        """A file is wanted more or less than before, or no more, or again."""
        return self._apply(
            [self._info.layout.pieces_of_file(each) for each in self._identical.files_like(file)]
        )

    def piece_arrived(self, index: int) -> bool:
        """A piece is here now, fetched or copied; call it once for each.

        Returns:
            Whether pieces that waited for it are fetched after all: they could not be copied.
        """
        self._waiting.discard(index)
        if not self._wanted[index]:
            self.unwanted -= self._info.data_length(index)
        group = self._identical.group(index)
        if self._waiting.isdisjoint(group):
            return False
        released = self._share(group)
        for each in released:
            self._set(range(each, each + 1))
        return bool(released)

    def _apply(self, changed: Sequence[range]) -> Cancelled:
        for pieces in changed:
            for run, priority in self._files.of_pieces(pieces):
                self._note_wanted(run, is_wanted=bool(priority))
        for group in self._identical.groups_in(changed):
            self._share(group)
        return [each for pieces in changed for each in self._set(pieces)]

    def _note_wanted(self, pieces: Iterable[int], *, is_wanted: bool) -> None:
        for index in pieces:
            if self._wanted[index] == is_wanted:
                continue
            length = 0 if self._have[index] else self._info.data_length(index)
            if is_wanted:
                self._wanted.set(index)
                self.unwanted -= length
            else:
                self._wanted.clear(index)
                self.unwanted += length

    def _share(self, group: Sequence[int]) -> set[int]:
        """Of pieces with one content let one be fetched: the one that has come furthest.

        Returns:
            Those that waited and wait no more.
        """
        before = self._waiting.intersection(group)
        lacking = [index for index in group if self._wanted[index] and not self._have[index]]
        states = {index: self._picker.state(index) for index in lacking}
        fetched = [index for index in lacking if states[index] is PieceState.CHECKING]
        if not fetched:
            fetched = [index for index in lacking if states[index] is PieceState.PARTIAL][:1]
        self._waiting.difference_update(group)
        self._waiting.update(set(lacking).difference(fetched or lacking[:1]))
        return before - self._waiting

    def _set(self, pieces: range) -> Cancelled:
        cancelled: Cancelled = []
        for run, priority in self._files.of_pieces(pieces):
            place = run.start
            for waits, same in groupby(run, self.is_waiting):
                end = place + sum(1 for _ in same)
                cancelled += self._picker.set_priority(range(place, end), 0 if waits else priority)
                place = end
        return cancelled
