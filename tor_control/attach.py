"""A tor that already runs and is not ours: find it, log in, ask where its SOCKS port is.

Three rules. It is on this machine: a control connection carries private keys in the clear. What the
user or the environment names is used or refused, never replaced by something else. And its
configuration stays as it is; nothing here changes a tor that others use.
"""

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import trio

from tor_control.config import MINIMUM_VERSION
from tor_control.control_connection import ControlConnection, Credentials, open_control
from tor_control.endpoints import (
    Endpoint,
    TcpEndpoint,
    TorEnvironment,
    UnixEndpoint,
    parse_listeners,
    parse_socks_ports,
)
from tor_control.errors import (
    CommandFiltered,
    CommandRejected,
    ControlFailed,
    ControlUnreachable,
    InvalidEndpoint,
    TorError,
    TorNotFound,
    TorTooOld,
)

SYSTEM_PLACES = (
    UnixEndpoint("/run/tor/control"),  # Debian and most others, where the user is in its group
    TcpEndpoint("127.0.0.1", 9051),
)
TOR_BROWSER = TcpEndpoint("127.0.0.1", 9151)
TAILS_FILTER = TcpEndpoint("127.0.0.1", 951)

DEFAULT_SOCKS = TcpEndpoint("127.0.0.1", 9050)
TOR_BROWSER_SOCKS = TcpEndpoint("127.0.0.1", 9150)

TAILS_MARKS = frozenset({"ID=tails", 'ID="tails"', 'NAME="Tails"'})
"""Lines of its os-release; older ones have variables that begin with TAILS_."""


class System(Enum):
    """Systems on which everything goes through a Tor of their own."""

    TAILS = "Tails"
    WHONIX = "Whonix"
    OTHER = "other"


def detect_system(root: Path = Path("/")) -> System:
    """Tell on which system we are.

    Args:
        root: The root of its file system.
    """
    if (root / "usr/share/anon-ws-base-files/workstation").exists():
        return System.WHONIX
    try:
        release = (root / "etc/os-release").read_text("utf-8", "replace").splitlines()
    except OSError:
        return System.OTHER
    is_tails = any(line.startswith("TAILS_") or line in TAILS_MARKS for line in release)
    return System.TAILS if is_tails else System.OTHER


def usual_places(system: System) -> tuple[Endpoint, ...]:
    """Where a tor may run on such a system, in the order in which we look."""
    if system is System.TAILS:
        return (TAILS_FILTER,)
    if system is System.WHONIX:
        return (TcpEndpoint("127.0.0.1", 9051), TOR_BROWSER)
    return (*SYSTEM_PLACES, TOR_BROWSER)


class AttachedTor:
    """A tor that is not ours; made by :func:`attach_tor`.

    Args:
        control: Where its control port is.
        socks: Where its SOCKS port is.
        credentials: What opens the control port.
        sockets: A folder for our sockets that it can reach, if there is one.
    """

    is_launched = False

    def __init__(
        self,
        control: Endpoint,
        socks: Endpoint,
        credentials: Credentials,
        sockets: Path | None = None,
    ) -> None:
        self.control = control
        self.socks = socks
        self.sockets = sockets
        self._credentials = credentials

    async def connect(self) -> ControlConnection:
        """Log in again, after the connection was lost. The SOCKS port stays what it was.

        Raises:
            ControlFailed: Tor is not there, or does not let us in.
        """
        return await open_control(self.control, self._credentials)


