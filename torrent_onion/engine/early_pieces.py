"""What a peer says it has before the number of pieces is known: with a magnet link."""

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol import messages

MAX_EARLY_HAVES = 1 << 16
"""HAVE messages kept while the number of pieces is unknown (before the metadata has come)."""


class EarlyPieces:
    """The opening message and the HAVEs of one peer, as far as they are kept."""

    def __init__(self) -> None:
        self._opening: messages.BitfieldMessage | messages.HaveAll | None = None
        self._haves: set[int] = set()

    def told(self, opening: messages.BitfieldMessage | messages.HaveAll) -> None:
        """Keep what the peer says at first; what it says later takes its place."""
        self._opening = opening

    def has(self, piece: int) -> None:
        """Keep a HAVE, if there are not too many already."""
        if len(self._haves) < MAX_EARLY_HAVES:
            self._haves.add(piece)

    def take(self, num_pieces: int) -> Bitfield:
        """The number of pieces is known now: give what the peer has, and forget it here.

        Raises:
            ProtocolError: What the peer said does not fit the torrent.
        """
        pieces = Bitfield(num_pieces)
        if self._opening is not None:
            pieces = read_pieces(self._opening, num_pieces)
        for index in self._haves:
            if index >= num_pieces:
                raise ProtocolError("the peer has a piece that is beyond the end of the torrent")
            pieces.set(index)
        self._opening = None
        self._haves.clear()
        return pieces


def read_pieces(said: messages.BitfieldMessage | messages.HaveAll, num_pieces: int) -> Bitfield:
    """Read which pieces a peer says it has (BEP 3, BEP 6).

    Raises:
        ProtocolError: The bitfield does not fit the torrent.
    """
    if isinstance(said, messages.HaveAll):
        return Bitfield.full(num_pieces)
    return Bitfield.from_bytes(said.bits, num_pieces)
