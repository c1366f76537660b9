"""Disks that fail: one that refuses at random, and one whose power is lost at some moment."""

import errno
import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from torrent_onion.engine.disk import Disk

PAGE = 4096
"""Bytes that a disk keeps or loses together."""


class FailingDisk(Disk):
    """Refuses what changes anything, at random, and writes only a part at times.

    Args:
        folder: Below it; everywhere else is well.
        rng: When.
        share: Of the calls that fail.
        errors: With what.
    """

    def __init__(
        self, folder: Path, rng: random.Random, share: float, errors: tuple[int, ...]
    ) -> None:
        self._folder = folder
        self._rng = rng
        self._share = share
        self._errors = errors
        self._below: set[int] = set()
        self.failed: list[str] = []

    def open(
        self, path: Path | PurePosixPath | str, flags: int, *, folder: int | None = None
    ) -> int:
        below = self._is_below(path) if folder is None else folder in self._below
        if below and flags & os.O_CREAT:
            self._stumble("open")
        descriptor = super().open(path, flags, folder=folder)
        (self._below.add if below else self._below.discard)(descriptor)
        return descriptor

    def make_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        if self._is_below(path) if folder is None else folder in self._below:
            self._stumble("make_folder")
        super().make_folder(path, folder=folder)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        if descriptor in self._below:
            self._stumble("write")
            if len(data) > 1 and self._rng.random() < 0.3:
                data = data[: self._rng.randrange(1, len(data))]
        return super().write(descriptor, data, offset)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        if descriptor in self._below:
            self._stumble("allocate")
        super().allocate(descriptor, offset, length)

    def sync(self, descriptor: int) -> None:
        if descriptor in self._below:
            self._stumble("sync")
        super().sync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        if self._is_below(new):
            self._stumble("rename")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        if self._is_below(path):
            self._stumble("unlink")
        super().unlink(path)

    def _is_below(self, path: Path | PurePosixPath | str) -> bool:
        return self._folder == Path(path) or self._folder in Path(path).parents

    def _stumble(self, call: str) -> None:
        if self._rng.random() < self._share:
            number = self._rng.choice(self._errors)
            self.failed.append(f"{call}: {errno.errorcode[number]}")
            raise OSError(number, os.strerror(number))


class PowerLost(OSError):
    """What every call says from then on."""


@dataclass(eq=False)
class _File:
    """A file: as it is in memory, in the real file, and as it is on the disk."""

    lasting: bytes = b""
    changed_ns: int = 0
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(eq=False)
class _Folder:
    """A folder as it is on the disk: names that last."""

    names: dict[str, "_File | _Folder"] = field(default_factory=dict)


_Node = _File | _Folder


@dataclass(eq=False)
class _Change:
    """Of names in folders; a rename changes two of them, or one twice, in one step."""

    removed: tuple[_Folder, str] | None
    added: tuple[_Folder, str, _Node] | None

    def touches(self, folder: _Folder) -> bool:
        ends = (self.removed and self.removed[0], self.added and self.added[0])
        return any(end is folder for end in ends)

    def apply(self) -> None:
        if self.removed:
            folder, name = self.removed
            gone = folder.names.get(name)
            if not self.added and isinstance(gone, _Folder) and gone.names:
                return  # it was empty when it was removed, and what emptied it is lost
            folder.names.pop(name, None)
        if self.added:
            self.added[0].names[self.added[1]] = self.added[2]


