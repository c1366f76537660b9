"""Which pieces are wanted, and in which order: what users say of files, for the picker."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.policy.piece_board import MAX_PRIORITY, NORMAL_PRIORITY
from torrent_onion.policy.piece_picker import PiecePicker

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import TorrentSpec


def wanted_pieces(info: Info, wanted: Collection[int] | None) -> Bitfield:
    """Which pieces hold any byte of wanted files; all if no file is named."""
    if wanted is None:
        return Bitfield.full(info.layout.num_pieces)
    pieces = Bitfield(info.layout.num_pieces)
    for file in wanted:
        for index in info.layout.pieces_of_file(file):
            pieces.set(index)
    return pieces


def set_priorities(picker: PiecePicker, info: Info, spec: "TorrentSpec") -> None:
    """Tell a new picker what is wanted."""
    if spec.wanted is not None:
        wanted = wanted_pieces(info, spec.wanted)
        picker.set_priority(range(info.layout.num_pieces), 0)
        for index in wanted.indices():
            picker.set_priority(index, NORMAL_PRIORITY)
    if spec.sequential:
        for file, entry in enumerate(info.files):
            pieces = info.layout.pieces_of_file(file)
            if pieces and not entry.is_pad and (spec.wanted is None or file in spec.wanted):
                picker.set_priority(pieces[0], MAX_PRIORITY)
                picker.set_priority(pieces[-1], MAX_PRIORITY)
