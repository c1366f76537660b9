"""A torrent's data from the first look at the disk to its final names.

Rules: what has a final name is complete and never written to; what is on its way lies below
``NAME.part``; and that is believed only as far as the record of the last run and the disk agree.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.engine.checking import check_pieces
from torrent_onion.engine.disk import DISK, Disk, sync_folder
from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.identical_files import copy_from, copy_within
from torrent_onion.engine.placement import (
    Placement,
    look_for_file,
    look_for_folder,
    place_download,
    place_shared,
)
from torrent_onion.engine.resume import (
    UNKNOWN_STAMP,
    FileStamp,
    Resume,
    load_resume,
    pieces_to_check,
    remove_resume,
    resume_path,
    save_resume,
    stamp_file,
    stamp_files,
)
from torrent_onion.engine.selection import wanted_pieces
from torrent_onion.engine.storage import Storage
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.verification import PieceVerifier
from torrent_onion.errors import StorageError

CHECKPOINT_SECONDS = 5.0
"""How often a download is synced and recorded: what a lost power supply may cost."""

CHECKPOINT_SHARE = 0.05
"""The most of the time that this may take, where a disk is slow or has very many files."""


class TorrentData:
    """Opens, checks, records and completes the data of one torrent.

    Args:
        torrent: One whose metadata is known.
        threads: Where all of it is done.
        disk: The operating system.
    """

    def __init__(self, torrent: Torrent, threads: DiskThreads, disk: Disk = DISK) -> None:
        self._torrent = torrent
        self._threads = threads
        self._disk = disk
        self._info: Info = torrent.metadata.known_info
        self._final = place_download(self._info, torrent.spec.folder)
        self._partial = self._final.partial()
        self._recorded: bytes | None = None
        self._stamps: list[FileStamp] = []
        self._lock: int | None = None
        self._is_fresh = False  # the partial name was not there before

    async def prepare(self) -> Bitfield:
        """Open the files and find out which pieces are there.

        Raises:
            StorageError: The disk cannot be used, or something else has the torrent's name.

        Cancelling waits for the pieces that are being hashed.
        """
        torrent = self._torrent
        if torrent.spec.shared_path is not None:
            shared = place_shared(self._info, torrent.spec.shared_path)
            torrent.storage = self._storage(shared, frozenset(range(len(shared.names))))
            return Bitfield.full(self._info.layout.num_pieces)
        finished = await self._open()
        if self._open_storage.is_read_only:
            resume = await self._threads.run(self._load_resume)
        else:
            resume = await self._threads.run(self._claim)
        try:
            if self._lock is not None:  # who had it before us may have finished files since
                finished = await self._open()
            have = await self._begin(resume, finished)
        except StorageError:
            with trio.CancelScope(shield=True):  # why it cannot begin must be heard
                await self._threads.run(self._withdraw)
            raise
        if self._open_storage.is_read_only:
            if resume is not None:  # else the last run has come to that
                await self._threads.run(self._open_storage.sync_names)
            await self._forget_record()
            await self._threads.run(self._withdraw)
        return have

    async def _open(self) -> frozenset[int]:
        """Look where the files are now; returns those that have their final names."""
        placement, finished = await self._threads.run(self._look)
        self._torrent.storage = self._storage(placement, finished)
        await self._torrent.storage.make_root()
        return finished

    async def _begin(self, resume: Resume | None, finished: frozenset[int]) -> Bitfield:
        torrent, storage = self._torrent, self._open_storage
        have = await self._check(storage, resume)
        self._refuse_foreign_files(have, finished)
        await self._threads.run(lambda: self._refuse_full_disk(have))
        if torrent.spec.preallocate:
            await storage.preallocate(torrent.wanted_files)
        await self._copy_identical(storage, have)
        return have

    @property
    def _open_storage(self) -> Storage:
        return self._torrent.open_storage

    async def checkpoint(self, have: Bitfield) -> None:
        """Sync what was written and record it, if there is anything new.

        Raises:
            StorageError: The disk refused.
        """
        storage = self._torrent.open_storage
        snapshot = have.copy()
        if storage.is_read_only or snapshot.is_full or snapshot.to_bytes() == self._recorded:
            return

        def sync_and_record() -> None:
            for file in storage.sync_now():
                self._stamps[file] = stamp_file(storage.placement, file)
            resume = Resume(snapshot, tuple(self._stamps))
            save_resume(self._resume_path, self._info, resume, disk=self._disk)

        await self._threads.run(sync_and_record)
        self._recorded = snapshot.to_bytes()

    async def complete(self, have: Bitfield) -> None:
        """Give every wanted file its final name, for all their pieces are verified.

        Args:
            have: What is here.

        Raises:
            RuntimeError: A piece is missing; a final name would say otherwise.
            StorageError: A final name is taken, or the disk refused.
        """
        storage = self._torrent.open_storage
        if storage.is_read_only:
            return
        wanted = wanted_pieces(self._info, self._torrent.wanted_files)
        if have.intersects_missing(wanted):
            raise RuntimeError("data is missing that is to get its final name")
        with trio.CancelScope(shield=True):  # a record without its data would only be in the way
            await storage.finish(self._final, self._torrent.wanted_files)
            if not await self._threads.run(lambda: os.path.lexists(self._partial.path)):
                await self._forget_record()

    def close(self) -> None:
        """Let others have the partial data."""
        if self._lock is not None:
            self._disk.close(self._lock)
            self._lock = None

    def _claim(self) -> Resume | None:
        """Make sure that the partial name is this torrent's, and nobody else's at the same time.

        Returns:
            The record as it is now that nobody else can write it.
        """
        path = self._partial.path
        with disk_errors(path):
            self._take_lock(path)
        resume = self._record_of(path)
        if resume is None:
            nothing = Bitfield(self._info.layout.num_pieces)
            stamps = tuple(UNKNOWN_STAMP for _ in self._info.files)
            save_resume(self._resume_path, self._info, Resume(nothing, stamps), disk=self._disk)
        else:  # a run that was killed may not have come to that
            with disk_errors(path.parent):
                sync_folder(self._disk, path.parent)
        return resume

    def _take_lock(self, path: Path) -> None:
        """Lock what has the partial name, making it if nothing has."""
        while True:
            self._is_fresh = self._make_new(path)
            self._record_of(path)  # what is somebody's own is not even opened
            self._lock = self._disk.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageError(
                    f"{path} is being fetched already. Wait for that, or choose another --dir."
                ) from None
            if _is_at(path, self._lock):
                return
            self.close()  # who had the lock before us has just given the data its final name

    def _record_of(self, path: Path) -> Resume | None:
        """The record of what has the partial name.

        What has that name without a record of ours beside it is somebody's own: not to be touched.
        """
        resume = self._load_resume()
        if resume is None and not self._is_fresh and not _is_empty(path):
            raise StorageError(
                f"{path} is there already and is no download of this torrent. "
                "Move it away, or choose another folder with --dir."
            )
        return resume

    def _load_resume(self) -> Resume | None:
        return load_resume(self._resume_path, self._info)

    def _withdraw(self) -> None:
        """Leave nothing behind of a download that cannot begin."""
        path = self._partial.path
        if self._is_fresh and _is_empty(path):
            with suppress(OSError, StorageError):  # the reason why it cannot begin matters more
                remove_resume(self._resume_path, disk=self._disk)
                if self._info.is_single_file:
                    self._disk.unlink(path)
                else:
                    self._disk.remove_folder(path)

    async def _forget_record(self) -> None:
        await self._threads.run(lambda: remove_resume(self._resume_path, disk=self._disk))

    def _make_new(self, path: Path) -> bool:
        """Make a folder or an empty file. Returns False if something has the name."""
        try:
            if self._info.is_single_file:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._disk.close(self._disk.open(path, flags))
            else:
                self._disk.make_folder(path)
        except FileExistsError:
            return False
        return True

    @property
    def _resume_path(self) -> Path:
        return resume_path(self._partial)

    def _look(self) -> tuple[Placement, frozenset[int]]:
        """Which files have their final names already; all others are, or will be, partial."""
        kept = [file for file, name in enumerate(self._final.names) if name is not None]
        for folder in sorted(self._final.folders(kept) - {self._final.root}):
            look_for_folder(folder)
        finished = frozenset(file for file in kept if look_for_file(self._final.file(file)))
        names = tuple(
            final if file in finished else partial
            for file, (final, partial) in enumerate(
                zip(self._final.names, self._partial.names, strict=True)
            )
        )
        return Placement(self._final.root, names), finished

    async def _check(self, storage: Storage, resume: Resume | None) -> Bitfield:
        def progress(done: int, _: int) -> None:
            self._torrent.checked = done

        info = self._info
        stamps = await self._threads.run(lambda: stamp_files(storage.placement))
        self._stamps = list(stamps)
        unsure = pieces_to_check(info, resume, stamps)
        is_fresh = all(stamp.size <= 0 for stamp in stamps)  # not one byte is there to be hashed
        only = Bitfield(info.layout.num_pieces) if is_fresh else unsure
        have = await check_pieces(storage, info, self._threads, progress, only=only)
        for index in have.indices():
            storage.found_now(index)
        if resume is not None:
            for index in resume.have.indices():
                if not unsure[index]:
                    have.set(index)
        return have

    async def _copy_identical(self, storage: Storage, have: Bitfield) -> None:
        """Fetch nothing that is here already under another name."""
        info, wanted = self._info, wanted_pieces(self._info, self._torrent.wanted)
        if not storage.is_read_only:
            folders = self._torrent.spec.reuse
            layers = self._torrent.metadata.layers
            await copy_from(folders, info, layers, storage, have, wanted, self._threads)
            await copy_within(info, storage, have, wanted)

    def _refuse_foreign_files(self, have: Bitfield, finished: frozenset[int]) -> None:
        """A final name says: complete. Whatever else has it is the user's, and is not touched."""
        for file in finished:
            inner = [
                index
                for index in self._info.layout.pieces_of_file(file)
                if finished.issuperset(self._real_files_of_piece(index))
            ]
            path = self._final.root / str(self._final.names[file])
            with disk_errors(path):
                is_right = path.is_file() and path.stat().st_size == self._info.files[file].length
            if not is_right or not all(have[index] for index in inner):
                raise StorageError(
                    f"{path} exists already and is not what this torrent holds. "
                    "Move it away, or choose another folder with --dir."
                )

    def _real_files_of_piece(self, index: int) -> list[int]:
        layout = self._info.layout
        spans = layout.spans(index, 0, layout.piece_size(index))
        return [span.file for span in spans if self._final.names[span.file] is not None]

    def _refuse_full_disk(self, have: Bitfield) -> None:
        """Better to know before a week of downloading than after it."""
        wanted = wanted_pieces(self._info, self._torrent.wanted)
        info = self._info
        missing = sum(info.data_length(index) for index in have.missing() if wanted[index])
        with disk_errors(self._final.root):
            free = self._disk.free(self._final.root)
        if missing > free + self._reserved(have):
            raise StorageError(
                f"{missing:,} more bytes are needed in {self._final.root}, and {free:,} are free. "
                "Free some, or choose another folder with --dir."
            )

    def _reserved(self, have: Bitfield) -> int:
        """Bytes of the disk that partial files hold and in which nothing verified lies."""
        names = self._partial.names
        paths = {file: self._partial.file(file) for file, name in enumerate(names) if name}
        partial = {file: path for file, path in paths.items() if path.is_file()}
        held = sum(path.stat().st_blocks * 512 for path in partial.values())
        verified = sum(
            span.length
            for index in have.indices()
            for span in self._info.layout.piece_spans(index)
            if span.file in partial
        )
        return max(0, held - verified)

    def _storage(self, placement: Placement, finished: frozenset[int]) -> Storage:
        return Storage(
            self._info,
            placement,
            verify=PieceVerifier(self._info, self._torrent.metadata.layers),
            threads=self._threads,
            finished=finished,
            disk=self._disk,
        )


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether what is open still has this name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_empty(path: Path) -> bool:
    """Whether nothing is lost if we take the name."""
    if path.is_symlink():
        return False
    if path.is_dir():
        return next(path.iterdir(), None) is None
    return path.is_file() and path.stat().st_size == 0
