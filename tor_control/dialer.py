"""The only outbound socket of the program: everything goes to tor's SOCKS port, or nowhere.

Four rules:

- There is no resolver and no fallback: the host goes to tor as text, as the address policy gave it.
- The isolation token decides who may share a circuit; without a confirmed one nothing is asked for.
- Every attempt has a deadline.
- While all traffic is cut (Tor is lost), nothing is dialled and nothing is queued for later.

``ruff`` refuses ``socket`` and ``trio.socket`` everywhere but here and in ``listener.py``.
"""

import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import trio
import trio.socket

from tor_control.address_policy import AddressPolicy
from tor_control.endpoints import Endpoint, TcpEndpoint, UnixEndpoint
from tor_control.errors import (
    DialCut,
    DialError,
    DialTimeout,
    InvalidEndpoint,
    SocksUnavailable,
)
from tor_control.socks5 import Socks5Client
from tor_control.tor_stream import LiveStreams, TorStream

DIAL_SECONDS = 125.0
"""A little more than tor's own SocksTimeout (120 s), so that tor's named reason comes first."""
BACKLOG_PAUSE_SECONDS = 0.05
"""When tor's queue of waiting connections is full; tor empties it in milliseconds."""


@dataclass(frozen=True, slots=True)
class DialerStatistics:
    """What the dialer has done since the start.

    Args:
        live: Streams that are open now, accepted ones and attempts under way included.
        dialing: Attempts under way.
        opened: Connections that were made.
        failed: Attempts that were not, by the name of the error's class.
    """

    live: int
    dialing: int
    opened: int
    failed: Mapping[str, int]


class Dialer:
    """Makes connections through one tor.

    Args:
        endpoint: Tor's SOCKS port: a Unix socket, or TCP on loopback.
        policy: What may be dialled.
        streams: The register of the program's streams, shared with the listeners.

    Raises:
        InvalidEndpoint: The SOCKS port is on another machine.
    """

    def __init__(
        self, endpoint: Endpoint, policy: AddressPolicy, streams: LiveStreams | None = None
    ) -> None:
        self.streams = LiveStreams() if streams is None else streams
        self._endpoint = _near(endpoint)
        self._policy = policy
        self._dialing = 0
        self._opened = 0
        self._failed: Counter[str] = Counter()

    async def dial(self, host: str, port: int, isolation: str) -> TorStream:
        """Connect to ``host:port`` through tor.

        Args:
            host: An onion host, a domain name or an IP address; tor does what looking up there is.
            port: 1 to 65535.
            isolation: Connections with different tokens never share a circuit; 1 to 255 bytes.

        Raises:
            DialError: The class says why; see ``errors.py``. AddressRefused and DialCut come
                before a single byte is sent.

        Cancelling ends the attempt and closes its socket.
        """
        self._dialing += 1
        try:
            stream = await self._dial(self._policy.may_dial(host, port), port, isolation)
        except DialError as error:
            self._failed[type(error).__name__] += 1
            raise
        finally:
            self._dialing -= 1
        self._opened += 1
        return stream

    def cut_all(self) -> None:
        """Stop all traffic now: every stream breaks, and dialling raises DialCut."""
        self.streams.cut()

    def resume(self, endpoint: Endpoint | None = None) -> None:
        """Allow traffic again.

        Args:
            endpoint: Tor's SOCKS port, where it is another one now.
        """
        if endpoint is not None:
            self._endpoint = _near(endpoint)
        self.streams.resume()

    def statistics(self) -> DialerStatistics:
        """Return the figures of this moment."""
        return DialerStatistics(
            live=len(self.streams),
            dialing=self._dialing,
            opened=self._opened,
            failed=MappingProxyType(dict(self._failed)),
        )

    async def _dial(self, host: str, port: int, isolation: str) -> TorStream:
        client = Socks5Client(host, port, isolation.encode())
        try:
            with trio.fail_after(DIAL_SECONDS):
                stream = await self._connect()
                try:
                    await _negotiate(stream, client)
                except BaseException:
                    stream.close()
                    raise
        except trio.TooSlowError:
            raise DialTimeout from None
        return stream

    async def _connect(self) -> TorStream:
        """Connect to tor itself."""
        while not self.streams.is_cut:
            try:
                return self.streams.adopt(await _connected_socket(self._endpoint))
            except BlockingIOError:
                await trio.sleep(BACKLOG_PAUSE_SECONDS)
            except DialError:
                raise
            except OSError as error:
                raise SocksUnavailable from error
        raise DialCut


def connect_control(endpoint: Endpoint) -> socket.socket:
    """Connect to a control port, for stem; blocks, so it is called in a thread.

    Args:
        endpoint: A Unix socket, or TCP on loopback.

    Raises:
        OSError: Nothing listens there, or we may not.
    """
    family, address = _place(endpoint)
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _negotiate(stream: TorStream, client: Socks5Client) -> None:
    try:
        while True:
            await stream.send_all(client.data_to_send())
            received = await stream.receive_some(client.wanted)
            if not received:
                client.receive_eof()
            client.receive_data(received)
            if not client.wanted:
                break
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise (DialCut if stream.was_cut else SocksUnavailable) from error
    if stream.was_cut:
        raise DialCut


async def _connected_socket(endpoint: Endpoint) -> trio.socket.SocketType:
    """Connect a socket.

    Raises:
        BlockingIOError: A Unix socket whose queue is full.
        OSError: Nothing listens there, or we may not.
    """
    family, address = _place(endpoint)
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await connection.connect(address)
    except BaseException:
        connection.close()
        raise
    try:
        # A Unix socket whose queue is full answers EAGAIN, which trio takes for "under way".
        connection.getpeername()
    except OSError as error:
        connection.close()
        raise BlockingIOError from error
    return connection


def _place(endpoint: Endpoint) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    match endpoint:
        case UnixEndpoint(path):
            return socket.AF_UNIX, path
        case TcpEndpoint(host, port):
            return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)


def _near(endpoint: Endpoint) -> Endpoint:
    """Tokens and host names go to the SOCKS port in the clear, so it must be on this machine."""
    if isinstance(endpoint, TcpEndpoint) and not endpoint.is_loopback:
        raise InvalidEndpoint(
            "Tor's SOCKS port is on another machine, and everybody between could read along; "
            "use a tor on this one."
        )
    return endpoint
