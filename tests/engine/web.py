"""Web servers in memory, reached by a ``dial`` that remembers who was asked."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11
import trio
import trio.testing

from tests.engine.helpers import MemoryPeerStream


@dataclass(frozen=True)
class Request:
    """What a server was asked."""

    host: str
    port: int
    isolation: str
    target: str
    headers: dict[str, str]
    raw: bytes


@dataclass(frozen=True)
class Answer:
    """What a server says; it has a Content-Length unless ``headers`` bring a length."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Script = Callable[[trio.abc.Stream], Awaitable[None]]
"""For servers that do not answer as servers should: it has the connection for itself."""

Handler = Callable[[Request], Answer | Script]


@dataclass
class MemoryWeb:
    """Servers by host and port."""

    nursery: trio.Nursery
    sites: dict[tuple[str, int], Handler] = field(default_factory=dict)
    certificates: dict[tuple[str, int], ssl.SSLContext] = field(default_factory=dict)
    dialled: list[tuple[str, int, str]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    open_connections: int = 0
    dial_seconds: float = 0.0

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        await trio.sleep(self.dial_seconds)
        self.dialled.append((host, port, isolation))
        if (host, port) not in self.sites:
            raise ConnectionRefusedError(f"nobody at {host}")
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs, host, port, isolation)
        return MemoryPeerStream(ours)

    async def _serve(self, stream: trio.abc.Stream, host: str, port: int, isolation: str) -> None:
        self.open_connections += 1
        certificate = self.certificates.get((host, port))
        if certificate is not None:
            stream = trio.SSLStream(stream, certificate, server_side=True, https_compatible=True)
        try:
            request = await _read_request(stream, host, port, isolation)
            self.requests.append(request)
            answer = self.sites[host, port](request)
            if isinstance(answer, Answer):
                await stream.send_all(_encode(answer))
            else:
                await answer(stream)
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open_connections -= 1
            await trio.aclose_forcefully(stream)


async def _read_request(stream: trio.abc.Stream, host: str, port: int, isolation: str) -> Request:
    http = h11.Connection(h11.SERVER)
    raw = b""
    while (event := http.next_event()) is h11.NEED_DATA:
        data = bytes(await stream.receive_some())
        if not data:
            raise trio.BrokenResourceError
        raw += data
        http.receive_data(data)
    assert isinstance(event, h11.Request)
    assert event.method == b"GET"
    headers = {name.decode(): value.decode() for name, value in event.headers}
    return Request(host, port, isolation, event.target.decode(), headers, raw)


def _encode(answer: Answer) -> bytes:
    headers = dict(answer.headers)
    if not {"Content-Length", "Transfer-Encoding"} & headers.keys():
        headers["Content-Length"] = str(len(answer.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Some Reason\r\n{head}\r\n".encode() + answer.body


def send_raw(data: bytes) -> Script:
    """A server that says exactly this and hangs up."""

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)

    return script


def never_ending(start: bytes, more: bytes, *, pause: float = 0) -> Script:
    """A server that goes on and on, at whatever pace."""

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(start)
        while True:
            await trio.sleep(pause)
            await stream.send_all(more)

    return script


async def silence(stream: trio.abc.Stream) -> None:
    """A server that never says anything."""
    await stream.receive_some()
