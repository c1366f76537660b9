"""Fail closed: what this process can no longer do once it knows where Tor is.

Up to four layers, each on its own enough to stop most mistakes:

============== ===================================================================================
AUDIT_HOOK     Python refuses every socket and address that is not Tor's, every look-up of a name,
               every program, and loading foreign code
SECCOMP        the kernel refuses sockets that are not Unix sockets (TCP is left where Tor is only
               reachable over it, UDP never), programs, io_uring, reaching into other processes
LANDLOCK_TCP   the kernel refuses TCP ports that are not Tor's; only where TCP is left
LANDLOCK_FILES the kernel refuses to change files outside the download folder and our state
============== ===================================================================================

The order: start the keeper, which stays free to start tor again; :meth:`Guard.confine_writes` while
there is no thread yet; and as soon as it is known where Tor listens, :meth:`Guard.arm`, before a
byte from strangers is read. None of it can be taken off again, by us or by whoever takes us over. A
refusal is a bug: it is counted and logged, and the call fails with EPERM.

What stays possible for native code inside this process: Unix sockets of other programs (the kernel
cannot tell them from Tor's), and reading every file that the user can read.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tor_control import guard_audit, guard_landlock, guard_seccomp
from tor_control.endpoints import Endpoint, TcpEndpoint, UnixEndpoint
from tor_control.guard_audit import AuditPolicy


class Layer(Enum):
    """One protection; the table is in the module's docstring."""

    AUDIT_HOOK = "Python audit hook"
    SECCOMP = "seccomp"
    LANDLOCK_TCP = "Landlock (TCP)"
    LANDLOCK_FILES = "Landlock (files)"


@dataclass(frozen=True, slots=True)
class LayerStatus:
    """Whether a layer is on.

    Attributes:
        layer: Which.
        active: It is on.
        reason: Why not, or what it leaves open, for users; empty where there is nothing to say.
    """

    layer: Layer
    active: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GuardStatistics:
    """What the guard has done.

    Attributes:
        layers: Those that apply, active or not; empty before anything was done.
        refused: Python calls that were refused. Anything but 0 is a bug.
    """

    layers: tuple[LayerStatus, ...]
    refused: int


class Guard:
    """The guard of this process; there is one, ``GUARD``."""

    def __init__(self) -> None:
        self._layers: dict[Layer, LayerStatus] = {}
        self._refused: Callable[[], int] | None = None

    def confine_writes(self, folders: Collection[Path]) -> None:
        """From now on, change files below these folders only. Call it before there are threads.

        Programs that are started later are confined as well, the keeper is to be started before.

        Args:
            folders: Existing folders; the download folder, our state, the place for sockets.

        Raises:
            OSError: One of the folders is not there.
        """
        missing = guard_landlock.confine_writes(folders)
        self._note(Layer.LANDLOCK_FILES, missing, _uncovered_threads())

    def arm(self, endpoints: Collection[Endpoint], *, listens_on_loopback: bool) -> None:
        """Close every way but the one to Tor. Call it before a byte from strangers is read.

        Args:
            endpoints: Tor's control and SOCKS endpoints, which have to stay what they are.
            listens_on_loopback: The onion service's target is a TCP port of 127.0.0.1, because
                this tor cannot reach our Unix sockets.

        Raises:
            RuntimeError: It is armed already.
        """
        if self._refused is not None:
            raise RuntimeError("the guard is armed already")
        unix = (one.path for one in endpoints if isinstance(one, UnixEndpoint))
        tcp = ((one.host, one.port) for one in endpoints if isinstance(one, TcpEndpoint))
        policy = AuditPolicy(
            unix=frozenset(unix), tcp=frozenset(tcp), listens_on_loopback=listens_on_loopback
        )
        needs_tcp = bool(policy.tcp) or listens_on_loopback
        missing = guard_seccomp.install(allow_tcp=needs_tcp)
        self._note(Layer.SECCOMP, missing, "TCP is left open for Tor" if needs_tcp else "")
        if needs_tcp:
            ports = {port for _, port in policy.tcp}
            missing = guard_landlock.confine_tcp(ports, may_listen=listens_on_loopback)
            self._note(Layer.LANDLOCK_TCP, missing, _uncovered_threads())
        # Last, because it would refuse what the kernel's layers are asked for with.
        self._refused = guard_audit.install(policy)
        self._note(Layer.AUDIT_HOOK, None, "")

    def statistics(self) -> GuardStatistics:
        """What is active, and how often it had to refuse."""
        layers = tuple(self._layers[layer] for layer in Layer if layer in self._layers)
        return GuardStatistics(layers, self._refused() if self._refused else 0)

    def _note(self, layer: Layer, missing: str | None, limits: str) -> None:
        self._layers[layer] = LayerStatus(layer, missing is None, missing or limits)


def _uncovered_threads() -> str:
    threads = guard_landlock.other_threads()
    return f"not for {threads} threads that ran before" if threads else ""


GUARD = Guard()
"""The guard of this process: what it closes stays closed until the process ends."""
