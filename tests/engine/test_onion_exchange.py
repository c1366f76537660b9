"""Onion peers that tell each other of onion peers."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from tests.engine.helpers import MemoryListener, MemoryNetwork, tree, until
from tor_control.onion_address import OnionKey
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.core.metainfo_build import build_info
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.onion_exchange import OnionExchange
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_exchange import PEX_SECONDS
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.onion_pex import OnionPex
from torrent_onion.protocol.peer_wire import PeerWire

PIECE = 16384
PLAIN = PeerAddress("198.51.100.1", 6881)


def onion(number: int) -> PeerAddress:
    return PeerAddress(OnionKey.from_seed(bytes([number]) * 32).address, 6881)


@pytest.fixture
async def session(network: MemoryNetwork) -> AsyncIterator[Session]:
    async with open_session(dial=network.dial, settings=Settings(circuits=1)) as opened:
        yield opened


@pytest.fixture
async def content(tmp_path: Path) -> Path:
    path = tmp_path / "seed" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 512)
    return path


async def metainfo_of(content: Path, *, private: bool = False) -> Metainfo:
    made = (await create_torrent(content, piece_length=PIECE)).metainfo
    if not private:
        return made
    info = build_info(
        made.info.name,
        made.info.files,
        piece_length=PIECE,
        torrent_format=TorrentFormat.V1,
        is_single_file=True,
        piece_hashes=made.info.piece_hashes,
        private=True,
    )
    return Metainfo(info)


def join(
    network: MemoryNetwork,
    session: Session,
    metainfo: Metainfo,
    own: PeerAddress,
    folder: Path,
    *peers: PeerAddress,
) -> Torrent:
    listener = network.listeners[own] = MemoryListener()
    spec = TorrentSpec(metainfo, folder, peers=peers, own_address=own)
    return session.add(spec, listener=listener)


def dialled(network: MemoryNetwork) -> set[PeerAddress]:
    return {address for address, _ in network.dialled}


async def test_two_that_dial_each_other_keep_one_connection(
    network: MemoryNetwork, session: Session, content: Path, tmp_path: Path
) -> None:
    metainfo = await metainfo_of(content)
    low, high = sorted((onion(1), onion(2)), key=lambda address: address.host)
    torrents = {
        own: join(network, session, metainfo, own, tmp_path / own.host, other)
        for own, other in ((low, high), (high, low))
    }
    await until(lambda: dialled(network) == {low, high})
    await until(lambda: all(len(torrent.peers) == 1 for torrent in torrents.values()))
    await trio.testing.wait_all_tasks_blocked(0.05)
    [kept] = torrents[low].peers.values()
    assert kept.address == high, "the one that the lower address dialled is kept"
    [kept] = torrents[high].peers.values()
    assert kept.address is None


async def test_what_carries_data_is_not_closed_as_a_double(
    network: MemoryNetwork, session: Session, content: Path, tmp_path: Path
) -> None:
    metainfo = await metainfo_of(content)
    low, high = sorted((onion(1), onion(2)), key=lambda address: address.host)
    listener = network.listeners[low] = MemoryListener()
    spec = TorrentSpec(metainfo, content.parent, shared_path=content, own_address=low)
    seeder = session.add(spec, listener=listener)
    getter = join(network, session, metainfo, high, tmp_path / "high", low)
    await getter.wait_complete()
    [inbound] = seeder.peers.values()
    closed: list[bool] = []
    inbound.on_close(lambda: closed.append(True))
    reached = Peer(seeder, PeerKey(-1), PeerWire(max_pieces=None), high)
    seeder.peers[reached.key] = reached
    assert inbound.data_sent
    seeder.exchange.handshake_received(inbound, trio.current_time())
    assert not closed
    inbound.data_sent = 0
    seeder.exchange.handshake_received(inbound, trio.current_time())
    assert closed
    del seeder.peers[reached.key]


async def test_a_claim_alone_ends_no_proven_connection(
    network: MemoryNetwork, session: Session, content: Path, tmp_path: Path
) -> None:
    """Whoever comes in and says that it is somebody else is the one that goes."""
    metainfo = await metainfo_of(content)
    low, high = sorted((onion(1), onion(2)), key=lambda address: address.host)
    good = join(network, session, metainfo, high, tmp_path / "good")
    ours = join(network, session, metainfo, low, tmp_path / "ours", high)
    await until(lambda: len(ours.peers) == len(good.peers) == 1)
    [proven] = ours.peers.values()
    async with open_session(dial=network.dial) as elsewhere:
        spec = TorrentSpec(metainfo, tmp_path / "liar", peers=(low,), own_address=high)
        elsewhere.add(spec)
        await until(lambda: len(network.dialled) >= 2 and low in dialled(network))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert list(ours.peers.values()) == [proven]


async def test_knowing_one_getter_leads_to_all(
    network: MemoryNetwork,
    session: Session,
    content: Path,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.rate = 50
    metainfo = await metainfo_of(content)
    join(network, session, metainfo, onion(1), tmp_path / "hub")
    join(network, session, metainfo, onion(2), tmp_path / "one", onion(1))
    last = join(network, session, metainfo, onion(3), tmp_path / "two", onion(1))
    await trio.sleep(3 * PEX_SECONDS)
    assert dialled(network) & {onion(2), onion(3)}, "the two did not find each other"
    seeder_listener = network.listeners[onion(4)] = MemoryListener()
    seeder = TorrentSpec(
        metainfo, content.parent, shared_path=content, own_address=onion(4), peers=(onion(1),)
    )
    session.add(seeder, listener=seeder_listener)
    session.torrents[0].add_candidates([onion(4)], "tracker:t")  # only the hub hears of it
    with trio.fail_after(600):
        await last.wait_complete()
    assert tree(tmp_path / "two" / content.name) == tree(content)


async def test_a_seed_names_those_who_have_left_it(
    network: MemoryNetwork,
    session: Session,
    content: Path,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
) -> None:
    """Two seeds do not stay connected, so the one that a newcomer knows must remember the other."""
    mock_clock.rate = 50
    metainfo = await metainfo_of(content)
    listener = network.listeners[onion(4)] = MemoryListener()
    shared = TorrentSpec(metainfo, content.parent, shared_path=content, own_address=onion(4))
    hub = session.add(shared, listener=listener)
    await join(network, session, metainfo, onion(1), tmp_path / "1", onion(4)).wait_complete()
    with trio.fail_after(600):
        await until(lambda: not hub.peers)
        newcomer = join(network, session, metainfo, onion(2), tmp_path / "2", onion(4))
        await until(lambda: len(newcomer.pool) == 2)
        # Who has a link only is told before it may listen, and tells its own onion later.
        link = Magnet(info_hashes=metainfo.info.info_hashes, peers=(onion(4),))
        listener = network.listeners[onion(3)] = MemoryListener()
        spec = TorrentSpec(link, tmp_path / "3", own_address=onion(3), peers=(onion(4),))
        with_link = session.add(spec, listener=listener)
        await until(lambda: len(with_link.pool) == 3)
        await until(lambda: onion(3) in hub.exchange.names(trio.current_time()))


async def test_a_private_torrent_names_nobody(
    network: MemoryNetwork,
    session: Session,
    content: Path,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.rate = 50
    metainfo = await metainfo_of(content, private=True)
    join(network, session, metainfo, onion(1), tmp_path / "hub")
    join(network, session, metainfo, onion(2), tmp_path / "one", onion(1))
    join(network, session, metainfo, onion(3), tmp_path / "two", onion(1))
    await trio.sleep(3 * PEX_SECONDS)
    assert dialled(network) == {onion(1)}


async def test_clearnet_peers_learn_no_onion_and_are_not_believed(
    network: MemoryNetwork, session: Session, content: Path, tmp_path: Path
) -> None:
    metainfo = await metainfo_of(content)
    torrent = join(network, session, metainfo, onion(1), tmp_path / "hub")
    exchange = OnionExchange(torrent)

    class FakePeer:
        """As much of a peer as is looked at."""

        def __init__(self, key: int, address: PeerAddress | None) -> None:
            self.key = key
            self.address = address

    clearnet, behind_onion = FakePeer(7, PLAIN), FakePeer(8, onion(9))
    await torrent.wait_metadata()
    assert exchange.own_onion(clearnet) is None  # type: ignore[arg-type] # enough of a peer
    assert exchange.own_onion(behind_onion) == onion(1).to_compact_onion()  # type: ignore[arg-type] # likewise
    before = len(torrent.pool)
    told = [OnionPex(((onion(20 + number), 0),)).encode() for number in range(10)]
    for payload in (told[0], b"not even read"):
        exchange.received(clearnet, payload, 0.0)  # type: ignore[arg-type] # likewise
    assert len(torrent.pool) == before
    for second, payload in enumerate([*told, b"not even read"]):  # the second comes too early
        exchange.received(behind_onion, payload, 1.0 * second)  # type: ignore[arg-type] # likewise
    assert len(torrent.pool) == before + 1


async def test_what_is_told_before_the_metadata_is_read_with_it(
    network: MemoryNetwork, session: Session, content: Path, tmp_path: Path
) -> None:
    """And whoever told what cannot be read is left."""
    metainfo = await metainfo_of(content)
    link = Magnet(info_hashes=metainfo.info.info_hashes)
    torrent = session.add(TorrentSpec(link, tmp_path / "link"))
    exchange = torrent.exchange

    class FakePeer:
        """As much of a peer as is looked at."""

        def __init__(self, key: int) -> None:
            self.key, self.address, self.is_closed = key, onion(key), False
            self.wire = SimpleNamespace(peer_extensions=None)

        def close(self) -> None:
            self.is_closed = True

        def metadata_known(self, _: int) -> None:
            pass

    good, bad = FakePeer(7), FakePeer(8)
    torrent.peers.update({7: good, 8: bad})  # type: ignore[dict-item] # enough of a peer
    exchange.received(bad, b"cannot be read", 0.0)  # type: ignore[arg-type] # likewise
    exchange.received(good, OnionPex(((onion(20), 0),)).encode(), 0.0)  # type: ignore[arg-type] # likewise
    torrent.metadata._info = metainfo.info
    exchange.metadata_known(0.0)
    assert (good.is_closed, bad.is_closed) == (False, True)
    assert len(torrent.pool) == 1
    torrent.peers.clear()
