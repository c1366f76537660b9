"""Network namespaces, and what is seen of the packets in one."""

import ctypes
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pytest

from integration.system_calls import require_root_and

CLONE_NEWNET = 0x40000000
"""As in sched.h."""
PATIENCE = 20.0
"""Seconds for tcpdump to begin or to end."""


@dataclass(frozen=True)
class Namespace:
    """A network of its own, with nothing in it but a loopback interface, which is down.

    Attributes:
        name: As ``ip netns`` knows it.
    """

    name: str

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What to put before a command; its process is still the one that was started."""
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    def run(self, *command: str) -> str:
        """Run a command to its end; return what it printed."""
        run = subprocess.run([*self.wrapper, *command], capture_output=True, text=True, check=True)
        return run.stdout

    def listen(self, host: str) -> socket.socket:
        """Listen at an address of the namespace, which its loopback interface gets.

        Returns:
            A socket that any thread can use: it belongs to where it was made.
        """
        self.run("ip", "address", "add", f"{host}/32", "dev", "lo")
        self.run("ip", "link", "set", "lo", "up")

        def make() -> socket.socket:
            with Path(f"/run/netns/{self.name}").open("rb") as place:
                enter = ctypes.CDLL(None, use_errno=True).setns  # only this thread enters
                if enter(place.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.create_server((host, 0))

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make one, and remove it; skip where that is not possible."""
    require_root_and("ip", "nsenter")
    made = Namespace(f"torrent-onion-{token_hex(4)}")
    tried = subprocess.run(["ip", "netns", "add", made.name], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.decode(errors='replace').strip()}")
    try:
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=False)


class Capture:
    """All packets in a namespace.

    Args:
        place: The namespace.
        file: Where they are kept.
    """

    def __init__(self, place: Namespace, file: Path) -> None:
        require_root_and("tcpdump")
        self._place = place
        self._file = file
        log = file.with_suffix(".log")
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [*place.wrapper, *("tcpdump", "-i", "any", "-n", "-U", "-Z", "root", "-w"), file],
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + PATIENCE
        while "listening on" not in log.read_text():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def end(self) -> None:
        """Capture no more."""
        time.sleep(1)  # so that what is still in the kernel's buffer is written
        self._process.terminate()
        self._process.wait(PATIENCE)

    def packets(self, expression: str) -> list[str]:
        """Those that match (pcap-filter), a line each."""
        run = subprocess.run(
            ["tcpdump", "-n", "-q", "-t", "-r", self._file, expression],
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.splitlines()


@dataclass(frozen=True)
class InetSocket:
    """A TCP or UDP socket, as ``ss`` shows it.

    Attributes:
        state: ``LISTEN``, ``ESTAB``...
        port: Its own.
        program: Whose it is.
    """

    state: str
    port: int
    program: str


def sockets_in(place: Namespace) -> list[InetSocket]:
    """All TCP and UDP sockets that belong to a process there."""
    found = []
    for line in place.run("ss", "-Hatunp").splitlines():
        _, state, _, _, own, _, *rest = line.split()
        program = re.search(r'users:\(\("([^"]*)"', " ".join(rest))
        if program:  # those that wait for their end belong to nobody any more
            found.append(InetSocket(state, int(own.rpartition(":")[2]), program[1]))
    return found
