"""Several circuits to one onion peer, over a network in memory."""

import random
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryListener, MemoryNetwork, MemoryPeerStream
from tor_control.onion_address import OnionKey
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.core.magnet import parse_magnet
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.connections import STRIPE_SECONDS
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.extensions import ExtensionHandshake
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.peer_wire import PeerWire

ONION = PeerAddress("pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion", 6881)
PLAIN = PeerAddress("198.51.100.1", 6881)
PIECE = 1 << 16
HELLO = Handshake(bytes(20), PeerId(bytes(20)), extensions=True, fast=True, v2=False, dht=False)


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


async def make_large(tmp_path: Path) -> tuple[Path, Metainfo]:
    """A file of 6 MiB in a folder of its own, and its torrent."""
    content = tmp_path / "seed" / "large.bin"
    content.parent.mkdir()
    content.write_bytes(bytes(6 << 20))
    return content, (await create_torrent(content, piece_length=PIECE)).metainfo


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
    content, metainfo = await make_large(tmp_path)
    network = SlowNetwork()
    listener = network.listeners[address] = MemoryListener()
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial, settings=Settings(circuits=circuits)) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        seeder = seeding.add(shared, listener=listener)
        await seeder.wait_complete()
        with trio.fail_after(2000):  # a minute on the clock of a machine that may be busy
            torrent = getting.add(TorrentSpec(metainfo, tmp_path / "get", peers=(address,)))
            await torrent.wait_complete()
        statistics = torrent.statistics()
    tokens = Counter(isolation for _, isolation in network.dialled)
    assert SlowStream.most_open == expected  # on a slow machine one may be closed for a trial
    assert set(tokens.values()) == {1}, "two circuits with one token"
    assert statistics.downloaded < 1.1 * metainfo.info.total_length


class HangingNetwork(SlowNetwork):
    """One circuit can be had; tor builds on the others without end."""

    def __init__(self) -> None:
        super().__init__()
        self.hung: list[float] = []

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        if not self.dialled:
            return await super().dial(host, port, isolation)
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            self.hung.append(trio.current_time() - began)


async def test_a_circuit_that_hangs_is_not_waited_for(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_clock.rate = 30
    monkeypatch.setattr(SlowStream, "RATE", 100_000.0)
    content, metainfo = await make_large(tmp_path)
    network = HangingNetwork()
    listener = network.listeners[ONION] = MemoryListener()
    async with (
        open_session(dial=network.dial) as seeding,
        open_session(dial=network.dial) as getting,
    ):
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await seeding.add(shared, listener=listener).wait_complete()
        torrent = getting.add(TorrentSpec(metainfo, tmp_path / "get", peers=(ONION,)))
        with trio.fail_after(2000):
            await torrent.wait_complete()
        given_up = list(network.hung)
    assert given_up
    assert min(given_up) >= STRIPE_SECONDS


@pytest.mark.parametrize("told", [True, False])
async def test_who_says_that_connections_are_stripes_has_one_slot_for_all(
    tmp_path: Path, *, told: bool
) -> None:
    """The seeder's side: choking is fair between people, whatever they open."""
    magnet = parse_magnet("magnet:?xt=urn:btih:" + "ab" * 20)
    torrent = Torrent(TorrentSpec(magnet, tmp_path), Settings(unchoke_slots=2), random.Random(1))
    for key in range(4):
        peer = torrent.peers[key] = Peer(torrent, key, PeerWire(), None)
        peer.wire.peer_extensions = ExtensionHandshake(stripe=bytes(16) if told else None)
        peer.wire.send_handshake(HELLO)
        peer.peer_interested = True
    torrent.uploads.rechoke(trio.current_time())
    unchoked = sum(not peer.am_choking for peer in torrent.peers.values())
    assert unchoked == (4 if told else 2)


async def test_a_token_joins_the_connections_of_one_visit_and_no_others(tmp_path: Path) -> None:
    content = tmp_path / "one.txt"
    content.write_text("x")
    metainfo = (await create_torrent(content)).metainfo
    other_onion = PeerAddress(OnionKey.from_seed(bytes(32)).address, 6881)
    async with open_session(dial=MemoryNetwork().dial) as session:
        torrent = session.add(TorrentSpec(metainfo, tmp_path, shared_path=content))
        second = session.add(TorrentSpec(metainfo, tmp_path / "get"))
        keys = count()

        def visit(whose: Torrent, address: PeerAddress) -> tuple[Peer, bytes | None]:
            peer = Peer(whose, PeerKey(next(keys)), PeerWire(max_pieces=None), address)
            whose.peers[peer.key] = peer
            return peer, whose._stripe_for(peer)

        one, token = visit(torrent, ONION)
        two, same = visit(torrent, ONION)
        assert token is not None
        assert len(token) == 16
        assert same == token
        assert visit(torrent, PLAIN)[1] is None
        assert visit(torrent, other_onion)[1] != token
        assert visit(second, ONION)[1] != token
        torrent.peer_gone(one)
        assert torrent._stripe_for(two) == token
        torrent.peer_gone(two)
        assert visit(torrent, ONION)[1] != token
        torrent.peers.clear()
        second.peers.clear()
