"""A folder for one tor of ours, kept between runs: ``state/tor/1``, ``state/tor/2``...

Three rules. A slot belongs to the process that holds its lock (``flock``: the system lets go of it
when the process ends, however it ends), so that several of us can run at once; the first free slot
is taken, so that its cached consensus makes the start fast. Everything in it is readable by its
owner only. And a tor that a dead process of ours left behind is ended before the slot is used: it
is recognised by the lock it holds on its data, its pid file and its command line together.
"""

import fcntl
import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from tor_control import listener
from tor_control.errors import TorLaunchFailed

MAX_SLOTS = 64
"""More of us at once than anybody runs; a bound for the search."""

STALE_TERM = 1.5
STALE_KILL = 3.0
"""Seconds after which a stale tor that was asked to end is killed, and then given up."""

POLL = 0.02
"""Seconds between two looks at a tor that is about to end."""

REASON_TAIL = 8192
"""Bytes at the end of tor's log where its reason for ending is looked for."""


@dataclass(frozen=True, slots=True)
class TorSlot:
    """A slot whose lock we hold.

    Args:
        folder: ``state/tor/N``.
        lock: The open file whose lock is held.
    """

    folder: Path
    lock: int

    @property
    def data(self) -> Path:
        """Tor's DataDirectory."""
        return self.folder / "data"

    @property
    def pid_file(self) -> Path:
        """Where tor writes its process id."""
        return self.folder / "tor.pid"

    @property
    def cookie(self) -> Path:
        """Where tor writes its cookie."""
        return self.folder / "cookie"

    @property
    def log(self) -> Path:
        """Where the keeper writes what tor says."""
        return self.folder / "tor.log"

    def release(self) -> None:
        """Let others have it."""
        os.close(self.lock)

    def is_used_by_tor(self) -> bool:
        """Whether a tor runs on its data; tor holds a lock of the same kind on a file there."""
        try:
            lock = os.open(self.data / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _lock(lock)
        finally:
            os.close(lock)

    def stale_pid(self) -> int | None:
        """The process id of the tor that runs on its data, if it is certain that it is one."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.data) in command else None

    async def end_stale_tor(self) -> bool:
        """End the tor that runs on its data, if one does.

        Returns:
            Whether its data are free now.
        """
        await trio.lowlevel.checkpoint()
        asked_at: float | None = None
        started_at = trio.current_time()
        while self.is_used_by_tor():
            now = trio.current_time()
            if now - started_at > STALE_KILL:
                return False
            if (pid := self.stale_pid()) is not None:
                if asked_at is None:
                    asked_at = now
                    _send(pid, signal.SIGTERM)
                elif now - asked_at > STALE_TERM:
                    _send(pid, signal.SIGKILL)
            await trio.sleep(POLL)
        return True

    def reason(self) -> str | None:
        """What tor gave as its reason for ending, in its own words."""
        try:
            log = self.log.read_bytes()[-REASON_TAIL:].decode("utf-8", "replace")
        except OSError:
            return None
        return reason_in_log(log)


def reason_in_log(log: str) -> str | None:
    """Find the reason for tor's end in its log: the last error, or the warning that it points to.

    Args:
        log: Lines of one or more lives of tor; only the last counts.
    """
    last_life = log.rpartition(" running on ")[2].splitlines()
    errors = [line.partition("[err] ")[2] for line in last_life if "[err] " in line]
    warnings = [line.partition("[warn] ")[2] for line in last_life if "[warn] " in line]
    if errors and "warnings above" not in errors[-1]:
        return errors[-1].strip().rstrip(".")
    return warnings[-1].strip().rstrip(".") if errors and warnings else None


async def take_slot(state: Path) -> TorSlot:
    """Take the first free slot; no tor uses it then.

    Args:
        state: The folder that is kept between runs.

    Raises:
        TorLaunchFailed: The folder cannot be used.
    """
    make_state_folder(state)
    try:
        root = _private_folder(_slots_folder(state))
        for number in range(1, MAX_SLOTS + 1):
            slot = _try_slot(root / str(number))
            if slot is None:
                continue
            if await slot.end_stale_tor():
                return slot
            slot.release()
    except OSError as error:
        raise _unusable(state, error) from error
    raise TorLaunchFailed(
        f"All {MAX_SLOTS} places for a Tor in {state} are taken; end some, or use another --state."
    )


def has_room_for_sockets(state: Path) -> bool:
    """Whether sockets can be in every slot: their paths have to be short and plain."""
    return listener.has_room(_slots_folder(state) / str(MAX_SLOTS))


def make_socket_folder(environment: Mapping[str, str]) -> Path:
    """Make a folder for sockets where temporary things are; others cannot enter it.

    Raises:
        TorLaunchFailed: There is no place for it.
    """
    for root in (environment.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if not root:
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix="torrent-onion-", dir=root))
        except OSError:
            continue
        if listener.has_room(folder):
            return folder
        folder.rmdir()
    raise TorLaunchFailed(
        "There is no folder for Tor's sockets with a short enough path; set TMPDIR to one, /tmp "
        "for example."
    )


def make_state_folder(state: Path) -> None:
    """Make the folder that is kept between runs, if it is not there.

    Raises:
        TorLaunchFailed: It cannot be made.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(state, error) from error


def _slots_folder(state: Path) -> Path:
    return state.absolute() / "tor"


def _unusable(state: Path, error: OSError) -> TorLaunchFailed:
    return TorLaunchFailed(
        f"The folder {error.filename or state} cannot be used ({error.strerror}); "
        "choose another with --state."
    )


def _try_slot(folder: Path) -> TorSlot | None:
    _private_folder(folder)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _lock(lock):
        os.close(lock)
        return None
    slot = TorSlot(folder, lock)
    _private_folder(slot.data)
    return slot


def _private_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
