"""Several circuits to one onion peer, over a network in memory."""

from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryListener, MemoryNetwork, MemoryPeerStream
from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent_spec import TorrentSpec

ONION = PeerAddress("pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion", 6881)
PLAIN = PeerAddress("198.51.100.1", 6881)
PIECE = 1 << 16


class SlowStream(MemoryPeerStream):
    """A circuit with a rate of its own."""

    RATE = 200_000.0
    open_now = 0
    most_open = 0

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream)
        SlowStream.open_now += 1
        SlowStream.most_open = max(SlowStream.most_open, SlowStream.open_now)

    async def aclose(self) -> None:
        SlowStream.open_now -= 1
        await super().aclose()

    async def receive_into(self, buffer: memoryview) -> int:
        count = await super().receive_into(buffer[:16384])
        await trio.sleep(count / self.RATE)
        return count


class SlowNetwork(MemoryNetwork):
    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        stream = await super().dial(host, port, isolation)
        return SlowStream(stream._stream)


@pytest.mark.parametrize(
    ("address", "circuits", "expected"),
    [(ONION, 4, 4), (ONION, 2, 2), (ONION, 1, 1), (PLAIN, 4, 1)],
)
async def test_circuits_to_one_peer(
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
    address: PeerAddress,
    circuits: int,
    expected: int,
) -> None:
    mock_clock.rate = 30  # threads are real, so the clock cannot jump
    SlowStream.open_now = SlowStream.most_open = 0
    content = tmp_path / "seed" / "large.bin"
    content.parent.mkdir()
    content.write_bytes(bytes(6 << 20))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    network = SlowNetwork()
    listener = network.listeners[address] = MemoryListener()
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial, settings=Settings(circuits=circuits)) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        seeder = seeding.add(shared, listener=listener)
        await seeder.wait_complete()
        with trio.fail_after(200):
            torrent = getting.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
            await torrent.wait_complete()
        statistics = torrent.statistics()
    tokens = Counter(isolation for _, isolation in network.dialled)
    assert SlowStream.most_open == expected  # on a slow machine one may be closed for a trial
    assert set(tokens.values()) == {1}, "two circuits with one token"
    assert statistics.downloaded < 1.1 * metainfo.info.total_length
