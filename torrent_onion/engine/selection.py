"""Which pieces are wanted, and in which order: what users say of files, for the picker."""

from collections.abc import Callable, Collection, Sequence

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.path_patterns import fits
from torrent_onion.errors import PathError
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY
from torrent_onion.policy.piece_picker import PiecePicker

Select = Callable[[Info], frozenset[int]]
"""Says which files of a torrent are wanted, by their numbers."""


def wanted_pieces(info: Info, wanted: Collection[int] | None) -> Bitfield:
    """Which pieces hold any byte of wanted files; all if no file is named."""
    if wanted is None:
        return Bitfield.full(info.layout.num_pieces)
    pieces = Bitfield(info.layout.num_pieces)
    for file in wanted:
        for index in info.layout.pieces_of_file(file):
            pieces.set(index)
    return pieces


def set_priorities(
    picker: PiecePicker, info: Info, wanted: Collection[int] | None, *, sequential: bool
) -> None:
    """Tell a new picker what is wanted.

    Args:
        picker: Wants everything.
        info: What the torrent is.
        wanted: Numbers of files; None: all.
        sequential: The first and last piece of each file come first.
    """
    if wanted is not None:
        pieces_wanted = wanted_pieces(info, wanted)
        picker.set_priority(range(info.layout.num_pieces), 0)
        for index in pieces_wanted.indices():
            picker.set_priority(index, NORMAL_PRIORITY)
    if sequential:
        for file, entry in enumerate(info.files):
            pieces = info.layout.pieces_of_file(file)
            if pieces and not entry.is_pad and (wanted is None or file in wanted):
                picker.set_priority(pieces[0], MAX_PRIORITY)
                picker.set_priority(pieces[-1], MAX_PRIORITY)


_MOST_NAMED = 5
"""Files that are named where a choice fits none: enough to see what was meant."""


def _some_names(info: Info) -> str:
    """``a.txt, b/c.txt and 2 more``."""
    names = ["/".join(entry.path) for entry in info.files if not entry.is_pad]
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def by_name(only: Sequence[str], skip: Sequence[str], numbers: Collection[int] | None) -> Select:
    """A choice of files by patterns of their paths (see ``core.path_patterns``).

    Args:
        only: What is wanted; none of them wants everything.
        skip: What is not, even so.
        numbers: What a link names (BEP 53), if nothing is said of ``only``; None: everything.
    """

    def select(info: Info) -> frozenset[int]:
        chosen = frozenset(
            file
            for file, entry in enumerate(info.files)
            if not entry.is_pad
            and not fits(entry.path, skip)
            and (fits(entry.path, only) if only else numbers is None or file in numbers)
        )
        if not chosen:
            has = _some_names(info)
            raise PathError(f"None of its files is wanted. It has {has}. Change --only and --skip.")
        return chosen

    return select
