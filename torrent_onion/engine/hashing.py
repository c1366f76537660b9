"""Hash content for a new torrent, on all cores, in one pass over the disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from torrent_onion.core.merkle import piece_root
from torrent_onion.core.metainfo import FileEntry, TorrentFormat, data_length
from torrent_onion.core.piece_layout import PieceLayout
from torrent_onion.engine.checking import Progress
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.parallel import for_each_batch
from torrent_onion.engine.piece_files import PieceFiles
from torrent_onion.engine.verification import PieceDigest

_BATCH_BYTES = 16 << 20
"""Bytes hashed for each hop to a thread."""


@dataclass(frozen=True, slots=True)
class PieceHashes:
    """Hashes of consecutive pieces, joined.

    Attributes:
        v1: 20 bytes a piece, SHA-1 (BEP 3); empty for a v2 torrent.
        v2: 32 bytes a piece, what its blocks hash to in the file's tree (BEP 52); empty for v1.
    """

    v1: bytes
    v2: bytes


class PieceHasher:
    """Hashes pieces of content that is laid out already; its methods run in threads."""

    def __init__(
        self,
        files: PieceFiles,
        layout: PieceLayout,
        entries: Sequence[FileEntry],
        torrent_format: TorrentFormat,
    ) -> None:
        self._files = files
        self._layout = layout
        self._entries = entries
        self._want_v1 = torrent_format is not TorrentFormat.V2
        self._want_v2 = torrent_format is not TorrentFormat.V1

    def hash(self, pieces: range, buffer: memoryview) -> PieceHashes:
        """Read and hash some pieces, with a buffer to use.

        Raises:
            StorageError: A file cannot be read, or became shorter.
        """
        v1, v2 = bytearray(), bytearray()
        for index in pieces:
            # Pieces of v2 torrents are aligned to files: what follows the first file is padding.
            spans = self._layout.piece_spans(index)
            span = spans[0]
            tree_length = span.length if self._want_v2 else 0
            digest = PieceDigest(v1=self._want_v1, tree_length=tree_length)
            digest.update_all(self._files.read_spans(spans, buffer))
            v1 += digest.v1
            if self._want_v2:
                v2 += piece_root(
                    digest.leaves,
                    file_length=self._entries[span.file].length,
                    piece_length=self._layout.piece_length,
                )
        return PieceHashes(bytes(v1), bytes(v2))

    def data_length(self, pieces: range) -> int:
        """Bytes of files in some pieces."""
        return sum(data_length(self._entries, self._layout, index) for index in pieces)


async def hash_all_pieces(
    hasher: PieceHasher, layout: PieceLayout, threads: DiskThreads, progress: Progress
) -> PieceHashes:
    """Hash the whole content, with progress in bytes of its files.

    Raises:
        StorageError: A file cannot be read, or became shorter.

    Cancelling waits for the pieces that are being hashed.
    """
    parts: dict[int, PieceHashes] = {}
    total = hasher.data_length(range(layout.num_pieces))
    hashed = 0

    def done(pieces: range, hashes: PieceHashes) -> None:
        nonlocal hashed
        parts[pieces.start] = hashes
        hashed += hasher.data_length(pieces)
        progress(hashed, total)

    batch = max(1, _BATCH_BYTES // layout.piece_length)
    await for_each_batch(threads, layout.num_pieces, batch, hasher.hash, done)
    in_order = [parts[start] for start in sorted(parts)]
    return PieceHashes(
        b"".join(part.v1 for part in in_order), b"".join(part.v2 for part in in_order)
    )
