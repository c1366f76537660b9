"""Peers outside Tor that tell each other of peers outside Tor (BEP 11), and of nobody else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.engine.helpers import MemoryNetwork
from tor_control.onion_address import OnionKey
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.core.metainfo_build import build_info
from torrent_onion.engine.clearnet_exchange import ClearnetExchange
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.peer_exchange import PEX_SECONDS
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.wakeup import Wakeup
from torrent_onion.protocol.compact_peers import compact_peer
from torrent_onion.protocol.extensions import CLEARNET_IDS, CLEARNET_PEX_IDS, OFFERED_IDS
from torrent_onion.protocol.ut_pex import FLAG_REACHABLE, FLAG_SEED, MAX_ENTRIES, UtPex

ONION = PeerAddress(OnionKey.from_seed(bytes(32)).address, 6881)
OWN = PeerAddress(OnionKey.from_seed(b"1" * 32).address, 6881)
NAMED = PeerAddress("peer.example", 6881)
SIX = PeerAddress("2001:db8::1", 6881)


def ip(number: int) -> PeerAddress:
    return PeerAddress(f"198.51.{number >> 8}.{number & 255}", 6881)


@dataclass
class FakeWire:
    """Speaks ``ut_pex``, and keeps what is sent."""

    sent: list[UtPex] = field(default_factory=list)

    def send_extended(self, message: UtPex) -> bool:
        assert UtPex.decode(message.encode()).added is not None
        self.sent.append(message)
        return True


class FakePeer:
    """As much of a peer as is looked at."""

    def __init__(self, key: int, address: PeerAddress | None, *, is_seed: bool = False) -> None:
        self.key, self.address, self.is_seed = key, address, is_seed
        self.wire, self.wake = FakeWire(), Wakeup()


@pytest.fixture
async def session(network: MemoryNetwork) -> AsyncIterator[Session]:
    async with open_session(dial=network.dial) as opened:
        yield opened


async def a_torrent(session: Session, tmp_path: Path, *, private: bool = False) -> Torrent:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(50_000))
    made = (
        await create_torrent(path, piece_length=16384, torrent_format=TorrentFormat.V1)
    ).metainfo
    info = build_info(
        made.info.name,
        made.info.files,
        piece_length=16384,
        torrent_format=TorrentFormat.V1,
        is_single_file=True,
        piece_hashes=made.info.piece_hashes,
        private=private,
    )
    return session.add(TorrentSpec(Metainfo(info), tmp_path / "get", own_address=OWN))


def connect(torrent: Torrent, *addresses: PeerAddress | None) -> list[Any]:
    torrent.peers.clear()
    for key, address in enumerate(addresses):
        torrent.peers[key] = FakePeer(key, address)  # type: ignore[assignment] # enough of a peer
    return list(torrent.peers.values())


async def test_it_names_peers_with_ip_addresses_to_each_other_and_to_nobody_else(
    session: Session, tmp_path: Path
) -> None:
    torrent = await a_torrent(session, tmp_path)
    first, six, onion, inbound, named = connect(torrent, ip(1), SIX, ONION, None, NAMED)
    six.is_seed = True
    exchange = ClearnetExchange(torrent)
    exchange.tell(0.0)
    assert first.wire.sent == [UtPex(((SIX, FLAG_REACHABLE | FLAG_SEED),))]
    assert six.wire.sent == [UtPex(((ip(1), FLAG_REACHABLE),))]
    for other in (onion, inbound, named):
        assert other.wire.sent == []
    torrent.peers.clear()


async def test_once_a_minute_what_is_new_and_at_most_fifty(
    session: Session, tmp_path: Path
) -> None:
    torrent = await a_torrent(session, tmp_path)
    first, *_ = connect(torrent, *(ip(number) for number in range(120)))
    exchange = ClearnetExchange(torrent)
    for second in range(181):
        exchange.tell(float(second))
    assert [len(each.added) for each in first.wire.sent] == [MAX_ENTRIES, MAX_ENTRIES, 19]
    told = {address for message in first.wire.sent for address, _ in message.added}
    assert told == {ip(number) for number in range(1, 120)}
    for key in range(100, 120):
        del torrent.peers[key]
    exchange.tell(500.0)
    assert set(first.wire.sent[-1].dropped) == {ip(number) for number in range(100, 120)}
    torrent.peers.clear()


def many(first: int) -> bytes:
    """The payload of a message that names 100, twice what we send."""
    addresses = b"".join(compact_peer(ip(number)) for number in range(first, first + 100))
    return encode({b"added": addresses})


async def test_what_is_heard_is_a_few_candidates_a_minute(session: Session, tmp_path: Path) -> None:
    torrent = await a_torrent(session, tmp_path)
    first, onion, inbound = connect(torrent, ip(1), ONION, None)
    exchange = ClearnetExchange(torrent)
    flood = many(1000)
    for stranger in (onion, inbound):
        exchange.received(stranger, b"not even read", 0.0)
        exchange.received(stranger, flood, 0.0)
        assert len(torrent.pool) == 0
    exchange.received(first, flood, 0.0)
    assert len(torrent.pool) == 50  # a source's share
    more = many(2000)
    exchange.received(first, b"not even read", PEX_SECONDS / 2)
    exchange.received(first, more, PEX_SECONDS / 2)
    assert all(
        torrent.pool.next_to_dial(1e9) not in {ip(2000 + n) for n in range(100)} for _ in "12"
    )
    for minute in range(1, 200):
        exchange.received(first, more, minute * PEX_SECONDS)
    assert len(torrent.pool) <= 52
    torrent.peers.clear()


@pytest.mark.parametrize("knows_metadata", [True, False])
async def test_private_torrents_and_those_that_may_be_have_none(
    session: Session, tmp_path: Path, knows_metadata: bool
) -> None:
    if knows_metadata:
        torrent = await a_torrent(session, tmp_path, private=True)
    else:
        source = await a_torrent(session, tmp_path)
        await source.stop()
        link = Magnet(info_hashes=source.info_hashes)
        torrent = session.add(TorrentSpec(link, tmp_path / "link"))
    first, second = connect(torrent, ip(1), ip(2))
    exchange = ClearnetExchange(torrent)
    exchange.tell(0.0)
    exchange.received(first, UtPex(((ip(3), 0),)).encode(), 0.0)
    assert first.wire.sent == second.wire.sent == []
    assert len(torrent.pool) == 0
    assert exchange.offered_ids(first) == CLEARNET_IDS
    torrent.peers.clear()


async def test_each_network_is_offered_its_own(session: Session, tmp_path: Path) -> None:
    torrent = await a_torrent(session, tmp_path)
    offered = torrent.clearnet_exchange.offered_ids
    peers = connect(torrent, ip(1), SIX, NAMED, ONION, None)
    expected = [CLEARNET_PEX_IDS, CLEARNET_PEX_IDS, CLEARNET_IDS, OFFERED_IDS, OFFERED_IDS]
    assert [offered(peer) for peer in peers] == expected
    torrent.peers.clear()
