"""How programs that know nothing of Tor reach an onion: a port that is piped to it, and a tracker.

The tracker gives everybody that port as the only peer.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from integration.bench import raw_sockets
from torrent_onion.core.bencoding import encode

READ = 1 << 16
INTERVAL = 1800
"""Seconds between announces."""


@contextmanager
def forwarder(listener: socket.socket, socks_port: int, onion: str, port: int) -> Iterator[None]:
    """Pipe whoever connects to an onion, each on a circuit of its own.

    Args:
        listener: Where they connect; closed in the end.
        socks_port: Of a tor on 127.0.0.1.
        onion: The address.
        port: Its virtual port.
    """

    def forward(inner: socket.socket) -> None:
        with raw_sockets.dial(socks_port, onion, port) as outer:
            back = threading.Thread(target=_pipe, args=(outer, inner), daemon=True)
            back.start()
            _pipe(inner, outer)
            back.join()

    with _accepting(listener, forward):
        yield


@contextmanager
def tracker_of_one(listener: socket.socket, peer: socket.socket) -> Iterator[str]:
    """Answer every announce with one address.

    Args:
        listener: Where it is asked; closed in the end.
        peer: The listener whose address it is.

    Yields:
        The announce URL.
    """
    host, port = peer.getsockname()
    body = encode({b"interval": INTERVAL, b"peers": socket.inet_aton(host) + port.to_bytes(2)})

    def answer(asker: socket.socket) -> None:
        asker.recv(READ)
        asker.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    host, port = listener.getsockname()
    with _accepting(listener, answer):
        yield f"http://{host}:{port}/announce"


@contextmanager
def _accepting(listener: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serve every connection in a thread until the block is left."""

    def serve_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        listener.close()
        thread.join()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(READ):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
