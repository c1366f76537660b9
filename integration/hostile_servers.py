"""A web server and a peer behind onion services that do whatever a script tells them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha1

import trio

from tor_control.controller import Tor
from tor_control.onion_service import OnionService
from tor_control.tor_stream import TorStream
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerId
from torrent_onion.core.metainfo import Metainfo, parse_metainfo
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.messages import HaveAll, Unchoke
from torrent_onion.protocol.peer_wire import PeerWire, Requests

PIECE = 16384
Serve = Callable[[TorStream], Awaitable[None]]

LYING_HANDSHAKE = encode(
    {
        b"ipv4": b"\x7f\0\0\1",
        b"ipv6": bytes(15) + b"\1",
        b"m": {b"ut_pex": 1},
        b"p": 22,
        b"v": b"hostile 1.0",
        b"yourip": b"\xc0\x00\x02\x01",
    }
)
DHT_BYTE = 27
"""Where a handshake has the bit that says "I am in the DHT" (BEP 5)."""
DHT_PORT = b"\0\0\0\x03\x09\0\x16"


@asynccontextmanager
async def served(tor: Tor, serve: Serve) -> AsyncIterator[OnionService]:
    """Serve every connection to a new onion service by a script of its own task."""

    async def one(stream: TorStream) -> None:
        try:
            await serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery, tor.publish() as onion:

        async def accept() -> None:
            while True:
                nursery.start_soon(one, await onion.listener.accept())

        nursery.start_soon(accept)
        yield onion
        nursery.cancel_scope.cancel()


async def request_target(stream: TorStream) -> str:
    """Read a request; give what it asks for.

    Raises:
        trio.BrokenResourceError: The client hung up before: it had got elsewhere what it wanted.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            raise trio.BrokenResourceError("no request came")
        data += more
    return data.split(b" ")[1].decode()


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def drip(stream: TorStream, start: bytes, more: bytes) -> None:
    """Never come to an end."""
    await stream.send_all(start)
    while True:
        await stream.send_all(more)
        await trio.sleep(0.05)


def hostile_torrent(data: bytes) -> Metainfo:
    """One piece in files whose names all lead elsewhere, with trackers of every kind."""
    names = (
        (b"..", b"..", b"..", b"escaped"),
        (b"/etc/escaped",),
        (b"C:\\escaped",),
        (b"CON",),
        (b"a\0b",),
        ("\u202egnp.exe".encode(),),
        (b"Same",),
        (b"same",),
    )
    each = len(data) // len(names)
    lengths = [each] * (len(names) - 1) + [len(data) - each * (len(names) - 1)]
    files: list[dict[bytes, object]] = [
        {b"length": length, b"path": list(name)}
        for length, name in zip(lengths, names, strict=True)
    ]
    link = {b"attr": b"l", b"length": 0, b"path": [b"link"]}
    files.append({**link, b"symlink path": [b"..", b"..", b"outside"]})
    info = {
        b"files": files,
        b"name": b"../../escaped",
        b"piece length": PIECE,
        b"pieces": sha1(data).digest(),
    }
    trackers = [b"udp://127.0.0.1:6969/announce", b"wss://t.example", b"ftp://t.example/a"]
    torrent = {b"announce-list": [trackers], b"info": info}
    return parse_metainfo(encode(torrent))  # type: ignore[arg-type]  # nested dictionaries of bytes


async def lying_peer(stream: TorStream, metainfo: Metainfo, data: bytes) -> None:
    """Serve the torrent, and say everything on the way that should not be listened to."""
    wire = PeerWire(max_pieces=metainfo.info.layout.num_pieces)
    ours = Handshake(
        info_hash=metainfo.info.info_hashes.primary,
        peer_id=PeerId(bytes(20)),
        extensions=True,
        fast=True,
        v2=False,
        dht=False,
    )
    greeted = False
    while count := await stream.receive_into(wire.get_buffer()):
        for event in wire.buffer_updated(count):
            if isinstance(event, Handshake) and not greeted:
                greeted = True
                wire.send_handshake(ours)
                wire.send(HaveAll())
                opening = bytearray(b"".join(wire.data_to_send()))
                opening[DHT_BYTE] |= 1
                await stream.send_all(opening)
                size = (len(LYING_HANDSHAKE) + 2).to_bytes(4, "big")
                await stream.send_all(size + b"\x14\0" + LYING_HANDSHAKE + DHT_PORT)
                wire.send(Unchoke())
            elif isinstance(event, Requests):
                for piece, begin, length in event.blocks:
                    wire.send_piece(piece, begin, data[begin : begin + length])
        if buffers := wire.data_to_send():
            await stream.send_buffers(buffers)
