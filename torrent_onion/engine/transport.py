"""What the engine asks of the network: three small interfaces that are handed to it.

The engine opens no socket and knows no Tor. It is given a ``Dial`` for connections that go out
and, where others may connect to us, a ``PeerListener``. Tests hand it memory streams.
"""

import errno
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

ISOLATION_SIZE = 16  # bytes of randomness: no two circuits are ever shared by chance

Buffer = bytes | bytearray | memoryview


class PeerStream(Protocol):
    """One connection in both directions. One task reads and one writes at a time."""

    async def receive_into(self, buffer: memoryview) -> int:
        """Read what has arrived, at least one byte, into ``buffer``.

        Returns:
            The number of bytes written to its start; 0 when the other side has ended the stream.

        Raises:
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: We closed it.

        Cancelling loses no data: nothing was read.
        """

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Send all buffers in their order, without joining them.

        Raises:
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: We closed it.

        After a cancel nobody knows how much was sent: close the stream.
        """

    async def aclose(self) -> None:
        """Close at once; both other calls then fail."""


class PeerListener(Protocol):
    """Where connections to one torrent come in."""

    async def accept(self) -> PeerStream:
        """Wait for the next connection. Cancelling loses none."""

    async def aclose(self) -> None:
        """Listen no more. Connections that were accepted live on."""


Dial = Callable[[str, int, str], Awaitable[PeerStream]]
"""``await dial(host, port, isolation)``; raises OSError. Other isolation, other circuit."""

NETWORK_DOWN_PAUSE = 3.0
"""Seconds until something is dialled again that could not be because there is no network."""


def is_network_down(error: Exception) -> bool:
    """Whether a dial failed for want of a network: that says nothing about who was dialled."""
    return isinstance(error, OSError) and error.errno == errno.ENETDOWN


def new_isolation() -> str:
    """A token for ``dial``: what is dialled with it shares no circuit with anything else."""
    return secrets.token_hex(ISOLATION_SIZE)
