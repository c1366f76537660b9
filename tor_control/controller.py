"""``open_tor()``: the one way to Tor, and the facade that the rest of the program sees.

Two rules. What :class:`Tor` gives out (its endpoints, its onion addresses) stays the same for as
long as it is open, also when tor itself ends and comes back. And when :func:`open_tor` is left, for
whatever reason, nothing that it started is left behind.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from tor_control.address_policy import TOR_PORTS, AddressPolicy
from tor_control.bootstrap import wait_bootstrapped
from tor_control.config import TorConfig
from tor_control.control_connection import ControlConnection
from tor_control.dialer import Dialer, DialerStatistics
from tor_control.directory_circuits import keep_few
from tor_control.discovery import find_source
from tor_control.endpoints import TcpEndpoint
from tor_control.errors import ControlFailed, TorError, TorLost
from tor_control.events import Connected, TorEvent, Warning_
from tor_control.nursery import open_plain_nursery
from tor_control.onion_address import OnionKey
from tor_control.onion_service import OnionService, ServiceLimits, publish
from tor_control.supervisor import Source, Supervisor
from tor_control.tor_stream import TorStream

__all__ = ["Tor", "TorConfig", "TorStatistics", "open_tor"]

LOSS_IS_NOTICED = 2.0
"""Seconds after which the loss of tor has been noticed, if a failure came from that."""


@dataclass(frozen=True, slots=True)
class TorStatistics:
    """The figures of one moment.

    Args:
        is_up: Whether traffic may flow.
        losses: How often tor was out of reach.
        onion_services: How many are published.
        dialer: What was dialled.
    """

    is_up: bool
    losses: int
    onion_services: int
    dialer: DialerStatistics


class Tor:
    """A tor that is ready; made by :func:`open_tor`.

    Args:
        source: Where it comes from.
        connection: The first control connection.
        config: What the user chose.
        on_event: Told of losses and returns.
    """

    def __init__(
        self,
        source: Source,
        connection: ControlConnection,
        config: TorConfig,
        on_event: Callable[[TorEvent], None],
    ) -> None:
        self.is_launched = source.is_launched
        self.endpoints = frozenset({source.control, source.socks})
        """Where this process connects to for as long as tor is open: what the guard allows."""
        self.listens_on_loopback = source.sockets is None
        self._sockets = source.sockets
        own_ports = {one.port for one in self.endpoints if isinstance(one, TcpEndpoint)}
        policy = AddressPolicy(
            allow_private=config.allow_private_addresses,
            onion_only=config.onion_only,
            tor_ports=TOR_PORTS | own_ports,
        )
        self._dialer = Dialer(source.socks, policy)
        self._services: dict[OnionService, ControlConnection] = {}
        self._supervisor = Supervisor(
            source,
            connection,
            traffic=self._dialer,
            republish=self._republish,
            on_event=on_event,
            stall_after=config.stall_after,
        )

    @property
    def version(self) -> str:
        """Tor's version, for example ``0.4.9.11``."""
        return ".".join(map(str, self._supervisor.connection.tor_version))

    async def dial(self, host: str, port: int, isolation: str) -> TorStream:
        """Connect through tor; see ``Dialer.dial``.

        Raises:
            DialError: The class says why; DialCut while tor is out of reach.
        """
        return await self._dialer.dial(host, port, isolation)

    @asynccontextmanager
    async def publish(
        self,
        *,
        key: OnionKey | None = None,
        port: int | None = None,
        limits: ServiceLimits | None = None,
    ) -> AsyncIterator[OnionService]:
        """Publish an onion service for as long as the block lasts, losses of tor included.

        Args:
            key: Its identity, for a lasting address; without it a new one.
            port: Its virtual port, for a lasting address; without it a random one.
            limits: For services that many use.

        Yields:
            The service, once a directory has its descriptor.

        Raises:
            ListenFailed: There is no place to forward to.
            PublishFailed: Tor refused, or no directory took it in time.
            ControlFailed: The control port forbids it.
        """
        async with AsyncExitStack() as stack:
            service, connection = await self._publish(stack, key, port, limits)
            self._services[service] = connection
            try:
                yield service
            finally:
                del self._services[service]

    def statistics(self) -> TorStatistics:
        """Return the figures of this moment."""
        return TorStatistics(
            is_up=self._supervisor.is_up,
            losses=self._supervisor.losses,
            onion_services=len(self._services),
            dialer=self._dialer.statistics(),
        )

    async def supervise(self, nursery: trio.Nursery) -> None:
        """Watch over tor; a task of :func:`open_tor`.

        Raises:
            TorLost: Our own tor could not be started again.
        """
        await self._supervisor.run(nursery)

    async def keep_directory_circuits_few(self) -> None:
        """Close what a tor of our own keeps for nothing; a task of :func:`open_tor`."""
        await keep_few(
            current=lambda: self._supervisor.connection,
            is_dialling=lambda: self._dialer.statistics().dialing > 0,
        )

    async def aclose(self) -> None:
        """End all streams and the control connection. Always finishes."""
        self._dialer.cut_all()
        await self._supervisor.connection.aclose()

    async def _publish(
        self,
        stack: AsyncExitStack,
        key: OnionKey | None,
        port: int | None,
        limits: ServiceLimits | None,
    ) -> tuple[OnionService, ControlConnection]:
        """Publish on a connection that stands; begin again when tor is lost meanwhile."""
        while True:
            await self._supervisor.wait_up()
            connection = self._supervisor.connection
            failure: TorError
            try:
                service = await stack.enter_async_context(
                    publish(
                        connection,
                        self._dialer.streams,
                        key=key,
                        port=port,
                        folder=self._sockets,
                        limits=limits,
                    )
                )
            except (TorLost, ControlFailed) as error:
                failure = error
            else:
                return service, connection
            await trio.sleep(LOSS_IS_NOTICED)
            if self._supervisor.is_up and self._supervisor.connection is connection:
                raise failure

    async def _republish(self) -> None:
        """Publish again what the present connection does not hold, all at once.

        Raises:
            TorError: The first failure; the others went on.
        """
        connection = self._supervisor.connection
        failures: list[TorError] = []

        async def republish(service: OnionService) -> None:
            await trio.lowlevel.checkpoint()
            try:
                await service.republish(connection)
            except TorError as error:
                failures.append(error)
                return
            if service in self._services:
                self._services[service] = connection

        async with trio.open_nursery() as nursery:
            for service, held_by in self._services.items():
                if held_by is not connection:
                    nursery.start_soon(republish, service)
        if failures:
            raise failures[0]


