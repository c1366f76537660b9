"""One peer in a process of its own, ours or libtorrent; run by the other files here.

    seed TORRENT FILE unix|tcp       serve a file; prints where as a line of JSON
    get TORRENT FOLDER PEER VIA N    fetch over N circuits; prints seconds and what they cost
    swarm-get TORRENT FOLDER PEER VIA    the same, and let others in: prints where, reads its own
                                     onion from stdin, says so, waits for another line, fetches
                                     and says so, and serves until it is ended
    libtorrent-seed TORRENT FOLDER
    libtorrent-get TORRENT FOLDER PEER [SOCKS PORT]
    raw-serve                        send zeros to everybody

``VIA`` is ``unix:PATH``, where the peer listens, or tor's SOCKS port ``tcp:HOST:PORT``. The clock
runs from the moment the peer's address is known until all is verified and under its final name.
"""

import json
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

import libtorrent as lt
import trio

from integration.stock_client import StockClient
from tor_control.address_policy import AddressPolicy
from tor_control.dialer import Dialer
from tor_control.endpoints import parse_endpoint
from tor_control.listener import listen_loopback, listen_unix
from tor_control.tor_stream import LiveStreams, StreamSocket, TorStream
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo, parse_metainfo
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import Dial

LOOK_SECONDS = 0.02
SEND_BUFFER = 1 << 20
"""Bytes; the kernel may allow less."""
ANYBODY = "198.51.100.1:1"
"""The address that a peer behind a Unix socket goes by (RFC 5737)."""


class LoopbackLikeStreams(LiveStreams):
    """Unix sockets with buffers as large as the kernel gives TCP on loopback by itself."""

    def adopt(self, connection: StreamSocket) -> TorStream:
        with socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        return super().adopt(connection)


async def nobody(_host: str, _port: int, _isolation: str) -> TorStream:
    await trio.lowlevel.checkpoint()
    raise OSError("this peer dials nobody")


async def seed(torrent: str, file: str, kind: str) -> None:
    path = Path(file)
    spec = TorrentSpec(read_torrent(torrent), folder=path.parent, shared_path=path)
    streams = LoopbackLikeStreams() if kind == "unix" else LiveStreams()
    async with (
        listen_unix(streams, path.parent)
        if kind == "unix"
        else listen_loopback(streams) as listener,
        open_session(dial=nobody) as session,
    ):
        await session.add(spec, listener=listener).wait_complete()
        say(target=listener.target)
        await trio.sleep_forever()


async def get(torrent: str, folder: str, peer: str, via: str, circuits: str) -> None:
    address = PeerAddress.parse(ANYBODY if peer == "-" else peer)
    spec = TorrentSpec(read_torrent(torrent), folder=Path(folder), peers=(address,))
    dial = dial_unix(via) if peer == "-" else dial_tor(via)
    async with open_session(dial=dial, settings=Settings(circuits=int(circuits))) as session:
        began, used = time.monotonic(), cpu_time()
        await session.add(spec).wait_complete()
        say_measured(time.monotonic() - began, cpu_time() - used)


async def swarm_get(torrent: str, folder: str, peer: str, via: str) -> None:
    streams = LiveStreams()
    async with listen_loopback(streams) as listener, open_session(dial=dial_tor(via)) as session:
        say(target=listener.target)
        spec = TorrentSpec(
            read_torrent(torrent),
            folder=Path(folder),
            peers=(PeerAddress.parse(peer),),
            own_address=PeerAddress.parse(await next_line()),
        )
        say(ready=True)
        await next_line()
        await session.add(spec, listener=listener).wait_complete()
        say(done=True)
        await trio.sleep_forever()


async def next_line() -> str:
    line: str = await trio.to_thread.run_sync(sys.stdin.readline)
    return line.strip()


def read_torrent(path: str) -> Metainfo:
    return parse_metainfo(Path(path).read_bytes())


def dial_unix(place: str) -> Dial:
    streams = LiveStreams()

    async def dial(_host: str, _port: int, _isolation: str) -> TorStream:
        connection = trio.socket.socket(socket.AF_UNIX)
        await connection.connect(place.removeprefix("unix:"))
        return streams.adopt(connection)

    return dial


def dial_tor(place: str) -> Dial:
    policy = AddressPolicy(allow_private=True, onion_only=False, tor_ports=frozenset())
    return Dialer(parse_endpoint(place), policy).dial


def libtorrent_seed(torrent: str, folder: str) -> None:
    with StockClient() as client:
        client.seed(Path(torrent), Path(folder))
        say(target=f"127.0.0.1:{client.port}")
        time.sleep(3600)


def libtorrent_get(torrent: str, folder: str, peer: str, socks_port: str | None = None) -> None:
    proxy = {
        "proxy_type": lt.proxy_type_t.socks5,
        "proxy_hostname": "127.0.0.1",
        "proxy_port": int(socks_port or 0),
        "proxy_peer_connections": True,
        "proxy_hostnames": True,
    }
    with StockClient(proxy if socks_port else None) as client:
        handle = client.add(Path(torrent), Path(folder))
        host, _, port = peer.rpartition(":")
        began, used = time.monotonic(), cpu_time()
        handle.connect_peer((host, int(port)))
        while not handle.status().is_seeding:
            time.sleep(LOOK_SECONDS)
        say_measured(time.monotonic() - began, cpu_time() - used)


def raw_serve() -> None:
    zeros = bytes(1 << 18)

    def pour(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(zeros)
        except OSError:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        say(target=f"127.0.0.1:{server.getsockname()[1]}")
        while True:
            connection, _ = server.accept()
            threading.Thread(target=pour, args=(connection,), daemon=True).start()


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def say_measured(seconds: float, cpu: float) -> None:
    say(seconds=seconds, cpu=cpu)


def cpu_time() -> float:
    """Seconds of this process, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    match sys.argv[1:]:
        case "seed", torrent, file, kind:
            trio.run(seed, torrent, file, kind)
        case "get", torrent, folder, peer, via, circuits:
            trio.run(get, torrent, folder, peer, via, circuits)
        case "swarm-get", torrent, folder, peer, via:
            trio.run(swarm_get, torrent, folder, peer, via)
        case "libtorrent-seed", torrent, folder:
            libtorrent_seed(torrent, folder)
        case "libtorrent-get", torrent, folder, peer, *socks_port:
            libtorrent_get(torrent, folder, peer, *socks_port)
        case ["raw-serve"]:
            raw_serve()


if __name__ == "__main__":
    main()
