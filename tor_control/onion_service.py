"""One onion service: made, published, published again after Tor was lost, removed.

Four rules:

- The key is ours, made here and known to nobody else; tor is told to compute the same address, and
  if it says another, nothing is published.
- "Published" means that clients find it (``descriptor_uploads.py``): we listen for that before tor
  is asked, and never say "ready" earlier.
- The service is tied to the control connection (never ``Detach``): however we end, it ends too.
- The virtual port is random, so that nothing but the address itself links two starts.
"""

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import trio

from tor_control.address_policy import MAX_PORT, TOR_PORTS
from tor_control.control_port import ControlPort, HsDescEvent
from tor_control.descriptor_uploads import DescriptorUploads
from tor_control.errors import (
    CommandRejected,
    ControlFailed,
    PublishFailed,
    TorLost,
)
from tor_control.listener import OnionListener, listen_loopback, listen_unix
from tor_control.onion_address import ONION_SUFFIX, SEED_LENGTH, OnionKey
from tor_control.tor_stream import LiveStreams

PUBLISH_SECONDS = 180.0
"""Tor needs 10 to 60 s for introduction circuits and uploads; behind a slow bridge up to 180."""
REJECTED_SECONDS = 30.0
"""When every directory so far has refused: time for tor's other uploads, spread over some 10 s."""
SETTLE_SECONDS = 15.0
"""After the first directory took it: for the others, of which some are slow and some are gone."""
REMOVE_SECONDS = 2.0
"""For DEL_ONION on the way out, which takes milliseconds unless tor hangs."""
MIN_PORT = 1024
"""The virtual port is no well-known one: nobody should mistake the service for something else."""
POW_VERSION = (0, 4, 9, 9)
"""Proof-of-work defences of ADD_ONION came with 0.4.9.2; sound since this one (TROVE-2026-020)."""

_ADDRESS_COLLISION = 550


@dataclass(frozen=True, slots=True)
class PowDefenses:
    """Proof of work that tor asks of clients when many come (ADD_ONION, control-spec).

    Args:
        queue_rate: Introductions a second that are served.
        queue_burst: How many at once.
    """

    queue_rate: int
    queue_burst: int


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """How a service that many use defends itself; an older tor goes without what it lacks.

    Args:
        max_streams: Streams that one client's circuit may have open at once.
        pow_defenses: From tor 0.4.9.9 on.
    """

    max_streams: int | None = None
    pow_defenses: PowDefenses | None = None


class OnionService:
    """A published service, as :func:`publish` gives it.

    Attributes:
        address: ``<56 characters>.onion``.
        port: Its virtual port.
        listener: Where its connections come in.
    """

    def __init__(
        self, key: OnionKey, port: int, listener: OnionListener, limits: ServiceLimits
    ) -> None:
        self.address = key.address
        self.port = port
        self.listener = listener
        self._key = key
        self._limits = limits
        self._control: ControlPort | None = None
        self._publishing: trio.CancelScope | None = None
        self._is_removed = False

    def sign(self, message: bytes) -> bytes:
        """Prove that this service is ours: 64 bytes, by its identity key (RFC 8032)."""
        return self._key.sign(message)

    async def republish(self, control: ControlPort) -> None:
        """Publish it, with the same address and port, and wait until clients can find it.

        For the first time, and again when Tor was lost and is back.

        Args:
            control: The connection that the service lives with from now on.

        Raises:
            PublishFailed: Tor refused, or no directory took it in time.
            ControlFailed: The control port does not answer, or (CommandFiltered) it may not.
            TorLost: The control connection is gone.

        Cancelling leaves it to tor whether the service exists; :meth:`remove` ends it, and
        also ends this call if it still runs in another task.
        """
        self._control = control
        uploads = DescriptorUploads(self._encoded)
        with trio.move_on_after(PUBLISH_SECONDS) as scope:
            self._publishing = scope
            async with control.subscribe_hs_desc() as events:
                if self._is_removed:
                    return
                await self._add(control)
                await _wait_uploaded(events, uploads, scope)
        if scope.cancelled_caught and not uploads.taken and not self._is_removed:
            raise PublishFailed(
                "No directory took the onion service in time; check the computer's clock and "
                "that Tor is connected (`torrent-onion check`), then try again."
            )

    async def remove(self) -> None:
        """Take it down for good. Cannot fail: at worst it ends with the control connection."""
        self._is_removed = True
        if self._publishing is not None:
            self._publishing.cancel()
        await trio.lowlevel.checkpoint()
        control, self._control = self._control, None
        if control is None:
            return
        try:
            await control.command(f"DEL_ONION {self._encoded}")
        except (ControlFailed, TorLost):
            return  # it was never added, or it is gone with the connection

    async def _add(self, control: ControlPort) -> None:
        line = add_onion_line(
            self._key, self.port, self.listener.target, self._limits, control.tor_version
        )
        try:
            reply = await control.command(line)
        except CommandRejected as error:
            self._control = None  # nothing to remove: the address may be another service's
            raise _refusal(error) from error
        if f"ServiceID={self._encoded}" not in reply:
            raise PublishFailed(
                "Tor made another onion address than the key has; update tor and try again."
            )

    @property
    def _encoded(self) -> str:
        return self.address.removesuffix(ONION_SUFFIX)


