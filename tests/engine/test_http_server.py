"""The HTTP server, with clients that behave and clients that do not."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h11
import pytest
import trio

from tests.engine.helpers import MemoryListener, MemoryPeerStream, stream_pair
from torrent_onion.engine.http_server import (
    HEAD_SECONDS,
    MAX_HEAD,
    MAX_REQUESTS,
    SEND_SECONDS,
    Answer,
    HttpServer,
    HttpServerStatistics,
)
from torrent_onion.engine.transport import PeerStream

GET = b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n/x?y"

Listener = MemoryListener


def echo(target: bytes) -> Answer:
    return Answer(200, target)


@asynccontextmanager
async def serving(
    respond: Callable[[bytes], Answer] = echo, max_connections: int = 10
) -> AsyncIterator[tuple[Listener, HttpServer]]:
    listener = MemoryListener()
    server = HttpServer(listener, respond, max_connections=max_connections)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield listener, server
        nursery.cancel_scope.cancel()


async def connect(listener: Listener) -> MemoryPeerStream:
    ours, theirs = stream_pair()
    await listener.send.send(theirs)
    await trio.testing.wait_all_tasks_blocked()
    return ours


async def receive_all(stream: PeerStream) -> bytes:
    """Everything until the other side ends it."""
    buffer, data = memoryview(bytearray(65536)), b""
    while count := await stream.receive_into(buffer):
        data += bytes(buffer[:count])
    return data


async def receive(stream: PeerStream, size: int) -> bytes:
    buffer, data = memoryview(bytearray(65536)), b""
    while len(data) < size:
        count = await stream.receive_into(buffer)
        assert count
        data += bytes(buffer[:count])
    return data


async def drip(stream: PeerStream) -> None:
    while True:
        await stream.send_buffers([b"x"])
        await trio.sleep(1)


async def exchange(data: bytes) -> bytes:
    """Send it all, half-close as far as streams allow it, and read until the end."""
    async with serving() as (listener, _):
        stream = await connect(listener)
        await stream.send_buffers([data])
        with trio.fail_after(1000):
            return await receive_all(stream)


class TestAnswers:
    async def test_the_connection_is_kept_as_clients_expect(self) -> None:
        async with serving() as (listener, server):
            stream = await connect(listener)
            for _ in range(3):
                await stream.send_buffers([GET])
                assert await receive(stream, len(OK)) == OK
            assert server.statistics() == HttpServerStatistics(1, 3, 0)

    async def test_pipelined_requests_are_answered_in_their_order(self) -> None:
        async with serving() as (listener, _):
            stream = await connect(listener)
            await stream.send_buffers([GET + GET.replace(b"/x?y", b"/z?y") + GET])
            expected = OK + OK.replace(b"/x?y", b"/z?y") + OK
            assert await receive(stream, len(expected)) == expected

    async def test_a_request_may_come_byte_by_byte(self) -> None:
        async with serving() as (listener, _):
            stream = await connect(listener)
            for byte in GET:
                await stream.send_buffers([bytes([byte])])
            assert await receive(stream, len(OK)) == OK

    @pytest.mark.parametrize(
        "request_",
        [
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
            b"GET /x?y HTTP/1.0\r\n\r\n",
        ],
    )
    async def test_it_is_closed_if_the_client_wants_that(self, request_: bytes) -> None:
        assert await exchange(request_) == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    async def test_a_connection_has_an_end(self, autojump_clock: trio.testing.MockClock) -> None:
        del autojump_clock
        assert await exchange(GET * (MAX_REQUESTS + 5)) == OK * MAX_REQUESTS

    async def test_an_answer_for_h11_too(self) -> None:
        client = h11.Connection(h11.CLIENT)
        data = client.send(h11.Request(method="GET", target="/q", headers=[("Host", "a")]))
        assert data is not None
        client.send(h11.EndOfMessage())
        async with serving(lambda _: Answer(404)) as (listener, _):
            stream = await connect(listener)
            await stream.send_buffers([data])
            client.receive_data(await receive(stream, 1))
        response = client.next_event()
        assert isinstance(response, h11.Response)
        assert (response.status_code, response.reason) == (404, b"Not Found")
        assert isinstance(client.next_event(), h11.EndOfMessage)


class TestHostileClients:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"405"),
            (b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
            (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nabcde"), b"400"),
            (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 1000000000\r\n\r\n"), b"400"),
            (GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), b"400"),
            (
                GET.replace(
                    b"\r\n\r\n", b"\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                b"400",
            ),
            (b"GET /x HTTP/1.1\r\n\r\n", b"400"),
            (b"GET /x\r\n\r\n", b"400"),
            (b"GET /x y HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
            (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
            (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
            (b"\x13BitTorrent protocol" + bytes(48) + b"\r\n\r\n", b"400"),
            (b"GET /" + b"x" * MAX_HEAD * 2, b"431"),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEAD, b"431"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * MAX_HEAD * 2, b"431"),
        ],
    )
    async def test_what_is_refused_ends_the_connection_or_gets_its_status(
        self, data: bytes, status: bytes, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        answer = await exchange(data)
        assert answer.startswith(b"HTTP/1.1 " + status + b" ")
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b"\r\n\r\n")

    async def test_rubbish_behind_a_request_does_not_hurt_it(self) -> None:
        answer = await exchange(GET + b"\x00\x01\x02\r\n\r\n")
        assert answer.startswith(OK + b"HTTP/1.1 400 ")

    async def test_a_head_that_never_ends_is_waited_for_so_long(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        async with serving() as (listener, server):
            stream = await connect(listener)
            began = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await drip(stream)
            assert trio.current_time() - began == pytest.approx(HEAD_SECONDS, abs=2)
            assert server.statistics().connections == 0

    async def test_who_takes_no_answer_is_left_after_some_time(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        stream = NeverTaking()
        async with serving() as (listener, server):
            await listener.send.send(stream)  # type: ignore[arg-type]  # a PeerStream like the others
            await trio.sleep(SEND_SECONDS - 1)
            assert server.statistics().connections == 1
            await trio.sleep(2)
            assert server.statistics().connections == 0
            assert stream.is_closed

    async def test_who_keeps_silent_longest_makes_room(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        async with serving(max_connections=3) as (listener, server):
            streams = [await connect(listener) for _ in range(3)]
            await streams[0].send_buffers([GET])  # so this one has been waited for last
            assert await receive(streams[0], len(OK)) == OK
            streams += [await connect(listener) for _ in range(2)]
            assert server.statistics() == HttpServerStatistics(3, 1, 2)
            for number in (1, 2):
                assert await receive_all(streams[number]) == b""
            for number in (0, 3, 4):
                await streams[number].send_buffers([GET])
                assert await receive(streams[number], len(OK)) == OK

    async def test_when_all_are_being_served_a_new_one_is_sent_away(self) -> None:
        async with serving(max_connections=2) as (listener, server):
            for _ in range(2):
                await listener.send.send(NeverTaking())  # type: ignore[arg-type]  # as above
            await trio.testing.wait_all_tasks_blocked()
            late = await connect(listener)
            assert await receive_all(late) == b""
            assert server.statistics().connections == 2

    async def test_a_thousand_silent_clients_shut_nobody_out(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        del autojump_clock
        async with serving(max_connections=5) as (listener, server):
            silent = [await connect(listener) for _ in range(200)]
            stream = await connect(listener)
            await stream.send_buffers([GET])
            assert await receive(stream, len(OK)) == OK
            assert server.statistics().connections == 5
            assert len(silent) == 200

    async def test_a_bug_ends_one_connection_and_names_nobody(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def respond(target: bytes) -> Answer:
            if target == b"/bad":
                raise KeyError
            return Answer(200, target)

        async with serving(respond) as (listener, server):
            stream = await connect(listener)
            with caplog.at_level(logging.DEBUG):
                await stream.send_buffers([GET.replace(b"/x?y", b"/bad")])
                assert await receive_all(stream) == b""
            good = await connect(listener)
            await good.send_buffers([GET])
            assert await receive(good, len(OK)) == OK
            assert server.statistics().connections == 1
        assert "a bug ended a connection" in caplog.text
        assert "/bad" not in caplog.text

    @pytest.mark.parametrize("data", [b"", b"G", GET[:-1], GET])
    async def test_who_leaves_is_forgotten(self, data: bytes) -> None:
        async with serving() as (listener, server):
            stream = await connect(listener)
            await stream.send_buffers([data])
            await stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert server.statistics().connections == 0


class NeverTaking:
    """A connection whose other side asks, and then reads nothing."""

    def __init__(self) -> None:
        self._rest = GET
        self.is_closed = False

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        count = len(self._rest)
        buffer[:count] = self._rest
        self._rest = b""
        return count

    async def send_buffers(self, buffers: object) -> None:
        del buffers
        await trio.sleep_forever()

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def test_cancelling_closes_every_connection() -> None:
    async with serving() as (listener, _):
        stream = await connect(listener)
        stuck = NeverTaking()
        await listener.send.send(stuck)  # type: ignore[arg-type]  # as above
        await trio.testing.wait_all_tasks_blocked()
    assert await receive_all(stream) == b""
    assert stuck.is_closed
