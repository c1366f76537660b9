"""What a tracker keeps over a restart, in an SQLite file, if its owner asks for that.

- One row a torrent, with its onions as they lie in memory: a million peers are 35 MB. Peers that
  are only counted are not kept.
- The file says which onions take part in which torrents. It is made for its owner alone (0600),
  what is forgotten is overwritten, and no two programs use it at once.
- SQLite blocks, so it runs in a thread of its own, one call after the other.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from torrent_onion.engine.disk_errors import disk_errors
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.errors import StorageError
from torrent_onion.policy.swarm_registry import SwarmRegistry, SwarmSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLICATION: Final = 0x746F_7472  # "totr", so that we know our files
_VERSION: Final = 1
_MODE: Final = 0o600
_SECONDS_OF_MINUTE: Final = 60

_LOCK = """
    PRAGMA locking_mode = EXCLUSIVE;
    BEGIN EXCLUSIVE;
    COMMIT;
"""
_SCHEMA = f"""
    BEGIN;
    CREATE TABLE torrent (
        info_hash BLOB PRIMARY KEY,
        completed INTEGER NOT NULL,
        num_fetching INTEGER NOT NULL,
        onions BLOB NOT NULL,
        ages BLOB NOT NULL,
        saved INTEGER NOT NULL -- Unix time in minutes
    );
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""
_SET_UP = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA secure_delete = ON;
"""
_LOAD = "SELECT info_hash, completed, num_fetching, onions, ages, saved FROM torrent"
_SAVE = "INSERT OR REPLACE INTO torrent VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM torrent WHERE info_hash = ?"

_SENTENCES = {
    sqlite3.SQLITE_FULL: "There is no space left for {path}. Free some and run the same again.",
    sqlite3.SQLITE_READONLY: "{path} cannot be written to. Check its permissions.",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened. Check the path and its permissions.",
    sqlite3.SQLITE_BUSY: "{path} is in use by another program. End that, or name another file.",
    sqlite3.SQLITE_IOERR: "The disk of {path} reports an input/output error. Check the disk.",
}
_NOT_OURS = "{path} is not a tracker's database. Move it away, or name another file."


class TrackerDatabase:
    """An open database; made by :func:`open_database`."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, wall_clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._path = path
        self._wall_clock = wall_clock
        self._thread = DiskThreads(1)

    async def load(self, registry: SwarmRegistry) -> None:
        """Take what is kept into a registry that nobody else uses yet.

        Raises:
            StorageError: The file is broken.
        """
        await self._thread.run(partial(self._load, registry, trio.current_time()))

    async def save(self, snapshots: Iterable[SwarmSnapshot]) -> None:
        """Write torrents as they are now, all or none of them.

        Raises:
            StorageError: They could not be written.

        A cancel is delivered when they are written.
        """
        await self._thread.run(partial(self._save, list(snapshots)))

    def _load(self, registry: SwarmRegistry, now: float) -> None:
        minute = self._minute()
        with _sqlite_errors(self._path), closing(self._connection.execute(_LOAD)) as rows:
            for *parts, saved in rows:
                try:
                    registry.restore(SwarmSnapshot(*parts), max(0, minute - saved), now)
                except (TypeError, ValueError):
                    raise StorageError(_NOT_OURS.format(path=self._path)) from None

    def _save(self, snapshots: list[SwarmSnapshot]) -> None:
        minute = self._minute()
        with _sqlite_errors(self._path), self._connection as transaction:
            for one in snapshots:
                if one.onions or one.completed:
                    row = (one.info_hash, one.completed, one.num_fetching, one.onions, one.ages)
                    transaction.execute(_SAVE, (*row, minute))
                else:
                    transaction.execute(_REMOVE, (one.info_hash,))

    def _minute(self) -> int:
        return int(self._wall_clock() // _SECONDS_OF_MINUTE)


@asynccontextmanager
async def open_database(
    path: Path, *, wall_clock: Callable[[], float] = time.time
) -> AsyncIterator[TrackerDatabase]:
    """Open a tracker's database, or make one.

    Args:
        path: The file.
        wall_clock: Unix time: what is kept must know how old it is.

    Raises:
        StorageError: It cannot be opened, is in use, or is something else.
    """
    connection = await trio.to_thread.run_sync(_connect, path)
    try:
        yield TrackerDatabase(connection, path, wall_clock)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(connection.close)


def _connect(path: Path) -> sqlite3.Connection:
    with disk_errors(path):  # SQLite would make it readable for everybody
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
    with _sqlite_errors(path):
        # One thread at a time uses it, but not always the same one.
        connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.executescript(_LOCK)
    if _ask(connection, "SELECT count(*) FROM sqlite_master") == 0:
        connection.executescript(_SCHEMA)
    application = _ask(connection, "PRAGMA application_id")
    if (application, _ask(connection, "PRAGMA user_version")) != (_APPLICATION, _VERSION):
        raise StorageError(_NOT_OURS.format(path=path))
    connection.executescript(_SET_UP)


def _ask(connection: sqlite3.Connection, question: str) -> int:
    value: int = connection.execute(question).fetchone()[0]
    return value


@contextmanager
def _sqlite_errors(path: Path) -> "Iterator[None]":
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOTADB)
        sentence = _SENTENCES.get(code & 0xFF, _NOT_OURS)  # the rest of a code is a detail
        raise StorageError(sentence.format(path=path)) from error