async def attach_tor(
    control: Endpoint, environment: TorEnvironment, sockets: Path | None = None
) -> tuple[AttachedTor, ControlConnection]:
    """Log in to the tor at this place.

    Args:
        control: The place.
        environment: What the ``TOR_*`` variables say.
        sockets: A folder that only this user can enter; used if tor is this user's.

    Returns:
        The tor, and the first connection to it, which the caller closes.

    Raises:
        InvalidEndpoint: The place is not on this machine.
        ControlFailed: Nothing answers there, or it does not let us in.
        TorTooOld: It is older than ``MINIMUM_VERSION``.
    """
    require_near(control)
    credentials = Credentials(environment.password, environment.cookie_file)
    connection = await open_control(control, credentials)
    try:
        if connection.tor_version < MINIMUM_VERSION:
            version = ".".join(map(str, connection.tor_version))
            raise TorTooOld(
                f"The Tor at {control} has version {version}, which is too old; "
                "update it to 0.4.7 or newer, or use --tor launch."
            )
        socks = environment.socks or await _find_socks(connection, control)
        require_near(socks)
    except BaseException:
        await connection.aclose()
        raise
    reachable = sockets if is_this_users(control) else None
    return AttachedTor(control, socks, credentials, reachable), connection


async def attach_to_first(
    places: Iterable[Endpoint], environment: TorEnvironment, sockets: Path | None = None
) -> tuple[AttachedTor, ControlConnection]:
    """Log in to the first tor that lets us in.

    Returns:
        As :func:`attach_tor`.

    Raises:
        TorNotFound: Nothing answers at any of the places.
        ControlFailed: Something does, but nothing lets us in; the first of these failures.
        TorTooOld: Likewise.
    """
    await trio.lowlevel.checkpoint()
    refused: TorError | None = None
    for place in places:
        try:
            return await attach_tor(place, environment, sockets)
        except ControlUnreachable:
            continue
        except (ControlFailed, TorTooOld) as error:
            refused = refused or error
    raise refused or TorNotFound


def require_near(endpoint: Endpoint) -> None:
    """Refuse a place on another machine.

    Raises:
        InvalidEndpoint: It is one.
    """
    if isinstance(endpoint, TcpEndpoint) and not endpoint.is_loopback:
        raise InvalidEndpoint(
            f"{endpoint} is on another machine, and everybody between could read along; "
            "use a Tor on this one, through 127.0.0.1 or a Unix socket."
        )


def is_this_users(control: Endpoint) -> bool:
    """Whether tor runs as we do, on Unix sockets, so that it can reach ours too.

    The system's own cannot: another user's files are closed to it, and often even /tmp is its own.
    """
    if not isinstance(control, UnixEndpoint):
        return False
    try:
        return Path(control.path).stat().st_uid == os.geteuid()
    except OSError:
        return False


async def _find_socks(connection: ControlConnection, control: Endpoint) -> Endpoint:
    await trio.lowlevel.checkpoint()
    try:
        listeners = parse_listeners(await connection.get_info("net/listeners/socks"))
    except (CommandFiltered, CommandRejected):
        return TOR_BROWSER_SOCKS if control == TOR_BROWSER else DEFAULT_SOCKS
    mixing = await _ports_that_mix_circuits(connection)
    for listener in sorted(listeners, key=lambda one: not isinstance(one, UnixEndpoint)):
        if listener not in mixing and _is_usable(listener):
            return listener
    raise ControlFailed(
        f"The Tor at {control} has no SOCKS port that we can use; add `SocksPort 9050` to its "
        "configuration, or use --tor launch."
    )


async def _ports_that_mix_circuits(connection: ControlConnection) -> frozenset[Endpoint]:
    """SOCKS ports that would let two torrents share a circuit, as far as tor tells."""
    await trio.lowlevel.checkpoint()
    try:
        lines = await connection.command("GETCONF SocksPort")
    except (CommandFiltered, CommandRejected):
        return frozenset()
    ports = parse_socks_ports(line.removeprefix("SocksPort=") for line in lines)
    return frozenset(endpoint for endpoint, flags in ports if "noisolatesocksauth" in flags)


def _is_usable(endpoint: Endpoint) -> bool:
    if isinstance(endpoint, UnixEndpoint):
        return os.access(endpoint.path, os.R_OK | os.W_OK)
    return endpoint.is_loopback
