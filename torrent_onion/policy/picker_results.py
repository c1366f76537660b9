"""What the piece picker answers: what a block brought about, and how it stands."""

from dataclasses import dataclass

from torrent_onion.errors import ProtocolError
from torrent_onion.policy.piece_download import PeerKey, PieceDownload


class UnaskedBlock(ProtocolError):
    """The peer sent a block that it was never asked for."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a block brought about.

    Args:
        duplicate: It was of no use and is thrown away.
        cancel: Other peers that were asked for it: send them a cancel.
        complete: The piece that it completed: hash and write it, then tell the picker.
    """

    duplicate: bool = False
    cancel: tuple[PeerKey, ...] = ()
    complete: PieceDownload | None = None


@dataclass(frozen=True, slots=True)
class PickerStatistics:
    """The picker at one moment; ``buffered`` is in bytes."""

    have: int
    wanted_missing: int
    partial: int
    checking: int
    buffered: int
    requested: int
    endgame: bool
