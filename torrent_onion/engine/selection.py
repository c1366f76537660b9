"""Which files are wanted: what users and links say of them."""

from collections.abc import Callable, Collection, Sequence

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.path_patterns import fits
from torrent_onion.errors import PathError

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


_MOST_NAMED = 5
"""Files that are named where a choice fits none: enough to see what was meant."""


def _some_names(info: Info) -> str:
    """``a.txt, b/c.txt and 2 more``."""
    names = ["/".join(entry.path) for entry in info.files if not entry.is_pad]
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def by_name(only: Sequence[str], skip: Sequence[str], numbers: Collection[int] | None) -> Select:
    """A choice of files by patterns of their paths (see ``core.path_patterns``).

    The torrent's name may stand in front, as ``show`` draws it.

    Args:
        only: What is wanted; none of them wants everything.
        skip: What is not, even so.
        numbers: What a link names (BEP 53), if nothing is said of ``only``; None: everything.
    """

    def select(info: Info) -> frozenset[int]:
        is_wanted, is_not = _below_top(info, only), _below_top(info, skip)
        chosen = frozenset(
            file
            for file, entry in enumerate(info.files)
            if not entry.is_pad
            and not fits(entry.path, is_not)
            and (fits(entry.path, is_wanted) if only else numbers is None or file in numbers)
        )
        if not chosen:
            has = _some_names(info)
            raise PathError(f"None of its files is wanted. It has {has}. Change --only and --skip.")
        return chosen

    return select


def _below_top(info: Info, patterns: Sequence[str]) -> list[str]:
    """The same without the torrent's name in front, where nothing in the torrent fits it so."""
    top = f"{info.name}/"
    return [
        pattern.removeprefix(top)
        if not info.is_single_file
        and pattern.startswith(top)
        and not any(fits(entry.path, [pattern]) for entry in info.files)
        else pattern
        for pattern in patterns
    ]
