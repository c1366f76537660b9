"""The most that Tor carries: bare sockets through SOCKS, each on a circuit of its own."""

import secrets
import selectors
import socket
import threading
import time

READ = 1 << 18
ATTEMPTS = 5


def fetch(socks_port: int, host: str, port: int, size: int, circuits: int) -> float:
    """Read so many bytes in all over so many circuits.

    Returns:
        Seconds from the first dial to the last byte.
    """
    began = time.monotonic()
    opened: list[socket.socket] = []

    def open_one() -> None:
        opened.append(dial(socks_port, host, port))

    threads = [threading.Thread(target=open_one) for _ in range(circuits)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(opened) < circuits:
        raise OSError(f"only {len(opened)} of {circuits} circuits could be had")
    _read(opened, size)
    return time.monotonic() - began


def warm(socks_port: int, host: str, port: int) -> None:
    """Dial once and hang up, with another try where the service is not known everywhere yet."""
    for attempt in range(ATTEMPTS):
        try:
            dial(socks_port, host, port).close()
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(1)
        else:
            return


def _read(connections: list[socket.socket], size: int) -> None:
    buffer = bytearray(READ)
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        while size > 0:
            for key, _ in selector.select():
                received = key.data.recv_into(buffer)
                if not received:
                    raise OSError("a circuit ended early")
                size -= received
    for connection in connections:
        connection.close()


def dial(socks_port: int, host: str, port: int) -> socket.socket:
    """SOCKS5 with user and password (RFC 1928, RFC 1929), the password a new isolation."""
    connection = socket.create_connection(("127.0.0.1", socks_port))
    try:
        _ask(connection, host.encode(), port)
    except BaseException:
        connection.close()
        raise
    return connection


def _ask(connection: socket.socket, name: bytes, port: int) -> None:
    password = secrets.token_hex(8).encode()
    connection.sendall(b"\5\1\2")
    _expect(connection, 2)
    connection.sendall(b"\1\1x" + bytes([len(password)]) + password)
    _expect(connection, 2)
    connection.sendall(b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    reply = _expect(connection, 10)
    if reply[1]:
        raise OSError(f"tor refused: {reply[1]:#x}")


def _expect(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise OSError("tor closed the connection")
    return data
