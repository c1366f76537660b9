"""The configuration of a tor of our own: text in, text out (pure; tor(1)).

Two rules. Nothing listens on the network: control and SOCKS are Unix sockets in a folder that is
only ours. And tor belongs to one process (``__OwningControllerProcess``): it ends after that one.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

_FIXED = """\
ClientOnly 1
CookieAuthentication 1
SafeSocks 1
AvoidDiskWrites 1
DormantCanceledByStartup 1
Log notice stdout
"""

_TEST_NETWORK = re.compile(r"^\s*TestingTorNetwork\s+1\b", re.MULTILINE | re.IGNORECASE)
"""Only there may tor dial private addresses; elsewhere it refuses to start with such lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Torrc:
    """What differs between one launched tor and another.

    Args:
        control: The path of its control socket.
        socks: The path of its SOCKS socket.
        cookie: Where it writes the cookie that opens the control socket.
        pid_file: Where it writes its process id.
        owner: The process id of the one that it belongs to.
        onion_only: Refuse everything but onion services.
        allow_private_addresses: Dial private addresses too, on a network for tests.
        extra: The user's own lines; what they say last counts.
    """

    control: PurePath
    socks: PurePath
    cookie: PurePath
    pid_file: PurePath
    owner: int
    onion_only: bool = False
    allow_private_addresses: bool = False
    extra: str = ""

    def text(self) -> str:
        """All lines, for tor's standard input."""
        flags = "ExtendedErrors KeepAliveIsolateSOCKSAuth"
        if self.onion_only:
            flags += " OnionTrafficOnly"
        rejects = 0 if self.allow_private_addresses and _TEST_NETWORK.search(self.extra) else 1
        return (
            _FIXED
            + f"ControlPort unix:{quoted(self.control)}\n"
            + f"SocksPort unix:{quoted(self.socks)} {flags}\n"
            + f"CookieAuthFile {quoted(self.cookie)}\n"
            + f"PidFile {quoted(self.pid_file)}\n"
            + f"__OwningControllerProcess {self.owner}\n"
            + f"ClientRejectInternalAddresses {rejects}\n"
            + f"ClientDNSRejectInternalAddresses {rejects}\n"
            + self.extra
            + "\n"
        )


def quoted(path: PurePath) -> str:
    """A path as tor's configuration wants it, whatever characters it has."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
