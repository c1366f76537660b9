"""Pieces as bytes in files: where a piece's parts lie, read and written.

Everything here blocks and is called in threads. Padding (a file without a name) reads as zeros and
is never written.
"""

from collections.abc import Container, Iterator

from torrent_onion.core.piece_layout import FileSpan, PieceLayout
from torrent_onion.engine.disk import DISK, Disk, write_all
from torrent_onion.engine.disk_errors import disk_errors, storage_error
from torrent_onion.engine.file_handles import FileHandles
from torrent_onion.engine.placement import Placement
from torrent_onion.errors import StorageError

ZEROS = memoryview(bytes(1 << 20))
"""Padding, a part at a time; never written to, so the kernel gives one page of memory for all."""


class DataMissingError(StorageError):
    """A file is not there, or ends before the bytes that were asked for."""


class PieceFiles:
    """The files of one torrent, addressed by piece."""

    def __init__(
        self,
        layout: PieceLayout,
        placement: Placement,
        *,
        read_only: Container[int] | None = None,
        disk: Disk = DISK,
    ) -> None:
        """Open nothing yet.

        Args:
            layout: Where pieces lie in files.
            placement: Where files lie on the disk.
            read_only: Files that are never written to; None for all of them.
            disk: The operating system.
        """
        self._disk = disk
        self._layout = layout
        self._is_virtual = [name is None for name in placement.names]
        self._read_only = read_only
        self._written: set[int] = set()
        self.handles = FileHandles(placement.root, placement.names, read_only=read_only, disk=disk)

    def read(self, index: int, begin: int, length: int) -> bytearray:
        """Read a part of a piece.

        Raises:
            DataMissingError: It is not there, or not all of it.
            StorageError: It cannot be read.
        """
        data = bytearray(length)
        self.read_into(index, begin, memoryview(data))
        return data

    def read_into(self, index: int, begin: int, buffer: memoryview) -> None:
        """The same into a buffer whose length says how much."""
        done = 0
        for span in self._layout.spans(index, begin, len(buffer)):
            part = buffer[done : done + span.length]
            if self._is_virtual[span.file]:
                part[:] = bytes(span.length)
            else:
                self._read_span(span, part)
            done += span.length

    def read_through(self, index: int, buffer: memoryview) -> Iterator[memoryview]:
        """Read a piece from its beginning, part after part: use each, then go on.

        Parts of files come in the buffer, which is made of whole blocks and used again for the
        next part; padding comes from zeros that are there already. A part ends where a file ends.

        Raises:
            DataMissingError, StorageError: As ``read``.
        """
        for file, offset, length in self._layout.piece_spans(index):
            is_virtual = self._is_virtual[file]
            source = ZEROS if is_virtual else buffer
            for begin in range(0, length, len(source)):
                part = source[: length - begin]
                if not is_virtual:
                    self._read_span(FileSpan(file, offset + begin, len(part)), part)
                yield part

    def write(self, index: int, data: memoryview) -> None:
        """Write a verified piece: the parts that lie in finished files are there already.

        Raises:
            StorageError: The disk refused.
        """
        done = 0
        for span in self._layout.spans(index, 0, len(data)):
            part = data[done : done + span.length]
            if self._is_read_only(span.file):
                self._refuse_difference(span, part)
            elif not self._is_virtual[span.file]:
                self._write_span(span, part)
            done += span.length

    def note_written(self, index: int) -> None:
        """Count a piece as written, though it was there already."""
        for span in self._layout.spans(index, 0, self._layout.piece_size(index)):
            if not self._is_virtual[span.file] and not self._is_read_only(span.file):
                self._written.add(span.file)

    def take_written(self) -> set[int]:
        """Files that were written to since this was called last."""
        taken, self._written = self._written, set()
        return taken

    def _refuse_difference(self, span: FileSpan, data: memoryview) -> None:
        """A finished file that shares a piece with others must hold its part of it already."""
        if self._is_virtual[span.file]:
            return
        there = bytearray(span.length)
        self._read_span(span, memoryview(there))
        if there != data:
            path = self.handles.path(span.file)
            raise StorageError(
                f"{path} is not what this torrent holds. Move it away, or choose another --dir."
            )

    def _is_read_only(self, file: int) -> bool:
        return self._read_only is None or file in self._read_only

    def _read_span(self, span: FileSpan, into: memoryview) -> None:
        try:
            with self.handles.lease(span.file) as fd:
                done = self._disk.read(fd, into, span.offset)
                while done < span.length:
                    n = self._disk.read(fd, into[done:], span.offset + done)
                    if n == 0:
                        path = self.handles.path(span.file)
                        raise DataMissingError(f"{path} is shorter than it was. Share it again.")
                    done += n
        except OSError as error:
            reason = storage_error(error, self.handles.path(span.file))
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise DataMissingError(str(reason)) from error
            raise reason from error

    def _write_span(self, span: FileSpan, data: memoryview) -> None:
        path = self.handles.path(span.file)
        with disk_errors(path), self.handles.lease(span.file, make=True) as fd:
            write_all(self._disk, fd, data, span.offset)
            self._written.add(span.file)  # only now: what is taken to be synced must be there
