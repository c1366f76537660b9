"""A tor that somebody else runs in the private network, and a plain control connection to it.

Our program can attach to it, and :func:`other_tor` serves and reaches onions by it for programs
that know nothing of Tor.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tor_control.private_network import PrivateNetwork

PATIENCE = 60.0
"""Seconds for its bootstrap, or an answer."""
ONION_PORT = 6881
"""The virtual port of onions that are not ours."""
REACHES_LOOPBACK = "ClientRejectInternalAddresses 0\nClientDNSRejectInternalAddresses 0\n"
"""For :func:`running_tor`: servers on this machine can be reached through an exit."""


@dataclass(frozen=True)
class StreamEvent:
    """What tor says of one stream (control-spec, "Stream status changed")."""

    status: str
    circuit: str
    target: str
    isolation: str


class ControlSocket:
    """A control connection, one command at a time; events are kept as they come."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.events: list[str] = []
        self.ask("AUTHENTICATE")

    def ask(self, command: str) -> list[str]:
        """Return the lines of a positive answer."""
        self._socket.sendall(f"{command}\r\n".encode())
        answer = []
        while True:
            line = self._lines.readline().rstrip("\r\n")
            if line.startswith("650"):
                self.events.append(line[4:])
                continue
            assert line.startswith("250"), f"{command}: {line or 'tor is gone'}"
            answer.append(line[4:])
            if line[3] == " ":
                return answer

    def streams(self) -> list[StreamEvent]:
        """All streams that were told of so far, as often as they changed."""
        self.ask("GETINFO version")  # whatever happened before it has been told when it is answered
        found = []
        for event in self.events:
            kind, _, rest = event.partition(" ")
            if kind == "STREAM":
                _, status, circuit, target, *_ = rest.split()
                isolation = re.search(r'SOCKS_PASSWORD="([^"]*)"', rest)
                found.append(
                    StreamEvent(status, circuit, target, isolation[1] if isolation else "")
                )
        return found

    def close(self) -> None:
        """Let go; onion services made here end."""
        self._lines.close()
        self._socket.close()


@dataclass(frozen=True)
class RunningTor:
    """A tor in its network.

    Attributes:
        folder: Has its log, and its Unix sockets.
        pid: Its process.
    """

    folder: Path
    pid: int

    def port(self, kind: str) -> int:
        """The number of a port that tor has chosen; ``Control`` or ``Socks``."""
        log = (self.folder / "log").read_text()
        [port] = re.findall(rf"{kind} listener listening on port ([0-9]+)\.", log)
        return int(port)

    @contextmanager
    def control(self) -> Iterator[ControlSocket]:
        """Our hand on it, unless `lines` asked for a key."""
        connection = ControlSocket(self.folder / "ours")
        try:
            yield connection
        finally:
            connection.close()


@dataclass(frozen=True)
class OtherTor:
    """A tor for other programs, with our hand on it.

    Attributes:
        socks_port: Its SOCKS port on 127.0.0.1.
        pid: Its process.
        control: Onion services made here end with it.
    """

    socks_port: int
    pid: int
    control: ControlSocket

    def publish(self, port: int) -> str:
        """Publish an onion service that forwards :data:`ONION_PORT` to a port of this machine.

        Returns:
            Its ``HOST:PORT``, once a directory knows it.
        """
        self.control.ask("SETEVENTS HS_DESC")
        flags = "NEW:ED25519-V3 Flags=DiscardPK"
        reply = self.control.ask(f"ADD_ONION {flags} Port={ONION_PORT},127.0.0.1:{port}")
        service = reply[0].removeprefix("ServiceID=")
        uploaded = f"HS_DESC UPLOADED {service}"
        deadline = time.monotonic() + PATIENCE
        while not any(event.startswith(uploaded) for event in self.control.events):
            assert time.monotonic() < deadline, "the onion service was not published"
            time.sleep(0.05)
            self.control.ask("GETINFO version")
        return f"{service}.onion:{ONION_PORT}"

    def withdraw(self, place: str) -> None:
        """End an onion service that was published here."""
        self.control.ask(f"DEL_ONION {place.partition('.')[0]}")

    def virtual_ip(self, onion: str) -> str:
        """An IPv4 address that stands for an onion, for programs that know no names."""
        [mapping] = self.control.ask(f"MAPADDRESS 0.0.0.0={onion}")
        return mapping.partition("=")[0]


@contextmanager
def other_tor(tor: RunningTor) -> Iterator[OtherTor]:
    """Take hold of a tor with a SOCKS port on 127.0.0.1, for other programs."""
    with tor.control() as control:
        yield OtherTor(tor.port("Socks"), tor.pid, control)


def hashed(password: str) -> str:
    """As ``HashedControlPassword`` wants it."""
    command = ["tor", "--quiet", "--hash-password", password]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.split()[-1]


@contextmanager
def running_tor(
    network: PrivateNetwork, folder: Path, lines: str = "SocksPort auto\n"
) -> Iterator[RunningTor]:
    """Run a client of the network until the block is left.

    Args:
        network: Where it belongs.
        folder: Is made.
        lines: Its ports and keys; ``{folder}`` stands for the folder.
    """
    folder.mkdir(mode=0o700)
    torrc = network.torrc.read_text() + lines.format(folder=folder)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("tor", "-f", "-", "--defaults-torrc", "/dev/null"),
                *("--DataDirectory", str(folder / "data")),
                *("+ControlPort", f"unix:{folder / 'ours'}"),
                *("--__OwningControllerProcess", str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=output,
        )
    try:
        assert process.stdin is not None
        process.stdin.write(torrc.encode())
        process.stdin.close()
        deadline = time.monotonic() + PATIENCE
        while "Bootstrapped 100%" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield RunningTor(folder, process.pid)
    finally:
        process.kill()
        process.wait()
