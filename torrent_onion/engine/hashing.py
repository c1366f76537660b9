"""Hash content for a new torrent, on all cores, in one pass over the disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torrent_onion.core.merkle import piece_root
from torrent_onion.core.metainfo import FileEntry, TorrentFormat
from torrent_onion.core.piece_layout import FileSpan, PieceLayout
from torrent_onion.engine.checking import Progress
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.parallel import for_each_batch
from torrent_onion.engine.placement import Placement
from torrent_onion.engine.sequential_reader import SequentialReader
from torrent_onion.engine.verification import PieceDigest

_BATCH_BYTES = 16 << 20
"""Bytes hashed for each hop to a thread."""


@dataclass(frozen=True, slots=True)
class PieceHashes:
    """Hashes of consecutive pieces, joined.

    Attributes:
        v1: 20 bytes a piece, SHA-1 (BEP 3); empty for a v2 torrent.
        v2: 32 bytes a piece, what its blocks hash to in the file's tree (BEP 52); empty for v1.
        length: Bytes of files in them, padding not counted.
    """

    v1: bytes
    v2: bytes
    length: int


class PieceHasher:
    """Hashes pieces of content that is laid out already; its methods run in threads."""

    def __init__(
        self,
        placement: Placement,
        layout: PieceLayout,
        entries: Sequence[FileEntry],
        torrent_format: TorrentFormat,
    ) -> None:
        self._placement = placement
        self._layout = layout
        self._lengths = [entry.length for entry in entries]
        self._is_pad = [entry.is_pad for entry in entries]
        self._want_v1 = torrent_format is not TorrentFormat.V2
        self._want_v2 = torrent_format is not TorrentFormat.V1

    def hash(self, pieces: range, buffer: memoryview) -> PieceHashes:
        """Read and hash some pieces, with a buffer to use.

        Raises:
            StorageError: A file cannot be read, or became shorter.
        """
        v1, v2 = bytearray(), bytearray()
        length = 0
        with SequentialReader(self._placement, buffer) as reader:
            for spans in self._layout.spans_of_pieces(pieces):
                digest = self._hash_piece(spans[0], reader.parts(spans))
                v1 += digest.v1
                if self._want_v2:
                    v2 += piece_root(
                        digest.leaves,
                        file_length=self._lengths[spans[0].file],
                        piece_length=self._layout.piece_length,
                    )
                for span in spans:
                    length += 0 if self._is_pad[span.file] else span.length
        return PieceHashes(bytes(v1), bytes(v2), length)

    def _hash_piece(self, first: FileSpan, parts: Iterator[memoryview]) -> PieceDigest:
        # Pieces of v2 torrents are aligned to files: what follows the first file is padding.
        tree_length = first.length if self._want_v2 else 0
        digest = PieceDigest(v1=self._want_v1, tree_length=tree_length)
        digest.update_all(parts)
        return digest

    @property
    def total_length(self) -> int:
        """Bytes of all files, padding not counted."""
        pairs = zip(self._lengths, self._is_pad, strict=True)
        return sum(length for length, is_pad in pairs if not is_pad)


async def hash_all_pieces(
    hasher: PieceHasher, layout: PieceLayout, threads: DiskThreads, progress: Progress
) -> PieceHashes:
    """Hash the whole content, with progress in bytes of its files.

    Raises:
        StorageError: A file cannot be read, or became shorter.

    Cancelling waits for the pieces that are being hashed.
    """
    parts: dict[int, PieceHashes] = {}
    total = hasher.total_length
    hashed = 0

    def done(pieces: range, hashes: PieceHashes) -> None:
        nonlocal hashed
        parts[pieces.start] = hashes
        hashed += hashes.length
        progress(hashed, total)

    batch = max(1, _BATCH_BYTES // layout.piece_length)
    await for_each_batch(threads, layout.num_pieces, batch, hasher.hash, done)
    in_order = [parts[start] for start in sorted(parts)]
    return PieceHashes(
        b"".join(part.v1 for part in in_order),
        b"".join(part.v2 for part in in_order),
        hashed,
    )
