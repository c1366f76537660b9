"""The HTTP client against servers in memory, good and bad ones."""

import gzip
import ssl
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing
import trustme

from tests.engine.helpers import MemoryPeerStream, stream_pair
from tests.engine.web import Answer, MemoryWeb, Request, Script, never_ending, send_raw, silence
from tor_control.address_policy import AddressPolicy
from torrent_onion.engine.http_client import HttpClient, HttpReply
from torrent_onion.engine.second_try import SECOND_TRY_SECONDS
from torrent_onion.protocol.http import HttpError, parse_url

HOST = "t.example"
ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
LIMIT = 100_000
SECONDS = 60.0

Autojump = trio.testing.MockClock


@pytest.fixture
def web(nursery: trio.Nursery) -> MemoryWeb:
    return MemoryWeb(nursery)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def client(web: MemoryWeb, authority: trustme.CA) -> HttpClient:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return HttpClient(web.dial, tls=lambda: context)


def serve(web: MemoryWeb, answer: Answer | Script, host: str = HOST, port: int = 80) -> None:
    web.sites[host, port] = lambda _: answer


def certify(web: MemoryWeb, authority: trustme.CA, host: str, name: str | None = None) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name or host).configure_cert(context)
    web.certificates[host, 443] = context


async def fetch(client: HttpClient, url: str = f"http://{HOST}/a?b") -> HttpReply:
    return await client.fetch(parse_url(url), "token", max_bytes=LIMIT, seconds=SECONDS)


async def test_what_goes_over_the_wire(web: MemoryWeb, client: HttpClient) -> None:
    """Every byte: a change here makes us stand out."""
    serve(web, Answer(b"body", headers=(("Set-Cookie", "id=1"),)))
    for _ in range(2):
        reply = await fetch(client)
        assert reply.body == b"body"
        assert reply.head.status == 200
    request = (
        b"GET /a?b HTTP/1.1\r\n"
        b"Host: t.example\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"\r\n"
    )
    assert [sent.raw for sent in web.requests] == [request, request]
    assert web.dialled == 2 * [(HOST, 80, "token")]


async def test_a_part(web: MemoryWeb, client: HttpClient) -> None:
    serve(web, Answer(b"b" * 5, 206, (("Content-Range", "bytes 5-9/20"),)))
    response = await client.open(
        parse_url(f"http://{HOST}/"), "token", byte_range=range(5, 10), seconds=SECONDS
    )
    assert await response.receive(5) == b"b" * 5
    assert await response.receive(0) == b""
    await response.aclose()
    assert web.requests[0].raw.endswith(b"close\r\nRange: bytes=5-9\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more",
        b"HTTP/1.1 200 OK\r\n\r\nbody",
        b"HTTP/1.0 200 OK\n\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3;x=y\r\nody\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody",
    ],
)
async def test_answers_of_every_make(web: MemoryWeb, client: HttpClient, data: bytes) -> None:
    serve(web, send_raw(data))
    assert (await fetch(client)).body == b"body"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (send_raw(b""), "speak HTTP|without an answer"),
        (send_raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "speak HTTP"),
        (send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody"), "speak HTTP"),
        (send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"), "speak"),
        (send_raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), "speak HTTP|without an answer"),
        (
            send_raw(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"4\r\nbody\r\n0\r\n\r\n"
            ),
            "two lengths",
        ),
        (send_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody"), "speak HTTP"),
        (Answer(gzip.compress(bytes(10**6)), headers=(("Content-Encoding", "gzip"),)), "compress"),
        (Answer(b"", headers=(("Content-Length", "9" * 15),)), "too long"),
        (Answer(bytes(LIMIT + 1)), "too long"),
        (never_ending(b"HTTP/1.1 200 OK\r\n\r\n", bytes(9999)), "too long"),
        (
            never_ending(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"
            ),
            "too long",
        ),
        (
            never_ending(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1;" + b"x" * 9999 + b"\r\na\r\n",
            ),
            "too long",
        ),
        (never_ending(b"HTTP/1.1 200 OK\r\n", b"Name: value\r\n"), "speak HTTP"),
        (never_ending(b"", b"HTTP/1.1 100 Continue\r\nName: value\r\n\r\n"), "too long"),
        (never_ending(b"HTTP/1.1 200 ", b"OK" * 999), "speak HTTP"),
    ],
)
async def test_answers_that_are_refused(
    web: MemoryWeb, client: HttpClient, answer: Answer | Script, reason: str
) -> None:
    serve(web, answer)
    with pytest.raises(HttpError, match=reason):
        await fetch(client)
    await trio.testing.wait_all_tasks_blocked()
    assert web.open_connections == 0


