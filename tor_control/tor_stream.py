"""One connection through tor, and the register of all of them.

Every stream of the program, dialled or accepted, is made by :meth:`LiveStreams.adopt`. That is how
all can be cut at once when Tor is lost: after :meth:`LiveStreams.cut` no byte goes anywhere until
:meth:`LiveStreams.resume`. Both are synchronous, so nothing slips in between.
"""

import errno
import os
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol, final

import trio

from tor_control.errors import DialCut

Buffer = bytes | bytearray | memoryview
RECEIVE_SIZE = 65536
"""Bytes that receive_some takes at most where it is not told; the hot path has receive_into."""
IOV_MAX = 1024
"""Buffers in one sendmsg; Linux and macOS refuse more."""


class StreamSocket(Protocol):
    """What is used of a connected trio socket."""

    def fileno(self) -> int:
        """Return -1 once it is closed."""
        ...

    def close(self) -> None:
        """Close at once; tasks that wait in it are woken with trio.ClosedResourceError."""
        ...

    def recv(self, size: int, /) -> Awaitable[bytes]:
        """Read up to ``size`` bytes."""
        ...

    def sendmsg(self, buffers: Sequence[Buffer], /) -> Awaitable[int]:
        """Send some of the bytes; return how many."""
        ...

    def wait_writable(self) -> Awaitable[None]:
        """Wait until sendmsg would take something."""
        ...


class LiveStreams:
    """Every stream that is open, and the switch that cuts them."""

    def __init__(self) -> None:
        self._streams: set[TorStream] = set()
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """Whether all traffic is stopped."""
        return self._is_cut

    def __len__(self) -> int:
        return len(self._streams)

    def adopt(self, socket: StreamSocket) -> "TorStream":
        """Make a stream of a connected socket; the socket now belongs to it.

        Raises:
            DialCut: All traffic is stopped; the socket has been closed.
        """
        if self._is_cut:
            socket.close()
            raise DialCut
        stream = TorStream(socket, self)
        self._streams.add(stream)
        return stream

    def forget(self, stream: "TorStream") -> None:
        """Take a stream out that has been closed."""
        self._streams.discard(stream)

    def cut(self) -> None:
        """Stop all traffic now: close every stream and take no new one until :meth:`resume`.

        Whoever reads from or writes to a stream gets trio.BrokenResourceError.
        """
        self._is_cut = True
        for stream in tuple(self._streams):
            stream.cut()

    def resume(self) -> None:
        """Allow new streams again; those that were cut stay closed."""
        self._is_cut = False


@final
class TorStream(trio.abc.Stream):
    """One connection through tor, in both directions.

    One task may read while another writes. All methods raise trio.BrokenResourceError when the
    connection is lost, trio.ClosedResourceError after :meth:`aclose`, and trio.BusyResourceError
    when two tasks do the same at once, as trio's own streams do.
    """

    def __init__(self, socket: StreamSocket, owner: LiveStreams) -> None:
        self._socket = socket
        self._owner = owner
        self._is_sending = False
        self._was_cut = False

    @property
    def was_cut(self) -> bool:
        """Whether it was closed because all traffic was stopped."""
        return self._was_cut

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what has arrived, at least one byte; ``b""`` when the other side has ended.

        Cancelling loses no data.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        try:
            return await self._socket.recv(max_bytes or RECEIVE_SIZE)
        except (OSError, trio.ClosedResourceError) as error:
            raise self._stream_error(error) from error

    async def receive_into(self, buffer: memoryview) -> int:
        """Read what has arrived into ``buffer`` without another copy.

        Args:
            buffer: Writable, of bytes, at least one long.

        Returns:
            How many bytes were written to its start; 0 when the other side has ended the stream.

        Cancelling loses no data.
        """
        if not buffer:
            raise ValueError("an empty buffer would look like the end of the stream")
        if self._socket.fileno() == -1:
            raise self._stream_error(None)
        try:
            while True:
                # Trio's recv_into would try before it waits, which here is mostly in vain: tor
                # brings some cells at a time, so that this is run a hundred times a megabyte.
                await trio.lowlevel.wait_readable(self._socket)
                with suppress(BlockingIOError):
                    return os.readv(self._socket.fileno(), [buffer])
        except (OSError, trio.ClosedResourceError) as error:
            raise self._stream_error(error) from error

    async def send_all(self, data: Buffer) -> None:
        """Send all of ``data``. After a cancel nobody knows how much was sent: close the stream."""
        await self.send_buffers((data,))

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Send all buffers in their order, without joining or copying them.

        Args:
            buffers: Any number; memoryviews must be of bytes, and none may change meanwhile.

        After a cancel nobody knows how much was sent: close the stream.
        """
        self._start_sending()
        try:
            await self._send([buffer for buffer in buffers if len(buffer)])
        except (OSError, trio.ClosedResourceError) as error:
            raise self._stream_error(error) from error
        finally:
            self._is_sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        self._start_sending()
        try:
            await self._socket.wait_writable()
        except (OSError, trio.ClosedResourceError) as error:
            raise self._stream_error(error) from error
        finally:
            self._is_sending = False

    def close(self) -> None:
        """Close at once; other tasks that use the stream are woken with an error."""
        self._owner.forget(self)
        self._socket.close()

    def cut(self) -> None:
        """Close because all traffic is stopped: its users see a lost connection."""
        if self._socket.fileno() != -1:
            self._was_cut = True
        self.close()

    async def aclose(self) -> None:
        """Close at once, as :meth:`close` does, and let other tasks run."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def _send(self, pending: list[Buffer]) -> None:
        if not pending:
            await trio.lowlevel.checkpoint()
            return
        first = 0
        while True:
            sent = await self._socket.sendmsg(pending[first : first + IOV_MAX])
            while first < len(pending) and sent >= len(pending[first]):
                sent -= len(pending[first])
                first += 1
            if first == len(pending):
                return
            if sent:
                pending[first] = memoryview(pending[first])[sent:]

    def _start_sending(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._socket.fileno() == -1:
            raise self._stream_error(None)
        self._is_sending = True

    def _stream_error(
        self, error: Exception | None
    ) -> trio.BrokenResourceError | trio.ClosedResourceError:
        """Say it as trio's streams do: lost by itself or by a cut, or closed by us."""
        if self._was_cut:
            return trio.BrokenResourceError("all traffic was stopped")
        closed = error is None or isinstance(error, trio.ClosedResourceError)
        if closed or (isinstance(error, OSError) and error.errno == errno.EBADF):
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError("the connection was lost")
