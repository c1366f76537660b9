"""Peers outside Tor that take only obfuscated connections; and onions, which never see one."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryListener, MemoryNetwork, MemoryPeerStream, tree, until
from tests.protocol.mse_responder import PlainRc4, Responder
from tor_control.onion_address import OnionKey
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine import connections, obfuscation
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.protocol.handshake import HANDSHAKE_SIZE, PROTOCOL_HEADER

CLEARNET = PeerAddress("198.51.100.7", 6881)
HIDDEN = PeerAddress("198.51.100.8", 6881)
ONION = PeerAddress(OnionKey.from_seed(bytes(32)).address, 6881)
PIECE = 16384


class Gate:
    """Stands before a peer, and lets in only whom the peer would let in."""

    def __init__(self, network: MemoryNetwork, address: PeerAddress, behind: PeerAddress) -> None:
        self.listener = network.listeners[address] = MemoryListener()
        self.seen: list[bytes] = []
        self.info_hash = b""
        self._network = network
        self._behind = behind

    async def run(self, *, lets_in: bool = True) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self.listener.accept()
                nursery.start_soon(self._serve, stream, lets_in)

    async def _serve(self, stream: MemoryPeerStream, lets_in: bool) -> None:
        received = await read(stream)
        self.seen.append(received)
        if received.startswith(PROTOCOL_HEADER) or not lets_in:
            await stream.aclose()
            return
        responder = Responder(self.info_hash, pad_b=bytes(300), pad_d=bytes(20))
        while responder.first is None:
            if answer := responder.receive(received):
                await stream.send_buffers([answer])
            if responder.first is None:
                received = await read(stream)
        inner = await self._network.dial(self._behind.host, self._behind.port, "gate")
        await inner.send_buffers([responder.first])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, inner, responder.decrypt)
            nursery.start_soon(pump, inner, stream, responder.encrypt)


async def read(stream: MemoryPeerStream) -> bytes:
    buffer = bytearray(65536)
    return bytes(buffer[: await stream.receive_into(memoryview(buffer))])


async def pump(
    source: MemoryPeerStream, target: MemoryPeerStream, change: Callable[[bytes], bytes]
) -> None:
    try:
        while data := await read(source):
            await target.send_buffers([change(data)])
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    await target.aclose()


async def some_tries(gate: Gate) -> None:
    await until(lambda: bool(gate.seen))  # a thread looks at the disk first
    await trio.sleep(300)


@pytest.fixture
async def metainfo(tmp_path: Path) -> Metainfo:
    path = tmp_path / "seed" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(random.Random(1).randbytes(20 * PIECE))
    return (await create_torrent(path, piece_length=PIECE)).metainfo


@pytest.fixture
async def gate(network: MemoryNetwork, metainfo: Metainfo) -> Gate:
    made = Gate(network, CLEARNET, HIDDEN)
    made.info_hash = metainfo.info.info_hashes.primary
    return made


def the_seed(tmp_path: Path, metainfo: Metainfo) -> TorrentSpec:
    content = tmp_path / "seed" / "file.bin"
    return TorrentSpec(metainfo, content.parent, shared_path=content)


async def test_who_hangs_up_on_a_plain_handshake_is_met_obfuscated(
    network: MemoryNetwork, gate: Gate, metainfo: Metainfo, tmp_path: Path, nursery: trio.Nursery
) -> None:
    nursery.start_soon(gate.run)
    hidden = network.listeners[HIDDEN] = MemoryListener()
    async with open_session(dial=network.dial) as seeder, open_session(dial=network.dial) as getter:
        await seeder.add(the_seed(tmp_path, metainfo), listener=hidden).wait_complete()
        torrent = getter.add(TorrentSpec(metainfo, tmp_path / "get", peers=(CLEARNET,)))
        with trio.fail_after(30):
            await torrent.wait_complete()
    assert tree(tmp_path / "get" / "file.bin") == tree(tmp_path / "seed" / "file.bin")
    plain, obfuscated = gate.seen
    assert plain.startswith(PROTOCOL_HEADER)
    assert 96 <= len(obfuscated) <= 96 + 512
    assert torrent.pool.wants_obfuscation(CLEARNET)


async def test_it_is_tried_once_and_then_plain_again(
    network: MemoryNetwork,
    gate: Gate,
    metainfo: Metainfo,
    tmp_path: Path,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def run() -> None:
        await gate.run(lets_in=False)

    nursery.start_soon(run)
    async with open_session(dial=network.dial) as getter:
        getter.add(TorrentSpec(metainfo, tmp_path / "get", peers=(CLEARNET,)))
        await some_tries(gate)
    plain = [seen.startswith(PROTOCOL_HEADER) for seen in gate.seen]
    assert len(plain) > 4
    assert plain[:2] == [True, False]
    assert all(plain[2:])


async def test_without_the_extra_nothing_is_obfuscated(
    network: MemoryNetwork,
    gate: Gate,
    metainfo: Metainfo,
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setattr(connections, "rc4", lambda: None)
    nursery.start_soon(gate.run)
    async with open_session(dial=network.dial) as getter:
        getter.add(TorrentSpec(metainfo, tmp_path / "get", peers=(CLEARNET,)))
        await some_tries(gate)
    assert len(gate.seen) > 4
    assert all(seen.startswith(PROTOCOL_HEADER) for seen in gate.seen)


async def test_an_onion_never_sees_it(
    network: MemoryNetwork,
    metainfo: Metainfo,
    tmp_path: Path,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = Gate(network, ONION, HIDDEN)
    nursery.start_soon(gate.run)
    async with open_session(dial=network.dial) as getter:
        getter.add(TorrentSpec(metainfo, tmp_path / "get", peers=(ONION,)))
        await some_tries(gate)
    assert len(gate.seen) > 4
    for seen in gate.seen:
        assert seen.startswith(PROTOCOL_HEADER)
        assert len(seen) == HANDSHAKE_SIZE


async def test_nothing_of_two_beginnings_is_the_same(
    network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    """Keys and pads are drawn for each connection, and pads differ in length."""
    listener = network.listeners[CLEARNET] = MemoryListener()
    begun = []
    for _ in range(20):
        stream = await network.dial(CLEARNET.host, CLEARNET.port, "x")
        obfuscated = obfuscation.ObfuscatedStream(stream, bytes(20), PlainRc4)
        await obfuscated.send_buffers([b"our handshake"])
        begun.append(await read(await listener.accept()))
    assert len({one[:8] for one in begun}) == len(begun)
    assert len({len(one) for one in begun}) > len(begun) // 2


def test_the_library_s_rc4_is_rc4() -> None:
    new_cipher = obfuscation.rc4()
    assert new_cipher is not None
    key, data = bytes(range(20)), bytes(5000)
    assert new_cipher(key).update(data) == PlainRc4(key).update(data)
