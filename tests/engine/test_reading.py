"""How often a connection is read from and written to while blocks come slowly."""

import random
from collections.abc import Sequence
from pathlib import Path

import trio
import trio.testing

from tests.engine.helpers import MemoryNetwork, MemoryPeerStream, stream_pair
from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import Buffer

SIZE = 4_000_000
PIECE = 1 << 15
RATE = 1e6
CHUNK = 8192
"""What Tor hands over at a time, more or less."""
THREAD_SECONDS = 0.002
"""Real seconds in which threads may do their work before the clock goes on."""


class SlowSender(MemoryPeerStream):
    """Its bytes come in chunks, at a rate."""

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        data = memoryview(b"".join(buffers))
        for begin in range(0, len(data), CHUNK):
            chunk = data[begin : begin + CHUNK]
            await super().send_buffers([chunk])
            await trio.sleep(len(chunk) / RATE)


class CountedStream(MemoryPeerStream):
    reads = 0
    sends = 0

    async def receive_into(self, buffer: memoryview) -> int:
        self.reads += 1
        return await super().receive_into(buffer)

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        self.sends += 1
        await super().send_buffers(buffers)


class SlowNetwork(MemoryNetwork):
    """Counts what the dialling side does, and slows the other."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[CountedStream] = []

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        await trio.lowlevel.checkpoint()
        ours, theirs = stream_pair()
        self.streams.append(CountedStream(ours._stream))
        await self.listeners[PeerAddress(host, port)].send.send(SlowSender(theirs._stream))
        return self.streams[-1]


async def test_few_reads_and_sends_are_enough(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = THREAD_SECONDS
    content = tmp_path / "file.bin"
    content.write_bytes(random.Random(8).randbytes(SIZE))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    network = SlowNetwork()
    address, listener = network.listen(1)
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial) as getting,
    ):
        spec = TorrentSpec(metainfo, tmp_path, shared_path=content)
        await seeding.add(spec, listener=listener).wait_complete()
        torrent = getting.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
        await torrent.wait_complete()
    assert (tmp_path / "get" / content.name).read_bytes() == content.read_bytes()
    [stream] = network.streams
    assert stream.reads < SIZE / CHUNK / 2  # ten a second, once it is known how blocks come
    assert stream.sends < stream.reads + 10  # 123 pieces are told of in passing
