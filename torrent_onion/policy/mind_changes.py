"""How often a peer changes its mind, bounded: each makes us look at all peers, or all pieces."""

from typing import Final

from torrent_onion.errors import ProtocolError

CHANGES_BURST: Final = 500
"""Changes of mind of one peer at once: choked or not, interested or not, extensions, pieces lost,
many pieces told together, answers refused, and answers that nobody asked for."""

CHANGES_PER_SECOND: Final = 50.0
"""The same in the long run. Clients do it a few times a second when pieces are small."""


class MindChanges:
    """What one peer may still do of them."""

    def __init__(self) -> None:
        self._left = float(CHANGES_BURST)
        self._last = 0.0

    def count(self, now: float) -> None:
        """Note one.

        Raises:
            ProtocolError: The peer does nothing else.
        """
        since, self._last = self._last, now
        self._left = min(CHANGES_BURST, self._left + (now - since) * CHANGES_PER_SECOND) - 1
        if self._left < 0:
            raise ProtocolError("the peer changes its mind without end")
