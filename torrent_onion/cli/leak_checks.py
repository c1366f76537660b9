"""``check --leaks``: try, on the user's own machine and without root, what must not work.

First a process of its own arms the guard and tries to get around Tor (see ``leak_attempts.py``).
Then, over the Tor that is open, addresses are dialled that must be refused before Tor hears of
them. What needs root, packets and system calls, is in the project's own tests.
"""

import json
import secrets
import subprocess
import sys

import trio

from tor_control.controller import Tor
from tor_control.errors import AddressRefused, DialError
from torrent_onion.cli.leak_attempts import BEHIND_PYTHON
from torrent_onion.cli.ui import Ui
from torrent_onion.errors import LocalError

_WIDTH = 44
_SECONDS = 30.0
"""For the process that tries; one is usual."""

_ADDRESSES = (
    ("this machine", "127.0.0.1", 80),
    ("this machine over IPv6", "::1", 80),
    ("this machine, spelled otherwise", "0x7f.1", 80),
    ("this machine inside IPv6", "::ffff:127.0.0.1", 80),
    ("a home network", "192.168.1.1", 80),
    ("a home network's name", "router.lan", 80),
    ("a cloud machine's secrets", "169.254.169.254", 80),
    ("everybody on this network", "224.0.0.251", 80),
    ("no port", "192.88.98.1", 0),
    ("Tor's own port", "192.88.98.1", 9051),
)
"""Where peers and trackers might send us: what it is, host and port."""


class LeakTable:
    """The rows, told as they come.

    Args:
        ui: Where to.
    """

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._open: list[str] = []

    def tell(self, attempt: str, *, refused: bool, reason: str = "") -> None:
        """Add a row.

        Args:
            attempt: What was tried.
            refused: It did not work, as it should be.
            reason: Why it could not be refused, where that is this system's doing.
        """
        if not refused and not reason:
            self._open.append(attempt)
        words = "refused" if refused else f"NOT refused{reason and f': {reason}'}"
        fields = {"attempt": attempt, "refused": refused, "detail": reason}
        self._ui.result("leak", fields, f"{attempt:<{_WIDTH}}{words}")

    def require_closed(self) -> None:
        """End with an error if something works that must not.

        Raises:
            LocalError: So it is.
        """
        if self._open:
            raise LocalError(
                f"Not everything was refused: {', '.join(self._open)}. "
                "Do not use it on this machine, and please report this (SECURITY.md)."
            )


async def check_guard(table: LeakTable) -> None:
    """Try the ways around Tor. Call it before this process is guarded itself.

    Raises:
        LocalError: It cannot be tried.
    """
    try:
        with trio.fail_after(_SECONDS):
            result = await trio.run_process(
                [sys.executable, "-m", "torrent_onion.cli.leak_attempts"], capture_stdout=True
            )
    except (OSError, subprocess.CalledProcessError, trio.TooSlowError):
        raise LocalError("The guard cannot be tried on this machine; please report this.") from None
    found = json.loads(result.stdout)
    for attempt, refused in found["refused"].items():
        by_kernel_only = attempt == BEHIND_PYTHON and not found["layers"].get("seccomp", False)
        reason = "this system has no seccomp" if by_kernel_only and not refused else ""
        table.tell(attempt, refused=refused, reason=reason)


async def check_addresses(tor: Tor, table: LeakTable) -> None:
    """Dial what must never be dialled."""
    await trio.lowlevel.checkpoint()
    for what, host, port in _ADDRESSES:
        refused = False
        try:
            stream = await tor.dial(host, port, secrets.token_hex(16))
        except AddressRefused:
            refused = True
        except DialError:
            pass  # Tor was asked: that is what must not be
        else:
            await stream.aclose()
        table.tell(f"dialling {what}", refused=refused)