class PowerLossDisk(Disk):
    """Keeps account of what a loss of power would leave, as POSIX has it and no better.

    Content lasts when its file was synced, a name when a folder that it is in was. Of the rest any
    part may last: single pages, names, sizes and times without the content.

    Args:
        root: A folder on a real disk; everything is below it.
        calls: So many that change anything are carried out; the next one finds no power, or is
            where the process is killed.
    """

    def __init__(self, root: Path, calls: int) -> None:
        self._root = _Folder()
        self._nodes: dict[int, _Node] = {root.stat().st_ino: self._root}
        self._open: dict[int, _Node] = {}
        self._pending: list[_Change] = []
        self._now_ns = 0
        self.real_root = root
        self.calls_left = calls

    # What the program calls.

    def open(
        self, path: Path | PurePosixPath | str, flags: int, *, folder: int | None = None
    ) -> int:
        is_new = flags & os.O_CREAT and not _exists(path, folder)
        if is_new:
            self._spend()
        descriptor = super().open(path, flags, folder=folder)
        status = os.fstat(descriptor)
        if is_new:
            self._add(status.st_ino, _File(), path, folder)
        self._open[descriptor] = self._nodes[status.st_ino]
        return descriptor

    def open_again(self, descriptor: int) -> int:
        twin = super().open_again(descriptor)
        self._open[twin] = self._open[descriptor]
        return twin

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]
        super().close(descriptor)

    def make_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        if not _exists(path, folder):
            self._spend()
        super().make_folder(path, folder=folder)
        self._add(os.stat(path, dir_fd=folder).st_ino, _Folder(), path, folder)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        self._spend()
        written = super().write(descriptor, data[: 5 * PAGE + 7], offset)
        self._file(descriptor).unsynced.append((offset, bytes(data[:written])))
        # The system's clock stands still for milliseconds, in which many a piece is written here.
        self._now_ns += 1000
        os.utime(descriptor, ns=(self._now_ns, self._now_ns))
        return written

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        self._spend()
        super().allocate(descriptor, offset, length)
        self._file(descriptor).unsynced.append((offset + length, b""))

    def cut(self, descriptor: int, length: int) -> None:
        raise NotImplementedError

    def sync(self, descriptor: int) -> None:
        self._spend()
        node = self._open[descriptor]
        if isinstance(node, _Folder):
            for change in [each for each in self._pending if each.touches(node)]:
                self._pending.remove(change)
                change.apply()
            return
        size = os.fstat(descriptor).st_size
        reader = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)  # ours may only write
        node.lasting = os.pread(reader, size, 0)
        os.close(reader)
        node.changed_ns = os.fstat(descriptor).st_mtime_ns
        node.unsynced.clear()

    def rename(self, old: Path, new: Path) -> None:
        self._spend()
        node = self._nodes[old.lstat().st_ino]
        self._change(_Change((self._folder(old), old.name), (self._folder(new), new.name, node)))
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        if _exists(path, None):
            self._spend()
            self._change(_Change((self._folder(path), path.name), None))
            del self._nodes[path.lstat().st_ino]
        super().unlink(path)

    def remove_folder(self, path: Path) -> None:
        self._spend()
        number, above = path.stat().st_ino, self._folder(path)
        super().remove_folder(path)
        self._change(_Change((above, path.name), None))
        del self._nodes[number]

    # What befalls it.

    def lose_power(self, rng: random.Random, fresh: Path) -> None:
        """Make a folder that holds what lasts, and go on there."""
        share = rng.choice([0.0, 0.3, 0.7, 1.0])
        for change in self._pending:
            if rng.random() < share:
                change.apply()
        self._pending.clear()
        fresh.mkdir()
        real, self.real_root = self.real_root, fresh
        files = {number: node for number, node in self._nodes.items() if isinstance(node, _File)}
        times = _times(real)
        times_of = {id(node): times.get(number, 0) for number, node in files.items()}
        self._nodes = {fresh.stat().st_ino: self._root}
        self._restore(self._root, fresh, rng, times_of)

    def _restore(
        self, folder: _Folder, path: Path, rng: random.Random, times: dict[int, int]
    ) -> None:
        for name, node in folder.names.items():
            below = path / name
            if isinstance(node, _Folder):
                below.mkdir()
                self._nodes[below.stat().st_ino] = node
                self._restore(node, below, rng, times)
                continue
            self._nodes.setdefault(self._restore_file(node, below, rng, times), node)

    def _restore_file(
        self, node: _File, path: Path, rng: random.Random, times: dict[int, int]
    ) -> int:
        content = bytearray(node.lasting)
        share = rng.choice([0.0, 0.3, 0.7, 1.0])
        for offset, data in node.unsynced:
            if rng.random() < share:  # the size may last without the content
                content.extend(bytes(max(0, offset + len(data) - len(content))))
            for begin in range(0, len(data), PAGE):
                page = data[begin : begin + PAGE]
                if rng.random() < share and offset + begin + len(page) <= len(content):
                    content[offset + begin : offset + begin + len(page)] = page
        path.write_bytes(content)
        if node.unsynced and rng.random() < 0.5:
            node.changed_ns = times.get(id(node), node.changed_ns)
        os.utime(path, ns=(node.changed_ns, node.changed_ns))
        node.lasting, node.unsynced = bytes(content), []
        return path.stat().st_ino

    def _spend(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise PowerLost(errno.EIO, "no power")

    def _add(
        self, number: int, node: _Node, path: Path | PurePosixPath | str, folder: int | None
    ) -> None:
        self._nodes[number] = node
        above = self._open[folder] if folder is not None else self._folder(Path(path))
        assert isinstance(above, _Folder)
        self._change(_Change(None, (above, Path(path).name, node)))

    def _change(self, change: _Change) -> None:
        self._pending.append(change)

    def _folder(self, path: Path) -> _Folder:
        """The one that a path's last name is in."""
        node = self._nodes[path.parent.stat().st_ino]
        assert isinstance(node, _Folder)
        return node

    def _file(self, descriptor: int) -> _File:
        node = self._open[descriptor]
        assert isinstance(node, _File)
        return node


def _exists(path: Path | PurePosixPath | str, folder: int | None) -> bool:
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _times(root: Path) -> dict[int, int]:
    """When files changed last, as memory has it, by their numbers."""
    found = [path.lstat() for path in root.rglob("*")]
    return {each.st_ino: each.st_mtime_ns for each in found if stat.S_ISREG(each.st_mode)}
