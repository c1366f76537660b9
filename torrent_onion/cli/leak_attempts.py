"""A process that arms the guard and then tries every way around Tor: for ``check --leaks``.

Run as ``python -m torrent_onion.cli.leak_attempts``; it prints one JSON object. Whatever it tries
is aimed at this machine, so that nothing leaves it even where the guard should fail.
"""

import ctypes
import json
import os
import socket  # noqa: TID251 - it must be tried, to see that it is refused
import subprocess
import sys
from collections.abc import Callable, Mapping

from tor_control.endpoints import UnixEndpoint
from tor_control.guard import GUARD

_HERE = ("127.0.0.1", 9)
_NOT_TORS = "/nowhere/somebody-elses.sock"
_TORS = "/nowhere/tor.sock"

BEHIND_PYTHON = "a socket made behind Python's back"
"""Only the kernel can refuse that one."""


def _socket(family: int, kind: int) -> Callable[[], object]:
    return lambda: socket.socket(family, kind).close()


def _connect_elsewhere() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(_NOT_TORS)


def attempts() -> Mapping[str, Callable[[], object]]:
    """All ways around, by what the user reads of them; made before the guard is armed."""
    ways: dict[str, Callable[[], object]] = {
        "a UDP packet": _socket(socket.AF_INET, socket.SOCK_DGRAM),
        "a UDP packet over IPv6": _socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "a TCP connection": lambda: socket.create_connection(_HERE, timeout=1).close(),
        "a TCP connection over IPv6": _socket(socket.AF_INET6, socket.SOCK_STREAM),
        "a listening port": lambda: socket.create_server(("127.0.0.1", 0)).close(),
        "a raw packet": _socket(socket.AF_INET, socket.SOCK_RAW),
        "another program's Unix socket": _connect_elsewhere,
        "looking up a name": lambda: socket.getaddrinfo("localhost", 80),
        "looking up a name, the old way": lambda: socket.gethostbyname("localhost"),
        "starting another program": lambda: subprocess.run([sys.executable, "-V"], check=False),
    }
    if os.name == "posix":
        library = ctypes.CDLL(None, use_errno=True)
        make = library.socket  # looked up now: afterwards even that is refused

        def behind_python() -> None:
            if make(int(socket.AF_INET), int(socket.SOCK_STREAM), 0) < 0:
                raise PermissionError(ctypes.get_errno(), "the kernel said no")

        ways[BEHIND_PYTHON] = behind_python
    return ways


def outcome(attempt: Callable[[], object]) -> bool:
    """Whether it was refused by the guard. Any other failure means that it was let through."""
    try:
        attempt()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def main() -> None:
    """Arm, try everything, and print what came of it."""
    ways = attempts()
    GUARD.arm([UnixEndpoint(_TORS)], listens_on_loopback=False)
    refused = {what: outcome(attempt) for what, attempt in ways.items()}
    layers = {one.layer.value: one.active for one in GUARD.statistics().layers}
    sys.stdout.write(json.dumps({"refused": refused, "layers": layers}) + "\n")


if __name__ == "__main__":
    main()
