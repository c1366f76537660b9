"""The guard's Python layer: an audit hook (PEP 578) that refuses what could go around Tor.

Python calls the hook before it acts, from any thread, and offers no way to remove it. It judges by
the event's name and arguments, and keeps no state but a counter. An event that is not in its table
costs one look into a dictionary.

It stops our own mistakes and those of libraries, on every system. It is no sandbox: who runs code
of his own in this process is stopped by the kernel (``guard_seccomp``, ``guard_landlock``) or not
at all.
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from errno import EPERM
from types import MappingProxyType
from typing import Any

log = logging.getLogger(__name__)

# The numbers of <sys/socket.h>, so that this file needs no socket module: ruff keeps that to the
# dialer and the listener. They are the same everywhere but for AF_INET6.
AF_UNIX = 1
AF_INET = 2
AF_INET6 = frozenset({10, 23, 24, 28, 30})
SOCK_STREAM = 1
SOCK_TYPE_MASK = 0xF  # Linux puts SOCK_NONBLOCK and SOCK_CLOEXEC into the same number
TCP_PROTOCOLS = frozenset({0, 6})  # the usual one of a stream, and IPPROTO_TCP; not SCTP, not MPTCP

LOOPBACK = "127.0.0.1"

Arguments = tuple[Any, ...]
Judge = Callable[[Arguments], bool]


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What stays possible.

    Attributes:
        unix: The paths of Tor's own sockets.
        tcp: Tor's own endpoints, address and port; empty where Tor has Unix sockets.
        listens_on_loopback: A TCP port of 127.0.0.1 may be bound.
    """

    unix: frozenset[str]
    tcp: frozenset[tuple[str, int]]
    listens_on_loopback: bool

    def allows_socket(self, family: int, kind: int, protocol: int) -> bool:
        """Whether such a socket may be made: a stream, and TCP only where something needs it."""
        if kind & SOCK_TYPE_MASK != SOCK_STREAM:
            return False
        if family == AF_UNIX:
            return True
        is_tcp = (family == AF_INET or family in AF_INET6) and protocol in TCP_PROTOCOLS
        return is_tcp and (bool(self.tcp) or self.listens_on_loopback)

    def allows_peer(self, address: object) -> bool:
        """Whether something may be connected to, or sent there: Tor alone."""
        if isinstance(address, str | bytes):
            return os.fsdecode(address) in self.unix
        return isinstance(address, tuple) and address[:2] in self.tcp

    def allows_own(self, address: object) -> bool:
        """Whether a socket may be bound there."""
        if isinstance(address, str | bytes):
            return os.fsdecode(address).startswith("/")  # no name that other users could reach
        on_loopback = isinstance(address, tuple) and address[:1] == (LOOPBACK,)
        return self.listens_on_loopback and on_loopback


def install(policy: AuditPolicy) -> Callable[[], int]:
    """Begin to refuse, for as long as the process lives.

    Returns:
        How many calls were refused so far. It is all that is left to reach the hook by.
    """
    judges = MappingProxyType(_judges(policy))
    refused = 0

    def hook(event: str, arguments: Arguments) -> None:
        nonlocal refused
        judge = judges.get(event)
        if judge is None or judge(arguments):
            return
        refused += 1
        log.debug("the guard refused %s", event, stack_info=True)
        raise PermissionError(EPERM, f"{event} is refused: it could go around Tor")

    sys.addaudithook(hook)
    return lambda: refused


def _judges(policy: AuditPolicy) -> dict[str, Judge]:
    """Event -> whether it may go on, given its arguments."""

    def new_socket(arguments: Arguments) -> bool:
        _, family, kind, protocol = arguments
        return policy.allows_socket(family, kind, protocol)

    def to_peer(arguments: Arguments) -> bool:
        return policy.allows_peer(arguments[1])

    def message(arguments: Arguments) -> bool:
        # A connected stream names no address.
        return arguments[1] is None or policy.allows_peer(arguments[1])

    def own(arguments: Arguments) -> bool:
        return policy.allows_own(arguments[1])

    return {
        "socket.__new__": new_socket,
        "socket.connect": to_peer,
        "socket.bind": own,
        "socket.sendto": to_peer,
        "socket.sendmsg": message,
        **dict.fromkeys(_NEVER, _never),
    }


def _never(_: Arguments) -> bool:
    return False


_NEVER = (
    # Names are looked up by Tor or by nobody.
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.getnameinfo",
    "socket.getservbyname",
    "socket.getservbyport",
    "socket.sethostname",
    # Other programs know nothing of this hook.
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.startfile",
    "os.startfile/2",
    "_winapi.CreateProcess",
    # Foreign code could do what Python would have reported here, and its memory holds the hook.
    "ctypes.dlopen",
    "ctypes.dlsym",
    "ctypes.dlsym/handle",
    "ctypes.call_function",
    "ctypes.cdata",
    "ctypes.cdata/buffer",
    "sqlite3.enable_load_extension",
    "sqlite3.load_extension",
    # They find objects that nobody has handed out, such as the hook.
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
)
"""Events that are refused whatever their arguments (docs.python.org, "Audit events table")."""