@pytest.mark.parametrize(
    "script",
    [
        silence,
        never_ending(b"", b"H", pause=30.1),
        never_ending(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=1),
        never_ending(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", pause=1),
        never_ending(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=1),
    ],
)
async def test_servers_that_drip_are_left_in_time(
    web: MemoryWeb, client: HttpClient, script: Script, autojump_clock: Autojump
) -> None:
    serve(web, script)
    start = trio.current_time()
    with pytest.raises(HttpError, match="longer than 60 seconds"):
        await fetch(client)
    assert trio.current_time() - start == pytest.approx(SECONDS)


async def test_redirects_share_the_deadline(
    web: MemoryWeb, client: HttpClient, autojump_clock: Autojump
) -> None:
    async def slowly(stream: trio.abc.Stream) -> None:
        await trio.sleep(25)
        await stream.send_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")

    serve(web, slowly)
    with pytest.raises(HttpError, match="longer than 60 seconds"):
        await fetch(client)
    assert len(web.requests) == 3


async def test_a_lost_connection(web: MemoryWeb, client: HttpClient) -> None:
    with pytest.raises(OSError, match="nobody"):
        await fetch(client)

    async def dial(host: str, port: int, isolation: str) -> MemoryPeerStream:
        ours, theirs = stream_pair()
        await theirs.aclose()
        return ours

    with pytest.raises(HttpError, match="was lost"):
        await fetch(HttpClient(dial))


@pytest.mark.parametrize(("host", "tokens"), [(ONION, 2), (HOST, 1)])
async def test_an_onion_that_hangs_is_reached_by_other_circuits(
    web: MemoryWeb, autojump_clock: Autojump, host: str, tokens: int
) -> None:
    serve(web, Answer(b"body"), host)
    dialled: list[str] = []

    async def dial(name: str, port: int, isolation: str) -> MemoryPeerStream:
        dialled.append(isolation)
        if len(dialled) == 1:
            await trio.sleep(50)  # tor's own two minutes, or a slow server
        return await web.dial(name, port, isolation)

    start = trio.current_time()
    reply = await fetch(HttpClient(dial), f"http://{host}/")
    assert reply.body == b"body"
    assert len(set(dialled)) == len(dialled) == tokens
    waited = SECOND_TRY_SECONDS if tokens == 2 else 50
    assert trio.current_time() - start == pytest.approx(waited, abs=0.1)


class TestRedirects:
    async def test_they_are_followed_and_judged(self, web: MemoryWeb, client: HttpClient) -> None:
        def redirect(request: Request) -> Answer:
            count = int(request.target.removeprefix("/"))
            if count == 0:
                return Answer(b"there")
            return Answer(b"x" * LIMIT * 2, 302, (("Location", f"/{count - 1}"),))

        web.sites[HOST, 80] = redirect
        assert (await fetch(client, f"http://{HOST}/5")).body == b"there"
        with pytest.raises(HttpError, match="more than 5 times"):
            await fetch(client, f"http://{HOST}/6")
        assert {token for _, _, token in web.dialled} == {"token"}

    @pytest.mark.parametrize(
        ("url", "location"),
        [
            (f"http://{ONION}/", f"http://{HOST}/"),
            (f"http://{ONION}/", f"https://{HOST}/"),
            (f"http://{HOST}/", "udp://other.example:1/"),
            (f"http://{HOST}/", "file:///etc/passwd"),
            (f"http://{HOST}/", "http://user:password@other.example/"),
        ],
    )
    async def test_what_is_refused_is_not_dialled(
        self, web: MemoryWeb, client: HttpClient, url: str, location: str
    ) -> None:
        for host in (HOST, ONION):
            serve(web, Answer(b"", 301, (("Location", location),)), host)
        with pytest.raises(HttpError, match="redirects"):
            await fetch(client, url)
        assert len(web.dialled) == 1

    async def test_never_from_https_to_http(
        self, web: MemoryWeb, client: HttpClient, authority: trustme.CA
    ) -> None:
        certify(web, authority, HOST)
        serve(web, Answer(b"", 301, (("Location", f"http://{HOST}/"),)), port=443)
        with pytest.raises(HttpError, match="from https to http"):
            await fetch(client, f"https://{HOST}/")
        assert web.dialled == [(HOST, 443, "token")]

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "10.0.0.1",
            "169.254.169.254",
            "localhost",
            "router.lan",
            "0.0.0.0",
            "224.0.0.1",
        ],
    )
    async def test_into_the_users_own_network_the_dialer_says_no(
        self, web: MemoryWeb, host: str
    ) -> None:
        """The client passes on every host it is redirected to, and nothing else dials."""
        policy = AddressPolicy()

        async def dial(name: str, port: int, isolation: str) -> MemoryPeerStream:
            return await web.dial(policy.may_dial(name, port), port, isolation)

        serve(web, Answer(b"", 302, (("Location", f"http://{host}/"),)), "t.torproject.org")
        with pytest.raises(OSError, match="address"):
            await fetch(HttpClient(dial), "http://t.torproject.org/")
        assert web.dialled == [("t.torproject.org", 80, "token")]


