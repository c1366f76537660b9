"""HTTP requests for trackers and web seeds, over connections that ``dial`` makes.

- One request, one connection, one circuit's isolation: nothing is kept alive and there are no
  cookies, so nothing ties one request to another.
- An onion that takes long is dialled once more meanwhile, by circuits of its own (second_try.py).
- An exchange is bounded as a whole, in time and in bytes: a deadline for each read would let a
  server that drips keep us for ever.
- Certificates are verified, those of onion services too: who publishes an https URL means it.

h11 does the parsing; what may be asked and believed is decided in ``protocol/http.py``.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import h11
import trio

from torrent_onion.engine.second_try import SECOND_TRY_SECONDS, first_to_answer
from torrent_onion.engine.transport import Buffer, Dial, PeerStream, new_isolation
from torrent_onion.protocol.http import (
    MAX_HEAD,
    HttpError,
    HttpUrl,
    ResponseHead,
    follow_redirect,
    read_head,
    request_headers,
)

RECEIVE_SIZE = 64 * 1024
"""Bytes of one read."""
_MAX_HEADS = 4 * MAX_HEAD
"""Bytes before the answer proper: it may be preceded by a few interim ones (RFC 9110, 15.2)."""
_OVERHEAD_SHARE = 8
"""Chunked framing may take this part (1/n) of a body; real servers need a thousandth."""

MakeTls = Callable[[], ssl.SSLContext]


@cache
def default_tls() -> ssl.SSLContext:
    """Verify certificates against the system's authorities. Reads files, so only once needed."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole answer.

    Attributes:
        head: Status and headers.
        body: All of it.
    """

    head: ResponseHead
    body: bytes


class HttpResponse:
    """An answer whose body is read as it comes. Close it with :meth:`aclose` in any case.

    Attributes:
        url: Who answered, after redirects.
        head: Status and headers.
    """

    def __init__(self, url: HttpUrl, head: ResponseHead, exchange: "_Exchange") -> None:
        self.url = url
        self.head = head
        self._exchange = exchange

    async def receive(self, max_bytes: int) -> bytes:
        """Read some of the body; ``b""`` at its end.

        Args:
            max_bytes: What is left of the caller's limit; a longer body is an error.

        Raises:
            HttpError: The body is too long, broken or cut off.

        There is no deadline in here: the caller has one for all that is read.
        """
        return await self._exchange.receive_body(max_bytes)

    async def aclose(self) -> None:
        """Close the connection at once; never raises but for a cancel."""
        await self._exchange.aclose()


class HttpClient:
    """Asks servers, each time over a new connection.

    Args:
        dial: How they are reached.
        tls: Makes the context that verifies certificates.
    """

    def __init__(self, dial: Dial, *, tls: MakeTls = default_tls) -> None:
        self._dial = dial
        self._tls = tls

    async def fetch(
        self, url: HttpUrl, isolation: str, *, max_bytes: int, seconds: float
    ) -> HttpReply:
        """Get a small resource whole, redirects followed.

        Args:
            url: Where it is.
            isolation: Whose circuit to take; redirects take it as well.
            max_bytes: Of the body.
            seconds: For everything.

        Raises:
            HttpError: The answer cannot be used, did not come in time, or the connection was lost.
            OSError: The server cannot be reached.
        """
        with _deadline(seconds):
            response = await self._open(url, isolation, None)
            try:
                return HttpReply(response.head, await _body(response, max_bytes))
            finally:
                await response.aclose()

    async def open(
        self, url: HttpUrl, isolation: str, *, byte_range: range | None, seconds: float
    ) -> HttpResponse:
        """Ask for a resource, or a part of it, and read its head, redirects followed.

        Args:
            url: Where it is.
            isolation: Whose circuit to take; redirects take it as well.
            byte_range: Only these bytes. The server may send all of it nevertheless.
            seconds: Until the head is here.

        Raises:
            HttpError: The answer cannot be used, did not come in time, or the connection was lost.
            OSError: The server cannot be reached.
        """
        with _deadline(seconds):
            return await self._open(url, isolation, byte_range)

    async def _open(self, url: HttpUrl, isolation: str, byte_range: range | None) -> HttpResponse:
        hops = 0
        while True:
            exchange = await self._connect(url, isolation)
            try:
                head = await exchange.ask(url, byte_range)
                if not head.is_redirect:
                    return HttpResponse(url, head, exchange)
                url = follow_redirect(url, head.location or "", hops)
            except BaseException:
                await exchange.aclose()
                raise
            await exchange.aclose()
            hops += 1

    async def _connect(self, url: HttpUrl, isolation: str) -> "_Exchange":
        stream = _ByteStream(await self._reach(url, isolation))
        return _Exchange(self._encrypt(stream, url.host) if url.is_encrypted else stream)

    async def _reach(self, url: HttpUrl, isolation: str) -> PeerStream:
        first = partial(self._dial, url.host, url.port, isolation)
        if not url.is_onion:
            return await first()
        second = partial(self._dial, url.host, url.port, new_isolation())
        return await first_to_answer(first, lambda: second, after=SECOND_TRY_SECONDS)

    def _encrypt(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        # No server waits for the other side's last word, so neither do we (https_compatible).
        return trio.SSLStream(stream, self._tls(), server_hostname=host, https_compatible=True)


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._received = 0
        self._body_received = 0

    async def ask(self, url: HttpUrl, byte_range: range | None) -> ResponseHead:
        """Send the request and wait for the head of the answer.

        Raises:
            HttpError: There is none, or it cannot be used.
        """
        request = h11.Request(
            method="GET", target=url.target, headers=request_headers(url, byte_range)
        )
        data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _lost(error) from error
        while not isinstance(event := await self._next_event(_MAX_HEADS), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise HttpError("The server closed the connection without an answer.")
        return read_head(event.status_code, event.headers)

    async def receive_body(self, max_bytes: int) -> bytes:
        """Read some of the body; ``b""`` at its end."""
        body_limit = self._body_received + max_bytes
        event = await self._next_event(_MAX_HEADS + body_limit + body_limit // _OVERHEAD_SHARE)
        if not isinstance(event, h11.Data):
            return b""
        self._body_received += len(event.data)
        if self._body_received > body_limit:
            raise HttpError("The server's answer is too long.")
        return bytes(event.data)

    async def aclose(self) -> None:
        """Close the connection at once."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)

    async def _next_event(self, max_received: int) -> object:
        """Give h11's next event, reading no more than so many bytes of the connection in all."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if self._received > max_received:
                    raise HttpError("The server's answer is too long.")
                data = await self._stream.receive_some(RECEIVE_SIZE)
                self._received += len(data)
                self._http.receive_data(bytes(data))
        except h11.RemoteProtocolError as error:
            raise HttpError(f"The server does not speak HTTP properly: {error}.") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _lost(error) from error
        return event


class _ByteStream(trio.abc.Stream):
    """What TLS wants a connection to look like."""

    def __init__(self, stream: PeerStream) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))

    async def send_all(self, data: Buffer) -> None:
        await self._stream.send_buffers((data,))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        received = await self._stream.receive_into(self._buffer[:max_bytes])
        return bytes(self._buffer[:received])

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _body(response: HttpResponse, max_bytes: int) -> bytes:
    if response.head.length is not None and response.head.length > max_bytes:
        raise HttpError("The server's answer is too long.")
    body = bytearray()
    while data := await response.receive(max_bytes - len(body)):
        body += data
    return bytes(body)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise HttpError(f"The server took longer than {seconds:.0f} seconds.") from None


def _lost(error: BaseException) -> HttpError:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HttpError(f"The server's certificate is not valid: {cause.verify_message}.")
    if isinstance(cause, ssl.SSLError):
        return HttpError("The server does not speak TLS properly.")
    return HttpError("The connection to the server was lost.")
