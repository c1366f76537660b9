"""A small HTTP server for strangers, on connections that a listener gives it (RFC 9112, by h11).

Rules:

- It answers GET, from memory and at once: what is asked is handed to a function that cannot wait.
- Everything a client can do is bounded: the size of a head, the time it takes to arrive or to be
  taken, the requests and the number of connections. Bodies are refused before they are read.
- When there are too many connections, the one that has kept us waiting longest makes room. So
  clients that connect and say nothing never shut out those that do.
- Nothing is logged of what was asked, and an answer has no header that it could do without: no
  ``Server``, and no ``Date``, which would tell how far our clock is off.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import h11
import trio

from torrent_onion.engine.transport import PeerListener, PeerStream

log = logging.getLogger(__name__)

MAX_HEAD = 8 * 1024  # bytes of a request line and its headers; what common servers take
MAX_CONNECTIONS = 500  # at once; with what Tor needs this stays below 1,024 open files
MAX_REQUESTS = 100  # on one connection; a client that wants more makes a new one
HEAD_SECONDS = 60.0  # from the last answer, or from the start, to the end of a request's head
SEND_SECONDS = 60.0  # for an answer to be taken; it mostly fits into Tor's buffers at once
RECEIVE_SIZE = 4 * 1024  # bytes of one read; a request mostly has fewer

OK, BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED = 200, 400, 404, 405
_REASONS = {
    OK: b"OK",
    BAD_REQUEST: b"Bad Request",
    NOT_FOUND: b"Not Found",
    METHOD_NOT_ALLOWED: b"Method Not Allowed",
}
_CLOSE = (b"Connection", b"close")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    Args:
        status: An HTTP status.
        body: Plain bytes.
    """

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpServerStatistics:
    """The figures of one moment.

    Args:
        connections: That are open.
        requests: That were answered, whatever the answer was.
        shed: Connections that were closed to make room for others.
    """

    connections: int
    requests: int
    shed: int


class HttpServer:
    """Answers requests until it is cancelled.

    Args:
        listener: Where connections come in; closing it is the caller's business.
        respond: Given a request's target (path and query, as they came), returns the answer.
        max_connections: At once.
    """

    def __init__(
        self,
        listener: PeerListener,
        respond: Callable[[bytes], Answer],
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listener = listener
        self._respond = respond
        self._max_connections = max_connections
        # In the order in which we began to wait for them.
        self._waiting: dict[trio.CancelScope, None] = {}
        self._connections = self._requests = self._shed = 0

    def statistics(self) -> HttpServerStatistics:
        """Return the figures of this moment."""
        return HttpServerStatistics(self._connections, self._requests, self._shed)

    async def run(self) -> NoReturn:
        """Accept and answer. What one client provokes never reaches the others."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._listener.accept()
                if self._connections >= self._max_connections and not self._make_room():
                    await stream.aclose()
                    continue
                self._connections += 1
                nursery.start_soon(self._serve, stream)

    def _make_room(self) -> bool:
        """Close the connection that has kept us waiting longest, if we wait for any."""
        if not self._waiting:
            return False
        scope = next(iter(self._waiting))
        del self._waiting[scope]
        scope.cancel()
        self._shed += 1
        return True

    async def _serve(self, stream: PeerStream) -> None:
        try:
            await self._converse(_Conversation(stream))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # they left
        except Exception:  # whatever one client provokes, the others must not feel it
            log.exception("a bug ended a connection")
        finally:
            self._connections -= 1
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
                await stream.aclose()

    async def _converse(self, conversation: "_Conversation") -> None:
        # One scope for all waiting: making one twice for each request is a tenth of its cost.
        with trio.CancelScope() as scope:
            for _ in range(MAX_REQUESTS):
                try:
                    request = await self._next_request(conversation, scope)
                except h11.RemoteProtocolError as error:
                    scope.deadline = trio.current_time() + SEND_SECONDS
                    await conversation.send_answer(Answer(error.error_status_hint), last=True)
                    return
                if request is None:
                    return
                answer = Answer(METHOD_NOT_ALLOWED)
                if request.method == b"GET":
                    answer = self._respond(request.target)
                self._requests += 1
                scope.deadline = trio.current_time() + SEND_SECONDS
                if not await conversation.send_answer(answer, last=False):
                    return

    async def _next_request(
        self, conversation: "_Conversation", scope: trio.CancelScope
    ) -> h11.Request | None:
        """Wait for a request, so long and as long as there is room; None if there is no other."""
        scope.deadline = trio.current_time() + HEAD_SECONDS
        self._waiting[scope] = None
        try:
            return await conversation.receive_request()
        finally:
            self._waiting.pop(scope, None)


class _Conversation:
    """One connection, in the words of HTTP."""

    def __init__(self, stream: PeerStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))

    async def receive_request(self) -> h11.Request | None:
        """Read the next request, which has no body; None at the end.

        Raises:
            h11.RemoteProtocolError: This is no request that we take.
        """
        request = await self._next_event()
        if not isinstance(request, h11.Request):
            return None
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in request.headers
        ):
            raise h11.RemoteProtocolError("a request with a body")
        await self._next_event()  # the end of the request, which h11 knows without reading
        return request

    async def send_answer(self, answer: Answer, *, last: bool) -> bool:
        """Send it; return whether another request may follow."""
        if self._http.our_state not in (h11.SEND_RESPONSE, h11.IDLE):
            return False  # what came was so wrong that h11 lets nothing be said any more
        head = self._http.send(_response(answer.status, len(answer.body), last=last)) or b""
        self._http.send(h11.Data(data=answer.body))
        self._http.send(h11.EndOfMessage())
        await self._stream.send_buffers((head, answer.body))
        if {self._http.our_state, self._http.their_state} != {h11.DONE}:
            return False
        self._http.start_next_cycle()
        return True

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            count = await self._stream.receive_into(self._buffer)
            self._http.receive_data(bytes(self._buffer[:count]))
        return event


@lru_cache(maxsize=1024)
def _response(status: int, length: int, *, last: bool) -> h11.Response:
    """The head of an answer. Few differ, and h11 looks closely at each new one."""
    headers = [(b"Content-Type", b"text/plain"), (b"Content-Length", str(length).encode())]
    return h11.Response(
        status_code=status,
        headers=[*headers, _CLOSE] if last else headers,
        reason=_REASONS.get(status, b""),
    )
