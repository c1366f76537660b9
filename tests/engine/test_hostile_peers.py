"""Peers that break rules: each is dropped or ignored, and the transfer goes on with the others."""

import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryNetwork, MemoryPeerStream, until
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.engine.answers import MAX_UPLOAD_QUEUE
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.peer import MAX_ALLOWED_FAST, Peer
from torrent_onion.engine.serving_goals import GRACE_SECONDS
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import NO_GOALS, Goals, Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import PeerListener
from torrent_onion.policy.mind_changes import CHANGES_BURST, CHANGES_PER_SECOND
from torrent_onion.policy.picker_results import Received
from torrent_onion.policy.piece_picker import PiecePicker
from torrent_onion.policy.upload_slots import UploadSlots
from torrent_onion.protocol import messages
from torrent_onion.protocol.extensions import (
    MAX_METADATA_SIZE,
    METADATA_BLOCK_SIZE,
    ExtensionHandshake,
    MetadataData,
    MetadataReject,
    MetadataRequest,
)
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.hash_messages import Hashes, HashReject, HashRequest
from torrent_onion.protocol.message_codec import encode_message
from torrent_onion.protocol.peer_wire import Event, PeerWire, Requests

PIECE = 2 * BLOCK_SIZE


@dataclass
class Stranger:
    """A peer driven by hand."""

    stream: MemoryPeerStream
    wire: PeerWire

    async def send(self, *what: messages.Message) -> None:
        for message in what:
            self.wire.send(message)
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_buffers(self.wire.data_to_send())

    async def send_raw(self, data: bytes) -> None:
        await self.stream.send_buffers([data])

    async def receive(self) -> list[Event]:
        """The next events; empty when the other side has closed."""
        while True:
            count = await self.stream.receive_into(self.wire.get_buffer())
            if not count:
                return []
            events = list(self.wire.buffer_updated(count))
            if events:
                return events

    async def wait_for(self, kind: type[Event]) -> Event:
        while events := await self.receive():
            for event in events:
                if isinstance(event, kind):
                    return event
        raise AssertionError(f"closed without {kind.__name__}")

    async def wait_closed(self) -> list[Event]:
        """Everything that came until the other side closed."""
        heard: list[Event] = []
        while events := await self.receive():
            heard += events
        return heard


def hello(info_hash: bytes, *, fast: bool = True, extensions: bool = True) -> Handshake:
    return Handshake(
        info_hash=info_hash,
        peer_id=PeerId(bytes(20)),
        extensions=extensions,
        fast=fast,
        v2=False,
        dht=False,
    )


@dataclass
class Scene:
    network: MemoryNetwork
    metainfo: Metainfo
    content: bytes
    seeder: Torrent
    address: PeerAddress

    async def meet(self, *, fast: bool = True) -> Stranger:
        """Connect to the seeder and shake hands."""
        stream = await self.network.dial(self.address.host, self.address.port, "stranger")
        stranger = Stranger(stream, PeerWire(max_pieces=None))
        stranger.wire.send_handshake(hello(self.metainfo.info.info_hashes.primary, fast=fast))
        await stranger.flush()
        await stranger.wait_for(Handshake)
        return stranger

    async def meet_unchoked(self) -> Stranger:
        """The same, until it may ask for blocks."""
        stranger = await self.meet()
        await stranger.send(messages.Interested())
        await stranger.wait_for(messages.Unchoke)
        return stranger


@asynccontextmanager
async def scene(
    network: MemoryNetwork,
    tmp_path: Path,
    form: TorrentFormat = TorrentFormat.V1,
    settings: Settings | None = None,
    goals: Goals = NO_GOALS,
    *,
    super_seed: bool = False,
) -> AsyncIterator[Scene]:
    content = tmp_path / "seed" / "file.bin"
    content.parent.mkdir()
    content.write_bytes(random.Random(8).randbytes(6 * PIECE))
    made = await create_torrent(content, piece_length=PIECE, torrent_format=form)
    metainfo = made.metainfo
    address, listener = network.listen(1)
    async with open_session(dial=network.dial, settings=settings) as session:
        spec = TorrentSpec(
            metainfo, content.parent, shared_path=content, goals=goals, super_seed=super_seed
        )
        torrent = session.add(spec, listener=listener)
        await torrent.wait_complete()
        with trio.fail_after(1000):
            yield Scene(network, metainfo, content.read_bytes(), torrent, address)