class TestTls:
    async def test_a_good_certificate(
        self, web: MemoryWeb, client: HttpClient, authority: trustme.CA
    ) -> None:
        for host in (HOST, ONION):
            certify(web, authority, host)
            serve(web, Answer(b"secret"), host, 443)
            assert (await fetch(client, f"https://{host}/")).body == b"secret"
        assert web.requests[0].headers["host"] == HOST

    async def test_the_host_is_named_in_the_clear_hello(
        self, web: MemoryWeb, client: HttpClient, authority: trustme.CA
    ) -> None:
        """Servers with many names choose their certificate by it (SNI)."""
        named: list[str | None] = []
        certify(web, authority, HOST)
        web.certificates[HOST, 443].sni_callback = lambda _, name, __: named.append(name)
        serve(web, Answer(b"secret"), port=443)
        await fetch(client, f"https://{HOST}/")
        assert named == [HOST]

    async def test_a_certificate_for_somebody_else(
        self, web: MemoryWeb, client: HttpClient, authority: trustme.CA
    ) -> None:
        for host in (HOST, ONION):
            certify(web, authority, host, "other.example")
            serve(web, Answer(b"secret"), host, 443)
            with pytest.raises(HttpError, match="certificate is not valid"):
                await fetch(client, f"https://{host}/")
        assert web.requests == []

    async def test_a_certificate_nobody_vouches_for(
        self, web: MemoryWeb, client: HttpClient
    ) -> None:
        certify(web, trustme.CA(), HOST)
        serve(web, Answer(b"secret"), port=443)
        with pytest.raises(HttpError, match="certificate is not valid"):
            await fetch(client, f"https://{HOST}/")
        with pytest.raises(HttpError, match="certificate is not valid"):
            await fetch(HttpClient(web.dial), f"https://{HOST}/")

    async def test_no_tls_where_it_should_be(self, web: MemoryWeb, client: HttpClient) -> None:
        serve(web, send_raw(b"HTTP/1.1 200 OK\r\n\r\n"), port=443)
        with pytest.raises(HttpError, match="TLS"):
            await fetch(client, f"https://{HOST}/")


async def test_cancelling_leaves_no_connection(
    web: MemoryWeb, client: HttpClient, autojump_clock: Autojump
) -> None:
    scripts: list[Callable[[], Script]] = [
        lambda: silence,
        lambda: never_ending(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=1),
        partial(send_raw, b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"),
    ]
    for script in scripts:
        for checkpoints in range(12):
            serve(web, script())
            with trio.CancelScope() as scope:

                async def cancel_later(count: int, scope: trio.CancelScope) -> None:
                    for _ in range(count):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                web.nursery.start_soon(cancel_later, checkpoints, scope)
                await fetch(client)
            await trio.sleep(2)  # a server sees it when it next sends
            assert web.open_connections == 0
