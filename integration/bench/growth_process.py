"""One process whose memory and processor time are looked at; run by ``growth.py``.

    seed FOLDER COUNT PIECES              serve so many pieces of zeros to so many; says where
    get FOLDER COUNT PIECES BYTES PLACE   fetch them from so many peers, until so much is here
    idle COUNT SECONDS                    serve so many torrents that nobody wants
    wait FOLDER PIECES                    want so many pieces, and know of no peer
    host FOLDER COUNT SECONDS             serve a torrent; says where, then what idle peers cost
    visit COUNT PLACE                     be so many idle peers

What is measured comes as JSON on the last line: memory in bytes, ``cpu`` in seconds.
"""

import os
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from integration.bench.peer_process import cpu_time, dial_unix, nobody, say
from integration.bench.sparse import FILE, make_hole, sparse_torrent
from tor_control.listener import listen_unix
from tor_control.tor_stream import LiveStreams
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.peer_session import shake_hands
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import Buffer, PeerStream
from torrent_onion.protocol import messages
from torrent_onion.protocol.peer_wire import PeerWire

PIECE = 16 << 20
"""Bytes: what ``create`` chooses for 100 GB."""
SETTLE_SECONDS = 5.0
"""Until what a start brings with it is over."""
LOOK_SECONDS = 0.05
TRACKER = "http://198.51.100.1/announce"
ANSWER = encode({b"interval": 1800, b"peers": b""})


class RoomyDisk:
    """What ``statvfs`` says where 100 GB are free: they are not written, but asked for."""

    f_bavail = 1 << 40
    f_frsize = 4096


class NobodyComes:
    """A listener without visitors."""

    async def accept(self) -> PeerStream:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class TrackerStream:
    """A connection to a tracker that knows of nobody."""

    def __init__(self) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"
        self._left = head.encode() + ANSWER

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def dial_tracker(_host: str, _port: int, _isolation: str) -> TrackerStream:
    await trio.lowlevel.checkpoint()
    return TrackerStream()


def big_torrent(pieces: int) -> Metainfo:
    return sparse_torrent(pieces * PIECE, piece_length=PIECE)


async def seed(folder: str, count: str, pieces: str) -> None:
    metainfo = big_torrent(int(pieces))
    path = make_hole(Path(folder) / FILE, metainfo.info.total_length)
    settings = Settings(max_connections=2 * int(count), unchoke_slots=int(count))
    async with (
        listen_unix(LiveStreams(), Path(folder)) as listener,
        open_session(dial=nobody, settings=settings) as session,
    ):
        spec = TorrentSpec(metainfo, folder=path.parent, shared_path=path)
        await session.add(spec, listener=listener).wait_complete()
        say(target=listener.target)
        await trio.sleep_forever()


async def get(folder: str, count: str, pieces: str, size: str, place: str) -> None:
    os.statvfs = lambda _path: RoomyDisk()  # type: ignore[assignment, return-value]
    peers = tuple(PeerAddress(f"198.51.{n}.1", 6881) for n in range(int(count)))
    spec = TorrentSpec(big_torrent(int(pieces)), folder=Path(folder), peers=peers)
    settings = Settings(max_connections=int(count), circuits=1)
    async with open_session(dial=dial_unix(place), settings=settings) as session:
        torrent = session.add(spec)
        most = 0
        while (now := torrent.statistics()).done < int(size):
            most = max(most, now.peers)
            await trio.sleep(LOOK_SECONDS)
        say(connections=most, **used())


async def idle(count: str, seconds: str) -> None:
    async with open_session(dial=dial_tracker) as session:
        before = used()
        for number in range(int(count)):
            # Each of another size, for a session has every torrent once.
            metainfo = sparse_torrent((number + 1) << 20, trackers=(TRACKER,))
            spec = TorrentSpec(metainfo, folder=Path("/"), shared_path=Path("/absent", FILE))
            torrent = session.add(spec, listener=NobodyComes())
        await torrent.wait_complete()
        await trio.sleep(SETTLE_SECONDS)
        heard = [each.last_answer for one in session.torrents for each in one.statistics().trackers]
        if len(heard) < int(count) or None in heard:
            raise RuntimeError("not every torrent is seeding and announced")
        after, began = used(), cpu_time()
        await trio.sleep(float(seconds))
        say(cpu=cpu_time() - began, memory=after["rss"] - before["rss"])


async def wait(folder: str, pieces: str) -> None:
    os.statvfs = lambda _path: RoomyDisk()  # type: ignore[assignment, return-value]
    piece = 1 << 20
    before = used()  # the hashes count: they are most of it
    metainfo = sparse_torrent(int(pieces) * piece, TorrentFormat.HYBRID, piece)
    async with open_session(dial=nobody) as session:
        session.add(TorrentSpec(metainfo, folder=Path(folder)))
        await trio.sleep(SETTLE_SECONDS)
        after, began = used(), cpu_time()
        await trio.sleep(SETTLE_SECONDS)
        say(cpu=cpu_time() - began, memory=after["rss"] - before["rss"])


async def host(folder: str, count: str, seconds: str) -> None:
    metainfo = sparse_torrent(100 << 20)
    path = make_hole(Path(folder) / FILE, metainfo.info.total_length)
    async with (
        listen_unix(LiveStreams(), Path(folder)) as listener,
        open_session(dial=nobody, settings=Settings(max_connections=2 * int(count))) as session,
    ):
        spec = TorrentSpec(metainfo, folder=path.parent, shared_path=path)
        torrent = session.add(spec, listener=listener)
        await torrent.wait_complete()
        before = used()
        say(target=listener.target)
        while torrent.statistics().peers < int(count):  # noqa: ASYNC110 - no event tells of it
            await trio.sleep(LOOK_SECONDS)
        await trio.sleep(SETTLE_SECONDS)
        after, began = used(), cpu_time()
        await trio.sleep(float(seconds))
        say(cpu=cpu_time() - began, memory=after["rss"] - before["rss"])


async def visit(count: str, place: str) -> None:
    """Come with nothing, want nothing, and stay."""
    hashes = sparse_torrent(100 << 20).info.info_hashes
    dial = dial_unix(place)

    async def come(number: int) -> None:
        stream = await dial("", 0, "")
        wire = PeerWire()
        me = PeerId(number.to_bytes(20, "big"))
        await shake_hands(stream, wire, hashes, me, we_begin=True)
        wire.send(messages.HaveNone())
        await stream.send_buffers(wire.data_to_send())
        while received := await stream.receive_into(wire.get_buffer()):
            for _ in wire.buffer_updated(received):
                pass

    async with trio.open_nursery() as nursery:
        for number in range(int(count)):
            nursery.start_soon(come, number)


def used() -> dict[str, float]:
    """Bytes in memory now and at most."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rss": resident, "peak": peak}


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "seed": seed,
    "get": get,
    "idle": idle,
    "wait": wait,
    "host": host,
    "visit": visit,
}

if __name__ == "__main__":
    trio.run(TASKS[sys.argv[1]], *sys.argv[2:])