async def test_who_asks_for_another_torrent_learns_nothing(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage:
        stream = await network.dial(stage.address.host, stage.address.port, "stranger")
        await stream.send_buffers([hello(bytes(20)).encode()])
        assert await stream.receive_into(memoryview(bytearray(100))) == 0


async def test_pieces_that_are_told_at_once_later_are_added(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    """As aria2 tells them."""
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet()
        await stranger.send(messages.HaveNone(), messages.Have(0))
        (peer,) = stage.seeder.peers.values()
        await stranger.send_raw(encode_message(messages.BitfieldMessage(b"\x60")))
        await until(lambda: peer.pieces is not None and [*peer.pieces.indices()] == [0, 1, 2])
        await stranger.send_raw(encode_message(messages.HaveAll()))
        await until(lambda: peer.is_seed)


@pytest.mark.parametrize(
    "what", [messages.HaveAll(), messages.BitfieldMessage(b"\xfc")], ids=["all", "bitfield"]
)
async def test_many_pieces_told_at_once_are_looked_at_once(
    network: MemoryNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: messages.Message,
) -> None:
    async with scene(network, tmp_path) as stage:
        downloads, looks = stage.seeder.downloads, []
        ask = downloads.ask

        def counted(peer: Peer, now: float) -> None:
            looks.append(peer.key)
            ask(peer, now)

        await stage.meet()
        await until(lambda: bool(stage.seeder.peers))
        (peer,) = stage.seeder.peers.values()
        peer.handle(messages.HaveNone(), 0.0)
        monkeypatch.setattr(downloads, "ask", counted)
        peer.handle(what, 0.0)
        peer.handle(what, 0.0)
        assert peer.is_seed
        assert looks == [peer.key]


async def test_who_tells_its_pieces_without_end_is_left(
    network: MemoryNetwork, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A few bytes each, and every one is about all pieces."""
    async with scene(network, tmp_path) as stage:
        told = encode_message(messages.BitfieldMessage(b"\x80"))
        stranger, patient = await stage.meet(), await stage.meet()
        for _ in range(CHANGES_BURST // 10):  # as often, over as much time as it takes
            await patient.send_raw(told * 20)
            await trio.sleep(20 / CHANGES_PER_SECOND)
        await stranger.send_raw(told * (CHANGES_BURST + 2))
        await stranger.wait_closed()
        await until(lambda: len(stage.seeder.peers) == 1)


async def test_a_request_while_choked_is_rejected(network: MemoryNetwork, tmp_path: Path) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet()
        await stranger.send(messages.Request(0, 0, BLOCK_SIZE))
        assert await stranger.wait_for(messages.Reject) == messages.Reject(0, 0, BLOCK_SIZE)
        assert stage.seeder.statistics().uploaded == 0


@pytest.mark.parametrize(
    "request_",
    [
        messages.Request(0, PIECE, BLOCK_SIZE),
        messages.Request(0, PIECE - 1, 2),
        messages.Request(0, 0, BLOCK_SIZE + 1),
        messages.Request(0, 0, 0),
        messages.Request(0, 2**32 - 1, BLOCK_SIZE),
    ],
)
async def test_a_request_beyond_a_piece_is_rejected(
    network: MemoryNetwork, tmp_path: Path, request_: messages.Request
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet_unchoked()
        await stranger.send(request_)
        assert isinstance(await stranger.wait_for(messages.Reject), messages.Reject)
        assert stage.seeder.statistics().uploaded == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff\xff\xff\x07", id="length"),
        pytest.param(b"\0\0\0\x05\x04\0\0\0\x06", id="have beyond the end"),
        pytest.param(b"\0\0\0\x02\x05\xff", id="spare bits"),
        pytest.param(b"\0\0\0\x03\x05\xf0\0", id="long bitfield"),
        pytest.param(b"\0\0\0\x02\x14\x00", id="bad extension handshake"),
    ],
)
async def test_a_broken_message_ends_the_connection(
    network: MemoryNetwork, tmp_path: Path, data: bytes
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet()
        await stranger.send_raw(data)
        await stranger.wait_closed()
        await until(lambda: stage.seeder.statistics().peers == 0)


async def test_a_dht_port_leads_to_no_connection(network: MemoryNetwork, tmp_path: Path) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet()
        await stranger.send_raw(b"\0\0\0\x03\x09\x1a\xe1")
        await stranger.send(messages.Interested())
        await stranger.wait_for(messages.Unchoke)
        assert len(network.dialled) == 1  # the stranger's own


async def test_silence_instead_of_a_handshake_ends_in_time(
    network: MemoryNetwork, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with scene(network, tmp_path) as stage:
        stream = await network.dial(stage.address.host, stage.address.port, "stranger")
        started = trio.current_time()
        assert await stream.receive_into(memoryview(bytearray(100))) == 0
        assert 0 < trio.current_time() - started < 100


async def test_a_silent_peer_is_kept_alive_and_then_dropped(
    network: MemoryNetwork, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet()
        started = trio.current_time()
        heard = await stranger.wait_closed()
        assert messages.KeepAlive() in heard
        assert 200 < trio.current_time() - started < 300


def requested(events: list[Event]) -> Iterator[Block]:
    """All blocks that some events ask for."""
    return chain.from_iterable(event.blocks for event in events if isinstance(event, Requests))


class Liar:
    """A listener that has everything and sends damaged blocks."""

    def __init__(self, metainfo: Metainfo, content: bytes, damage: Callable[[int], bool]) -> None:
        self._metainfo = metainfo
        self._content = content
        self._damage = damage
        self.served = 0
        self.lies = 0
        self.leaves_after: int | None = None
        """Blocks after which it hangs up."""
        self.may_answer = trio.Event()
        self.may_answer.set()

    async def serve(self, stream: MemoryPeerStream) -> None:
        stranger = Stranger(stream, PeerWire(max_pieces=None))
        try:
            await stranger.wait_for(Handshake)
            stranger.wire.send_handshake(hello(self._metainfo.info.info_hashes.primary))
            await stranger.send(messages.HaveAll(), messages.Unchoke())
            while events := await stranger.receive():
                await self.may_answer.wait()
                for block in requested(events):
                    self._answer(stranger, block)
                    if self.served == self.leaves_after:
                        await stranger.flush()
                        await stream.aclose()
                        return
                await stranger.flush()
        except trio.BrokenResourceError:
            pass

    def _answer(self, stranger: Stranger, request: Block) -> None:
        start = request.piece * PIECE + request.begin
        block = bytearray(self._content[start : start + request.length])
        if self._damage(request.begin):
            block[0] ^= 1
            self.lies += 1
        self.served += 1
        stranger.wire.send_piece(request.piece, request.begin, bytes(block))


@pytest.mark.parametrize("seed", range(5))
async def test_bad_data_is_never_kept_and_the_liar_is_left(
    network: MemoryNetwork, tmp_path: Path, seed: int
) -> None:
    async with scene(network, tmp_path) as stage, trio.open_nursery() as nursery:
        rng = random.Random(seed)
        liar = Liar(stage.metainfo, stage.content, lambda _: rng.random() < 0.5)
        address, listener = network.listen(66)

        async def accept() -> None:
            while True:
                nursery.start_soon(liar.serve, await listener.accept())  # type: ignore[arg-type]

        nursery.start_soon(accept)
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(stage.metainfo, tmp_path, peers=(address, stage.address))
            await session.add(spec).wait_complete()
        assert (tmp_path / "file.bin").read_bytes() == stage.content
        nursery.cancel_scope.cancel()


def count_crossed(picker: PiecePicker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of blocks that were good, and here already: two peers were asked in endgame."""
    crossed: list[int] = []
    take = picker.block_received

    def counted(peer: int, piece: int, begin: int, data: memoryview) -> Received:
        received = take(peer, piece, begin, data)
        crossed.append(len(data) if received.duplicate else 0)
        return received

    monkeypatch.setattr(picker, "block_received", counted)
    return crossed


async def test_one_bad_block_costs_one_block_and_its_sender(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeder tells the leaves (BEP 52), so the good blocks stay and only the liar goes."""
    async with (
        scene(network, tmp_path, TorrentFormat.HYBRID) as stage,
        trio.open_nursery() as nursery,
    ):
        liar = Liar(stage.metainfo, stage.content, lambda begin: begin == 0)
        liar.may_answer = trio.Event()  # not before there is somebody who can tell the leaves
        address, listener = network.listen(66)

        async def accept() -> None:
            stream = await listener.accept()
            nursery.start_soon(liar.serve, stream)  # type: ignore[arg-type]
            await listener.accept()
            raise AssertionError("the liar was dialled again")

        nursery.start_soon(accept)
        async with open_session(dial=network.dial) as session:
            torrent = session.add(TorrentSpec(stage.metainfo, tmp_path, peers=(address,)))
            await until(lambda: torrent.have is not None)
            crossed = count_crossed(torrent.downloads.picker, monkeypatch)
            await until(lambda: any(peer.requests.outstanding for peer in torrent.peers.values()))
            torrent.add_candidates([stage.address], "user")
            await until(lambda: len([p for p in torrent.peers.values() if p.is_seed]) == 2)
            liar.may_answer.set()
            await torrent.wait_complete()
            known = len(torrent.pool)
            torrent.add_candidates([address], "user")
            assert len(torrent.pool) == known, "the liar is welcome again"
            torrent.add_candidates([PeerAddress("198.51.100.99", 1)], "user")
            assert len(torrent.pool) == known + 1
            wasted = torrent.statistics().downloaded - len(stage.content) - sum(crossed)
            assert 0 < wasted <= liar.lies * BLOCK_SIZE < liar.served * BLOCK_SIZE
        assert (tmp_path / "file.bin").read_bytes() == stage.content
        nursery.cancel_scope.cancel()


async def test_who_hangs_up_before_the_verdict_is_not_dialled_again(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage, trio.open_nursery() as nursery:
        liar = Liar(stage.metainfo, stage.content, lambda _: True)
        liar.leaves_after = PIECE // BLOCK_SIZE
        address, listener = network.listen(66)

        async def accept() -> None:
            await liar.serve(await listener.accept())  # type: ignore[arg-type]

        nursery.start_soon(accept)
        async with open_session(dial=network.dial) as session:
            torrent = session.add(TorrentSpec(stage.metainfo, tmp_path, peers=(address,)))
            await until(lambda: liar.served == liar.leaves_after and not torrent.peers)
            torrent.add_candidates([stage.address], "user")
            await torrent.wait_complete()
            known = len(torrent.pool)
            torrent.add_candidates([address], "user")
            assert known == 1
            assert len(torrent.pool) == known, "the liar is welcome again"
        nursery.cancel_scope.cancel()


async def test_metadata_that_is_not_the_torrents_is_refused(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage, trio.open_nursery() as nursery:
        raw = stage.metainfo.info.raw
        address, listener = network.listen(66)

        async def lie() -> None:
            stranger = Stranger(await listener.accept(), PeerWire(max_pieces=None))  # type: ignore[arg-type]
            await stranger.wait_for(Handshake)
            stranger.wire.send_handshake(hello(stage.metainfo.info.info_hashes.primary))
            stranger.wire.send_extension_handshake(ExtensionHandshake(metadata_size=len(raw)))
            await stranger.flush()
            await stranger.wait_for(MetadataRequest)
            stranger.wire.send_extended(MetadataData(0, len(raw), bytes(len(raw))))
            await stranger.flush()
            assert await stranger.wait_closed() is not None

        nursery.start_soon(lie)
        magnet = Magnet(info_hashes=stage.metainfo.info.info_hashes)
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(magnet, tmp_path, peers=(address, stage.address))
            await session.add(spec).wait_complete()
        assert (tmp_path / "file.bin").read_bytes() == stage.content


class Dripper:
    """A listener that claims to have the metadata and sends one piece of nothing now and then."""

    def __init__(self, info_hash: bytes, size: int, *, every: float = 20.0) -> None:
        self._info_hash = info_hash
        self._size = size
        self._every = every
        self.asked = trio.Event()

    async def serve(self, stream: MemoryPeerStream) -> None:
        stranger = Stranger(stream, PeerWire(max_pieces=None))
        waiting: list[int] = []
        await stranger.wait_for(Handshake)
        stranger.wire.send_handshake(hello(self._info_hash))
        stranger.wire.send_extension_handshake(ExtensionHandshake(metadata_size=self._size))
        await stranger.flush()
        with suppress(trio.BrokenResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drip, stranger, waiting)
                while events := await stranger.receive():
                    waiting += [e.piece for e in events if isinstance(e, MetadataRequest)]
                    if waiting:
                        self.asked.set()
                nursery.cancel_scope.cancel()

    async def _drip(self, stranger: Stranger, waiting: list[int]) -> None:
        while True:
            await trio.sleep(self._every)
            if waiting:
                piece = waiting.pop(0)
                block = bytes(min(METADATA_BLOCK_SIZE, self._size - piece * METADATA_BLOCK_SIZE))
                stranger.wire.send_extended(MetadataData(piece, self._size, block))
                await stranger.flush()


@pytest.mark.parametrize("liars", [1, 3])
@pytest.mark.parametrize("claim", ["the true size", "another size", "the largest size"])
async def test_who_drips_false_metadata_holds_up_nobody(
    network: MemoryNetwork,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    claim: str,
    liars: int,
) -> None:
    """They are met first and asked for everything; the seeder's metadata counts all the same."""
    content = tmp_path / "seed" / "file.bin"
    content.parent.mkdir()
    content.write_bytes(bytes(2000 * BLOCK_SIZE))
    made = await create_torrent(content, piece_length=BLOCK_SIZE, torrent_format=TorrentFormat.V1)
    hashes, raw = made.metainfo.info.info_hashes, made.metainfo.info.raw
    assert len(raw) > 2 * METADATA_BLOCK_SIZE
    sizes = {"the true size": len(raw), "another size": len(raw) + METADATA_BLOCK_SIZE}
    size = sizes.get(claim, MAX_METADATA_SIZE)
    async with open_session(dial=network.dial) as session, trio.open_nursery() as nursery:
        address, listener = network.listen(1)
        seed = TorrentSpec(made.metainfo, content.parent, shared_path=content)
        await session.add(seed, listener=listener).wait_complete()
        drippers = [Dripper(hashes.primary, size) for _ in range(liars)]
        addresses = []
        for number, dripper in enumerate(drippers, 66):
            liar_address, liar_listener = network.listen(number)
            addresses.append(liar_address)

            async def accept(
                dripper: Dripper = dripper, port: PeerListener = liar_listener
            ) -> None:
                await dripper.serve(await port.accept())  # type: ignore[arg-type]

            nursery.start_soon(accept)
        spec = TorrentSpec(Magnet(info_hashes=hashes), tmp_path, peers=tuple(addresses))
        torrent = session.add(spec)
        await drippers[0].asked.wait()
        began = trio.current_time()
        torrent.add_candidates([address], "user")
        await torrent.wait_metadata()
        assert trio.current_time() - began < 20 * liars
        nursery.cancel_scope.cancel()


async def crowd(stage: Scene, count: int) -> list[Stranger]:
    """Take all slots and wait for more: interested peers that were met one after the other."""
    met = []
    for _ in range(count):
        stranger = await stage.meet()
        await stranger.send(messages.HaveNone(), messages.Interested())
        met.append(stranger)
    await until(lambda: sum(p.peer_interested for p in stage.seeder.peers.values()) == count)
    return met


async def test_a_newcomer_without_a_slot_is_served_a_few_pieces_and_no_more(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    settings = Settings(unchoke_slots=1)
    async with scene(network, tmp_path, settings=settings) as stage:
        await crowd(stage, 3 * UploadSlots(1).count)
        choked = [p for p in stage.seeder.peers.values() if p.am_choking]
        granted = [p for p in choked if p.granted_fast]
        assert choked
        assert len(granted) == 1, "a grant for everybody that comes at once"
        (peer,) = granted
        assert peer.granted_fast <= set(range(6))
        assert peer.fast_bytes_left == len(peer.granted_fast) * PIECE


async def test_choked_requests_are_served_only_where_they_are_allowed(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path, settings=Settings(unchoke_slots=1)) as stage:
        stranger = await stage.meet()
        await stranger.send(messages.HaveNone())
        await until(lambda: bool(stage.seeder.peers))
        (peer,) = stage.seeder.peers.values()
        peer.grant_fast([2], PIECE)
        assert await stranger.wait_for(messages.AllowedFast) == messages.AllowedFast(2)
        await stranger.send(messages.Request(1, 0, BLOCK_SIZE))
        assert await stranger.wait_for(messages.Reject) == messages.Reject(1, 0, BLOCK_SIZE)
        for begin in (0, BLOCK_SIZE):
            await stranger.send(messages.Request(2, begin, BLOCK_SIZE))
            piece = await stranger.wait_for(messages.Piece)
            assert isinstance(piece, messages.Piece)
            assert piece.block == stage.content[2 * PIECE + begin :][:BLOCK_SIZE]
        await stranger.send(messages.Request(2, 0, BLOCK_SIZE))  # a second time is too much
        assert await stranger.wait_for(messages.Reject) == messages.Reject(2, 0, BLOCK_SIZE)


async def test_a_getter_takes_what_it_is_allowed_while_choked(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    """One that allows every piece and never unchokes: all the same the torrent is fetched."""
    async with scene(network, tmp_path) as stage, trio.open_nursery() as nursery:
        address, listener = network.listen(66)

        async def serve() -> None:
            stranger = Stranger(await listener.accept(), PeerWire(max_pieces=None))  # type: ignore[arg-type]
            await stranger.wait_for(Handshake)
            stranger.wire.send_handshake(hello(stage.metainfo.info.info_hashes.primary))
            allowed = [messages.AllowedFast(index) for index in range(6)]
            await stranger.send(messages.HaveAll(), *allowed)
            with suppress(trio.BrokenResourceError):
                while events := await stranger.receive():
                    for piece, begin, length in requested(events):
                        start = piece * PIECE + begin
                        stranger.wire.send_piece(piece, begin, stage.content[start:][:length])
                    await stranger.flush()

        nursery.start_soon(serve)
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(stage.metainfo, tmp_path, peers=(address,))
            await session.add(spec).wait_complete()
        assert (tmp_path / "file.bin").read_bytes() == stage.content
        nursery.cancel_scope.cancel()


async def test_a_flood_of_allowed_pieces_is_not_kept(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage, trio.open_nursery() as nursery:
        address, listener = network.listen(66)

        async def flood() -> None:
            stranger = Stranger(await listener.accept(), PeerWire(max_pieces=None))  # type: ignore[arg-type]
            await stranger.wait_for(Handshake)
            stranger.wire.send_handshake(hello(stage.metainfo.info.info_hashes.primary))
            many = [messages.AllowedFast(index) for index in range(10 * MAX_ALLOWED_FAST)]
            await stranger.send(messages.HaveNone(), *many, messages.Interested())
            await stranger.wait_closed()

        nursery.start_soon(flood)
        magnet = Magnet(info_hashes=stage.metainfo.info.info_hashes)
        async with open_session(dial=network.dial) as session:
            torrent = session.add(TorrentSpec(magnet, tmp_path, peers=(address,)))
            await until(lambda: any(p.peer_interested for p in torrent.peers.values()))
            (peer,) = torrent.peers.values()
            assert len(peer.allowed_fast) == MAX_ALLOWED_FAST
            peer.metadata_known(6)
            assert peer.allowed_fast == set(range(6))
        nursery.cancel_scope.cancel()


async def test_leaves_of_a_piece_cost_one_read_and_a_peer_has_a_budget(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(network, tmp_path, TorrentFormat.V2) as stage:
        reads: list[int] = []
        storage = stage.seeder.open_storage
        read = storage.leaf_hashes

        async def counted(index: int) -> bytes:
            reads.append(index)
            return await read(index)

        monkeypatch.setattr(storage, "leaf_hashes", counted)
        monkeypatch.setattr("torrent_onion.engine.leaf_reads.BURST", 5 * PIECE)
        monkeypatch.setattr("torrent_onion.engine.leaf_reads.RATE", 0)
        stranger = await stage.meet()
        root = stage.metainfo.info.files[0].pieces_root or b""
        for _ in range(3):
            await stranger.send(HashRequest(root, 0, 0, 2, 0))
            hashes = await stranger.wait_for(Hashes)
            assert isinstance(hashes, Hashes)
            leaf = hashlib.sha256(stage.content[:BLOCK_SIZE]).digest()
            assert hashes.hashes[0] == leaf
        assert reads == [0]
        await stranger.send(*(HashRequest(root, 0, 2 * index, 2, 0) for index in range(1, 6)))
        assert await stranger.wait_for(HashReject) == HashReject(root, 0, 10, 2, 0)
        assert reads == [0, 1, 2, 3, 4]
        other = await stage.meet()
        await other.send(HashRequest(root, 0, 10, 2, 0))
        await other.wait_for(Hashes)


@pytest.mark.parametrize(
    "messages_",
    [
        pytest.param([messages.Interested(), messages.NotInterested()], id="interest"),
        pytest.param([messages.Choke(), messages.Unchoke()], id="choke"),
        pytest.param([messages.Extended(0, b"d1:mdee")], id="extension handshake"),
        pytest.param([HashReject(bytes(32), 0, 0, 2, 0)], id="hash reject"),
        pytest.param([messages.Extended(1, MetadataData(0, 1, b"x").encode())], id="metadata"),
        pytest.param([Hashes(bytes(32), 0, 0, 2, 0, (bytes(32),) * 2)], id="hashes"),
        pytest.param([messages.Extended(2, b"de"), messages.Extended(4, b"")], id="exchange"),
    ],
)
async def test_who_changes_its_mind_without_end_is_left(
    network: MemoryNetwork,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    messages_: list[messages.Message],
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger, patient = await stage.meet(), await stage.meet()
        for _ in range(CHANGES_BURST // 20):  # as often, over as much time as it takes
            await patient.send(*messages_ * 20)
            await trio.sleep(20 * len(messages_) / CHANGES_PER_SECOND)
        with suppress(trio.BrokenResourceError):
            for _ in range(CHANGES_BURST + 2):
                await stranger.send(*messages_)
        await stranger.wait_closed()
        while len(stage.seeder.peers) != 1:
            await trio.lowlevel.checkpoint()


async def test_what_nobody_asked_for_makes_us_ask_nobody(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(network, tmp_path, TorrentFormat.V2) as stage:
        await stage.meet()
        await until(lambda: bool(stage.seeder.peers))
        (peer,) = stage.seeder.peers.values()
        asked = []
        monkeypatch.setattr(stage.seeder.metadata, "ask", lambda *_: asked.append(1))
        for message in (
            MetadataData(0, 1, b"x"),
            MetadataReject(0),
            Hashes(bytes(32), 0, 0, 2, 0, (bytes(32),) * 2),
            HashReject(bytes(32), 0, 0, 2, 0),
        ):
            peer.handle(message, 0.0)
        assert not asked


async def test_a_request_that_is_cancelled_in_time_is_not_served(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet_unchoked()
        await stranger.send(
            messages.Request(0, 0, BLOCK_SIZE),
            messages.Request(1, 0, BLOCK_SIZE),
            messages.Cancel(1, 0, BLOCK_SIZE),
            messages.Request(2, 0, BLOCK_SIZE),
        )
        answers: list[Event] = []
        while len(answers) < 3:
            answers += [
                e
                for e in await stranger.receive()
                if isinstance(e, messages.Piece | messages.Reject)
            ]
        assert messages.Reject(1, 0, BLOCK_SIZE) in answers
        assert {a.piece for a in answers if isinstance(a, messages.Piece)} == {0, 2}
        assert stage.seeder.statistics().uploaded == 2 * BLOCK_SIZE


async def test_each_request_of_a_run_is_judged_by_itself(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage:
        stranger = await stage.meet_unchoked()
        (peer,) = stage.seeder.peers.values()
        good = [Block(0, 0, 1), Block(1, 0, BLOCK_SIZE), Block(0, 1, 1)]
        bad = [Block(0, PIECE, 1), Block(1, 0, 0), Block(1, 1, BLOCK_SIZE + 1)]
        mixed = [good[0], bad[0], good[1], bad[1], good[0], bad[2], good[2]]
        peer.handle(Requests(mixed), 0.0)
        assert list(peer.answers.blocks) == good
        many = [Block(2, begin, 1) for begin in range(MAX_UPLOAD_QUEUE)]
        peer.handle(Requests(many), 0.0)
        fitting = MAX_UPLOAD_QUEUE - len(good)
        assert list(peer.answers.blocks) == [*good, *many[:fitting]]
        peer.choke()
        assert not peer.answers.blocks
        peer.handle(Requests(good), 0.0)
        refused = [*bad, *many[fitting:], *good, *many[:fitting], *good]
        answers: list[Event] = []
        while len(answers) < len(refused):
            events = await stranger.receive()
            answers += [event for event in events if not isinstance(event, messages.Choke)]
        assert answers == [messages.Reject(*block) for block in refused]


async def test_a_cancel_does_not_look_through_the_queue(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Block] = []

    class CountedBlock(Block):
        __hash__ = Block.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(self)
            return super().__eq__(other)

    monkeypatch.setattr("torrent_onion.engine.peer.Block", CountedBlock)
    async with scene(network, tmp_path) as stage:
        await stage.meet_unchoked()
        (peer,) = stage.seeder.peers.values()
        begins = [*range(1000), 500]  # what waits already gets one answer
        peer.handle(Requests([CountedBlock(0, begin, 1) for begin in begins]), 0.0)
        assert len(peer.answers.blocks) == 1000
        del compared[:]
        for begin in range(998, 1100):
            peer.handle(messages.Cancel(0, begin, 1), 0.0)
        assert len(peer.answers.blocks) == 998
        assert len(compared) < 1000


async def test_who_is_upload_only_and_of_no_use_to_a_seed_is_left(
    network: MemoryNetwork, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """BEP 21: a partial seed has not everything, and wants nothing all the same."""
    async with scene(network, tmp_path) as stage:
        partial, other = await stage.meet(), await stage.meet()
        await partial.send(messages.HaveNone())
        await other.send(messages.HaveNone())
        partial.wire.send_extension_handshake(ExtensionHandshake(upload_only=True))
        await partial.flush()
        began = trio.current_time()
        await partial.wait_closed()
        assert trio.current_time() - began < 30
        assert len(stage.seeder.peers) == 1


async def test_a_getter_says_when_it_wants_nothing_more(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path) as stage:
        address, listener = network.listen(7)
        async with open_session(dial=network.dial) as session:
            spec = TorrentSpec(stage.metainfo, tmp_path)
            torrent = session.add(spec, listener=listener)
            stream = await network.dial(address.host, address.port, "stranger")
            stranger = Stranger(stream, PeerWire(max_pieces=None))
            stranger.wire.send_handshake(hello(stage.metainfo.info.info_hashes.primary))
            await stranger.flush()
            said = await stranger.wait_for(ExtensionHandshake)
            assert isinstance(said, ExtensionHandshake)
            assert said.upload_only is None
            torrent.add_candidates([stage.address], "user")
            said = await stranger.wait_for(ExtensionHandshake)
            assert isinstance(said, ExtensionHandshake)
            assert said.upload_only is True


async def test_strangers_leave_room_for_our_own_dials(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path, settings=Settings(max_connections=5)) as stage:
        met = [await stage.meet() for _ in range(4)]
        stream = await network.dial(stage.address.host, stage.address.port, "one more")
        assert await stream.receive_into(memoryview(bytearray(1))) == 0
        await met[0].stream.aclose()
        await until(lambda: len(stage.seeder.peers) == 3)
        await stage.meet()


async def fetch_all(stranger: Stranger, stage: Scene) -> None:
    """Ask for every block and take them all, without a word of thanks."""
    await stranger.send(messages.Interested())
    await stranger.wait_for(messages.Unchoke)
    layout = stage.metainfo.info.layout
    blocks = [
        layout.block(index, number)
        for index in range(layout.num_pieces)
        for number in range(layout.num_blocks(index))
    ]
    await stranger.send(*(messages.Request(b.piece, b.begin, b.length) for b in blocks))
    count = 0
    while count < len(blocks):
        count += sum(isinstance(event, messages.Piece) for event in await stranger.receive())


async def test_who_was_sent_all_is_not_cut_off_before_it_has_arrived(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path, goals=Goals(ratio=1.0)) as stage:
        stranger = await stage.meet()
        await fetch_all(stranger, stage)
        now = trio.current_time()
        assert not stage.seeder.uploads.has_reached_goal(now)
        assert not stage.seeder.uploads.has_reached_goal(now + GRACE_SECONDS / 2)
        assert stage.seeder.uploads.has_reached_goal(now + GRACE_SECONDS + 1), "it may never end"
        await stranger.send(messages.NotInterested())
        await stage.seeder.ended.wait()


async def test_padding_counts_for_no_goal(network: MemoryNetwork, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        (folder / str(number)).write_bytes(bytes([number]) * 100)
    made = await create_torrent(folder, piece_length=PIECE, torrent_format=TorrentFormat.HYBRID)
    address, listener = network.listen(1)
    async with open_session(dial=network.dial) as session:
        goals = Goals(ratio=1.0, copies=1)
        spec = TorrentSpec(made.metainfo, tmp_path, shared_path=folder, goals=goals)
        seeder = session.add(spec, listener=listener)
        await seeder.wait_complete()
        stage = Scene(network, made.metainfo, b"", seeder, address)
        stranger = await stage.meet_unchoked()
        await stranger.send(messages.Request(0, 0, BLOCK_SIZE))  # one file and its padding
        await stranger.wait_for(messages.Piece)
        assert seeder.statistics().uploaded == BLOCK_SIZE
        assert seeder.uploads.goals.data_sent == 100
        await stranger.send(messages.NotInterested())
        now = trio.current_time() + GRACE_SECONDS + 1
        assert not seeder.uploads.has_reached_goal(now)


@pytest.mark.parametrize("super_seed", [False, True])
async def test_who_claims_to_have_all_ends_no_seeder(
    network: MemoryNetwork, tmp_path: Path, *, super_seed: bool
) -> None:
    goals = Goals(copies=1)
    async with scene(network, tmp_path, goals=goals, super_seed=super_seed) as stage:
        stranger = await stage.meet()
        await stranger.send(messages.HaveAll())
        await until(lambda: any(peer.is_seed for peer in stage.seeder.peers.values()))
        assert not stage.seeder.uploads.has_reached_goal(trio.current_time())


async def test_copies_are_people_who_have_everything_not_bytes(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    async with scene(network, tmp_path, goals=Goals(copies=2)) as stage:
        strangers = [await stage.meet() for _ in range(2)]
        for stranger in strangers:
            await fetch_all(stranger, stage)
        assert not stage.seeder.uploads.has_reached_goal(trio.current_time())
        for index in range(stage.metainfo.info.layout.num_pieces):
            await strangers[0].send(messages.Have(index))
        await until(lambda: any(peer.is_seed for peer in stage.seeder.peers.values()))
        assert not stage.seeder.uploads.has_reached_goal(trio.current_time())
        await strangers[1].stream.aclose()
        await stage.seeder.ended.wait()


async def test_a_bug_met_with_one_peer_leaves_the_others_alone(
    network: MemoryNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(network, tmp_path) as stage:
        bystander = await stage.meet()

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(stage.seeder.uploads, "interest_changed", fail)
        stranger = await stage.meet()
        await stranger.send(messages.Interested())
        await stranger.wait_closed()
        monkeypatch.undo()
        await bystander.send(messages.Interested())
        await bystander.wait_for(messages.Unchoke)