@asynccontextmanager
async def publish(
    control: ControlPort,
    streams: LiveStreams,
    *,
    key: OnionKey | None = None,
    port: int | None = None,
    folder: Path | None = None,
    limits: ServiceLimits | None = None,
) -> AsyncIterator[OnionService]:
    """Publish an onion service for as long as the block lasts.

    Args:
        control: The connection that it lives with.
        streams: The register that its connections go into.
        key: Its identity, for a lasting address; without it a new one that is then forgotten.
        port: Its virtual port, for a lasting address; without it a random one.
        folder: Where the Unix socket that it forwards to is made; None, for a tor that cannot reach
            one of ours, is for loopback TCP.
        limits: For services that many use.

    Yields:
        The service, once clients can find it.

    Raises:
        ListenFailed: There is no place to forward to.
        PublishFailed, ControlFailed, TorLost: As :meth:`OnionService.republish`.

    On the way out, also after a cancel, the service is removed within REMOVE_SECONDS.
    """
    key = key or OnionKey.from_seed(secrets.token_bytes(SEED_LENGTH))
    port = random_port(secrets.SystemRandom()) if port is None else port
    listener = listen_unix(streams, folder) if folder else listen_loopback(streams)
    async with listener:
        service = OnionService(key, port, listener, limits or ServiceLimits())
        try:
            await service.republish(control)
            yield service
        finally:
            with trio.move_on_after(REMOVE_SECONDS, shield=True):
                await service.remove()


async def _wait_uploaded(
    events: AsyncIterator[HsDescEvent], uploads: DescriptorUploads, scope: trio.CancelScope
) -> None:
    """Wait until all is uploaded; end the scope early when waiting on is of no use."""
    last_moment = scope.deadline
    settled_at = inf
    async for event in events:
        uploads.count(event)
        if uploads.is_complete:
            return
        now = trio.current_time()
        if uploads.taken:
            settled_at = min(settled_at, now + SETTLE_SECONDS)
        given_up_at = now + REJECTED_SECONDS if uploads.is_hopeless else inf
        scope.deadline = min(last_moment, settled_at, given_up_at)
    raise TorLost


def random_port(rng: random.Random) -> int:
    """Choose a virtual port: any but the well-known ones and those that clients take for tor's."""
    while (port := rng.randint(MIN_PORT, MAX_PORT)) in TOR_PORTS:
        pass
    return port


def add_onion_line(
    key: OnionKey, port: int, target: str, limits: ServiceLimits, tor_version: tuple[int, ...]
) -> str:
    """Return the ADD_ONION command (control-spec). It holds the private key: never log it.

    The order of the fields matters: filters in front of the control port compare the whole line.
    """
    fields = ["ADD_ONION", key.control_blob().reveal().decode()]
    if limits.max_streams is not None:
        fields.append(f"MaxStreams={limits.max_streams}")
    if (pow_defenses := limits.pow_defenses) and tor_version >= POW_VERSION:
        fields += [
            "PoWDefensesEnabled=1",
            f"PoWQueueRate={pow_defenses.queue_rate}",
            f"PoWQueueBurst={pow_defenses.queue_burst}",
        ]
    fields.append(f"Port={port},{target}")
    return " ".join(fields)


def _refusal(error: CommandRejected) -> PublishFailed:
    if error.code == _ADDRESS_COLLISION:
        return PublishFailed(
            "This onion address is in use already; end the other program that has its key."
        )
    return PublishFailed(
        f"Tor refused to publish the onion service ({error.code} {error.reason}); "
        "run `torrent-onion check`."
    )
