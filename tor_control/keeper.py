"""The keeper: a small process that starts tor, starts it again, and ends with us.

It is a program of its own, run by file path with ``python -I -S``, because the process that talks
to peers gives up the power to start programs (and to open internet sockets) before it reads their
first byte. The keeper keeps that power, and for that reason reads nothing from the network: its
only input is the pipe on its standard input, from the process that started it.

Four rules: nothing of this package is imported, so that it starts in a few milliseconds; tor's
output is always drained, because a full pipe would freeze tor; when standard input ends, for
whatever reason (``kill -9`` of the other side included), tor is ended and then the keeper; and what
it starts is decided once, before the other side has read a byte from strangers, so that whoever
takes that process over cannot have another program started here.

Commands on standard input, each a line that ends in N, followed by N bytes:

- ``version N``, a path: ask this tor for its version; the answer is ``version TEXT`` or ``failed``.
- ``folder N``, a path: a folder of sockets, to be removed at the end.
- ``prepare N``, LOG, TORRC and the program with its arguments, with zero bytes between them: what
  ``start`` will start, with TORRC on its standard input. LOG gets its output and stays small.
  Nothing at all is fine too; nothing can be started then. After this, only ``start`` is known, and
  anything else ends the keeper.
- ``start 0``: end the tor that runs, if one does, and start one. The answer is ``started PID`` or
  ``failed REASON``.

Besides the answers, ``exited PID STATUS`` is written to standard output when a tor has ended.
"""

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import time

LOG_LIMIT = 256 * 1024  # bytes; then the log moves to LOG.old, so two such files are the most
END_GRACE = 2.0  # seconds between asking tor to end and killing it; a client needs a few hundredths
READ_SIZE = 65536  # bytes; what a pipe holds on Linux
VERSION_TIMEOUT = 10.0  # seconds for ``tor --version``, which takes a hundredth of one
VERSION_PREFIX = "Tor version "


class BoundedLog:
    """A file that begins anew with each keeper and never grows far beyond its limit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = 0
        self._fd = self._open()

    def write(self, data: bytes) -> None:
        """Append; a disk that is full or gone must not stop tor, so failures are ignored."""
        try:
            if self._size + len(data) > LOG_LIMIT:
                os.close(self._fd)
                os.replace(self._path, self._path + ".old")  # noqa: PTH105 - pathlib takes 10 ms
                self._fd = self._open()
                self._size = 0
            self._size += os.write(self._fd, data)
        except OSError:
            pass

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)


class Keeper:
    """Holds at most one tor."""

    def __init__(self) -> None:
        self._is_prepared = False
        self._command: list[str] = []
        self._torrc = b""
        self._log: BoundedLog | None = None
        self._folder = ""
        self._tor: subprocess.Popen[bytes] | None = None
        self._input = bytearray()
        self._input_ended = False
        # A byte arrives here whenever a child has ended, so that nothing has to be polled.
        self._child_ended, write_end = os.pipe()
        os.set_blocking(self._child_ended, False)
        os.set_blocking(write_end, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def run(self) -> None:
        """Obey until standard input ends, or says what it must not; no tor of ours is left then."""
        try:
            while (line := self._next_line()) is not None:
                verb, _, size = line.partition(b" ")
                content = self._next_bytes(int(size))
                if self._input_ended or not self._obey(verb, content):
                    break  # half a command must not start anything
        finally:
            self._end_tor()
            if self._folder:
                _remove_sockets(self._folder)

    def _obey(self, verb: bytes, content: bytes) -> bool:
        if verb == b"start":
            self._start()
        elif self._is_prepared:
            return False
        elif verb == b"prepare":
            self._prepare(content)
        elif verb == b"folder":
            self._folder = os.fsdecode(content)
        elif verb == b"version":
            _report(_ask_version(os.fsdecode(content)))
        else:
            return False
        return True

    def _prepare(self, content: bytes) -> None:
        self._is_prepared = True
        if content:
            log, self._torrc, *command = content.split(b"\0")
            self._log = BoundedLog(os.fsdecode(log))
            self._command = [os.fsdecode(word) for word in command]

    def _start(self) -> None:
        self._end_tor()
        if self._input_ended:
            return
        if not self._command:
            _report("failed nothing is prepared")
            return
        try:
            self._tor = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            _report(f"failed {error.strerror}")
            return
        _report(f"started {self._tor.pid}")
        assert self._tor.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        assert self._tor.stdout is not None  # noqa: S101 - likewise
        os.set_blocking(self._tor.stdout.fileno(), False)
        try:
            self._tor.stdin.write(self._torrc)
            self._tor.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already; its exit is reported in a moment

    def _end_tor(self) -> None:
        """Ask tor to end, then make it."""
        if self._tor is None:
            return
        self._tor.terminate()
        deadline = time.monotonic() + END_GRACE
        while self._tor is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                self._tor.kill()
            self._wait(max(left, 0.1), [])

    def _next_line(self) -> bytes | None:
        while (end := self._input.find(b"\n")) < 0:
            if self._input_ended:
                return None
            self._wait(None, [sys.stdin.fileno()])
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        return line

    def _next_bytes(self, size: int) -> bytes:
        while len(self._input) < size and not self._input_ended:
            self._wait(None, [sys.stdin.fileno()])
        data = bytes(self._input[:size])
        del self._input[:size]
        return data

    def _wait(self, timeout: float | None, readers: list[int]) -> None:
        """Sleep until something happened, and take it in: input, tor's output, tor's end."""
        output = self._tor.stdout if self._tor else None
        if output is not None and not output.closed:
            readers = [*readers, output.fileno()]
        ready, _, _ = select.select([*readers, self._child_ended], [], [], timeout)
        if sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), READ_SIZE)
            self._input += data
            self._input_ended = not data
        self._drain()
        if self._child_ended in ready:
            os.read(self._child_ended, READ_SIZE)
            self._reap()

    def _drain(self) -> None:
        output = self._tor.stdout if self._tor else None
        if output is None or output.closed or self._log is None:
            return
        try:
            while data := os.read(output.fileno(), READ_SIZE):
                self._log.write(data)
            output.close()
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        if self._tor is None or (status := self._tor.poll()) is None:
            return
        self._drain()
        if self._tor.stdout is not None:
            self._tor.stdout.close()  # a helper of tor may still hold the other end
        pid, self._tor = self._tor.pid, None
        if not self._input_ended:
            _report(f"exited {pid} {status}")


def _ask_version(program: str) -> str:
    """Answer with what a tor says of itself; it writes nothing and talks to nobody then."""
    try:
        run = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "failed"
    for line in run.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith(VERSION_PREFIX):
            return "version " + line.removeprefix(VERSION_PREFIX)
    return "failed"


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # then standard input is about to end as well
        os.write(sys.stdout.fileno(), line.encode() + b"\n")


def _remove_sockets(folder: str) -> None:
    """Remove a folder of sockets, and the folders of sockets in it; anything else stays.

    Tor leaves them when it is killed, and so does who started us.
    """
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                _remove_sockets(entry.path)
            elif stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)  # noqa: PTH108 - pathlib takes 10 ms
        os.rmdir(folder)  # noqa: PTH106 - likewise
    except OSError:
        pass


if __name__ == "__main__":
    Keeper().run()
