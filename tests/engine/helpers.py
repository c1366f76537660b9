"""A network in memory, and content to share over it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.testing

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.transport import Buffer, PeerListener


class MemoryPeerStream:
    """A PeerStream on trio's memory streams."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream

    async def receive_into(self, buffer: memoryview) -> int:
        data = await self._stream.receive_some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        await self._stream.send_all(b"".join(buffers))

    async def aclose(self) -> None:
        await self._stream.aclose()


def stream_pair() -> tuple[MemoryPeerStream, MemoryPeerStream]:
    left, right = trio.testing.memory_stream_pair()
    return MemoryPeerStream(left), MemoryPeerStream(right)


class MemoryListener:
    """A PeerListener of the memory network."""

    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[MemoryPeerStream](1000)

    async def accept(self) -> MemoryPeerStream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()


@dataclass
class MemoryNetwork:
    """Addresses and who listens there."""

    listeners: dict[PeerAddress, MemoryListener] = field(default_factory=dict)
    dialled: list[tuple[PeerAddress, str]] = field(default_factory=list)

    def listen(self, number: int) -> tuple[PeerAddress, PeerListener]:
        address = PeerAddress(f"198.51.100.{number}", 6881)
        self.listeners[address] = MemoryListener()
        return address, self.listeners[address]

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        await trio.lowlevel.checkpoint()
        address = PeerAddress(host, port)
        self.dialled.append((address, isolation))
        if address not in self.listeners:
            raise ConnectionRefusedError
        ours, theirs = stream_pair()
        await self.listeners[address].send.send(theirs)
        return ours


ContentMaker = Callable[[Path], Path]


def write_content(parent: Path) -> Path:
    """Write a small folder with every odd kind of file; the same bytes each time."""
    rng = random.Random(5)
    folder = parent / "documents"
    for name, size in (
        ("a/first.bin", 100_000),
        ("a/deeper/second.bin", 300_001),
        ("empty.txt", 0),
        ("один/файл.txt", 17),
        ("最後.bin", 70_000),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    return folder


def tree(path: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative name; or the one file."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    while not condition():
        await trio.lowlevel.checkpoint()
