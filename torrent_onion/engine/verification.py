"""Is this piece the right one? For what peers sent and for what disks hold."""

import hashlib

from torrent_onion.core.metainfo import Info


class PieceVerifier:
    """Verifies the pieces of one torrent; safe to call from several threads at once."""

    def __init__(self, info: Info) -> None:
        self._info = info

    def __call__(self, index: int, data: memoryview) -> bool:
        """Whether ``data`` hashes to what the torrent says of piece ``index`` (BEP 3)."""
        return hashlib.sha1(data, usedforsecurity=False).digest() == self._info.piece_hash(index)
