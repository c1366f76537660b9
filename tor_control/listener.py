"""The only listening socket of the program: where tor hands over what comes in for an onion.

Three rules:

- A Unix socket in a folder that only we can enter (0700), so no other user and no network reaches
  it. Loopback TCP only for a tor that cannot reach our files.
- Accepting never ends by itself: when file descriptors run out it pauses and goes on.
- Nothing is left behind: closing removes the socket and its folder.

``ruff`` refuses ``socket`` and ``trio.socket`` everywhere but here and in ``dialer.py``.
"""

import contextlib
import errno
import re
import socket
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol, final

import trio
import trio.socket

from tor_control.errors import DialCut, ListenFailed
from tor_control.tor_stream import LiveStreams, TorStream

ACCEPT_PAUSE_SECONDS = 0.1
"""After a failed accept: time for others to close something, too short to be noticed."""
MAX_PATH_LENGTH = 100
"""Bytes; a Unix socket's address has room for 108 on Linux, 104 on macOS and the BSDs."""
BACKLOG = 128
"""Connections that wait to be accepted; tor opens one for each stream of a remote peer."""
_SOCKET_NAME = "s"
_FOLDER_PREFIX = "to-"
_RANDOM_LENGTH = 8  # characters that mkdtemp adds
# ADD_ONION takes no blanks in a target, quoted or not.
_PLAIN_PATH = re.compile(r"[!-~]+", re.ASCII)


class ListeningSocket(Protocol):
    """What is used of a listening trio socket."""

    def accept(self) -> Awaitable[tuple[trio.socket.SocketType, object]]:
        """Take the next connection."""
        ...

    def close(self) -> None:
        """Close at once; a task that waits in accept is woken with trio.ClosedResourceError."""
        ...


@final
class OnionListener(trio.abc.Listener[TorStream]):
    """Where connections to one onion service come in.

    Args:
        listening: The socket; it now belongs to the listener.
        target: The same place as ADD_ONION names it: ``unix:/path`` or ``127.0.0.1:port``.
        streams: The register that accepted streams go into.
        folder: To be removed with the socket in it.
    """

    def __init__(
        self,
        listening: ListeningSocket,
        target: str,
        streams: LiveStreams,
        folder: Path | None = None,
    ) -> None:
        self._socket = listening
        self._streams = streams
        self._folder = folder
        self.target = target

    async def accept(self) -> TorStream:
        """Wait for the next connection. While all traffic is cut, what comes in is closed.

        Raises:
            trio.ClosedResourceError: The listener is closed.

        Cancelling loses no connection.
        """
        while True:
            try:
                connection, _ = await self._socket.accept()
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise trio.ClosedResourceError("this listener was closed") from None
                # EMFILE, ENFILE, ENOBUFS, ENOMEM; or ECONNABORTED: tor gave up meanwhile.
                await trio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            with contextlib.suppress(DialCut):
                return self._streams.adopt(connection)

    async def aclose(self) -> None:
        """Listen no more and remove what was made. Connections that were accepted live on."""
        self._socket.close()
        if self._folder is not None:
            _remove(self._folder)
        await trio.lowlevel.checkpoint()


def listen_unix(streams: LiveStreams, parent: Path) -> OnionListener:
    """Listen on a Unix socket in a new folder of its own.

    Args:
        streams: The register that accepted streams go into.
        parent: Where the folder is made.

    Raises:
        ListenFailed: No folder could be made there, or its path is too long or has blanks.
    """
    try:
        return _listen_below(parent, streams)
    except OSError as error:
        raise ListenFailed from error


def listen_loopback(streams: LiveStreams) -> OnionListener:
    """Listen on a free TCP port of 127.0.0.1, which other users of this machine can reach too.

    Raises:
        ListenFailed: The system has no port for us.
    """
    try:
        listening = _listening(socket.AF_INET, ("127.0.0.1", 0))
    except OSError as error:
        raise ListenFailed from error
    host, port = listening.getsockname()
    return OnionListener(listening, f"{host}:{port}", streams)


def has_room(parent: Path) -> bool:
    """Whether a listener can be below this folder, as far as its path is concerned."""
    return _is_usable(parent / f"{_FOLDER_PREFIX}{'x' * _RANDOM_LENGTH}" / _SOCKET_NAME)


def remove_left_listeners(parent: Path) -> None:
    """Remove what is left of listeners in this folder; nobody may be listening in it any more."""
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        _remove(folder)


def _listen_below(parent: Path, streams: LiveStreams) -> OnionListener:
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=parent))
    try:
        if not _is_usable(folder / _SOCKET_NAME):
            raise OSError(errno.ENAMETOOLONG, "this path cannot be a socket's")
        path = str(folder / _SOCKET_NAME)
        return OnionListener(_listening(socket.AF_UNIX, path), f"unix:{path}", streams, folder)
    except OSError:
        _remove(folder)
        raise


def _is_usable(path: Path) -> bool:
    return len(str(path)) <= MAX_PATH_LENGTH and _PLAIN_PATH.fullmatch(str(path)) is not None


def _listening(family: int, address: str | tuple[str, int]) -> trio.socket.SocketType:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:  # accepted sockets inherit it
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return trio.socket.from_stdlib_socket(made)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / _SOCKET_NAME).unlink(missing_ok=True)
        folder.rmdir()