@asynccontextmanager
async def open_tor(
    config: TorConfig, on_event: Callable[[TorEvent], None] = lambda _event: None
) -> AsyncIterator[Tor]:
    """Attach to a tor that runs, or launch one of our own, and wait until it is in its network.

    Where `config.where` is ``tcp:...`` or ``unix:...``, that place is used or nothing. ``launch``
    launches or fails. ``auto`` takes the first of these that applies:

    1. A tor of our own, if the user gave a program, lines for its configuration, or wants onions
       only: all that means nothing to the tor of others.
    2. The place that ``TOR_CONTROL_IPC_PATH``, or ``TOR_CONTROL_HOST`` and ``TOR_CONTROL_PORT``,
       name. If it does not work we fail: somebody wanted that one.
    3. On Tails and Whonix the tor of the system, 127.0.0.1:951 or :9051, and never one of our own.
    4. A tor of our own, where a tor program of version 0.4.7 or newer is found. Then everything
       runs through Unix sockets, so that a guard can take all other sockets away, and tor is
       started again if it ends.
    5. The first that lets us in: /run/tor/control and 127.0.0.1:9051 (the system's), 127.0.0.1:9151
       (Tor Browser's).

    Args:
        config: What the user chose.
        on_event: Called on the trio thread with each event; must not block.

    Yields:
        The facade. It survives the loss of tor: see ``supervisor.py``.

    Raises:
        TorNotFound: There is none, or none that may be used.
        TorLaunchFailed, TorTooOld, BootstrapStalled, ControlFailed, InvalidEndpoint: As they say.
        TorLost: Tor was lost for good; also raised while the block runs, which is then cancelled.

    Cancelling ends everything within seconds: streams, onion services, and tor if it is ours.
    """
    async with AsyncExitStack() as stack, open_plain_nursery() as nursery:
        source, connection = await find_source(config, stack, nursery)
        tor = Tor(source, connection, config, on_event)
        stack.push_async_callback(tor.aclose)
        if config.keeper is not None and not tor.is_launched:
            config.keeper.start_nothing()
        on_event(
            Connected(
                tor.version,
                tor.is_launched,
                str(source.control),
                tor.endpoints,
                tor.listens_on_loopback,
            )
        )
        if not tor.is_launched and (config.extra_torrc or config.binary):
            on_event(Warning_("This Tor is not ours, so --torrc and --tor-binary have no effect."))
        await wait_bootstrapped(connection, on_event, stall_after=config.stall_after)
        nursery.start_soon(tor.supervise, nursery)
        if tor.is_launched:
            nursery.start_soon(tor.keep_directory_circuits_few)
        yield tor
        nursery.cancel_scope.cancel()
