"""A tor as somebody else would run it beside ours: in the private network, on fixed sockets."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from stem.control import Controller, EventType

from tor_control.private_network import PrivateNetwork

PATIENCE = 60.0
"""Seconds until it has joined the network; five are usual."""


class PlainTor:
    """A tor with a control socket, a SOCKS port on loopback and whatever else is asked for.

    Args:
        network: The network that it joins.
        folder: Its own, short enough for the path of a socket.
        password: What opens its control port; None: its cookie does.
    """

    def __init__(
        self, network: PrivateNetwork, folder: Path, *, password: str | None = None
    ) -> None:
        self._log = folder / "log"
        self.control = folder / "control"
        self.cookie = folder / "data" / "control_auth_cookie"
        folder.mkdir(mode=0o700)
        configuration = (
            f"DataDirectory {folder}/data\n"
            f"ControlSocket {self.control}\n"
            f"{_authentication(password)}\n"
            "SocksPort 127.0.0.1:auto\n"
            "ControlPort auto\n"
            "ClientRejectInternalAddresses 0\nClientDNSRejectInternalAddresses 0\n"
            f"{network.torrc.read_text()}\n"
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["tor", "-f", "-", "--defaults-torrc", "/dev/null"],
                stdin=subprocess.PIPE,
                stdout=log,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(configuration.encode())
        self.process.stdin.close()
        self._wait_joined()
        self.controller = Controller.from_socket_file(str(self.control))
        self.controller.authenticate(password)

    @property
    def socks_port(self) -> int:
        """Its SOCKS port on 127.0.0.1."""
        return self._port("socks")

    @property
    def control_port(self) -> int:
        """Its control port on 127.0.0.1."""
        listeners = self.controller.get_info("net/listeners/control").split()
        ports = [each for each in listeners if "unix" not in each]
        return int(ports[0].strip('"').rpartition(":")[2])

    def publish(self, port: int) -> str:
        """Give a port of this machine an onion address; return it when it can be reached."""
        uploaded = threading.Event()

        def seen(event: Any) -> None:
            if event.action == "UPLOADED":
                uploaded.set()

        self.controller.add_event_listener(seen, EventType.HS_DESC)
        reply = self.controller.msg(
            f"ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=6881,127.0.0.1:{port}"
        )
        service = dict(line[2].split("=", 1) for line in reply.content() if "=" in line[2])
        assert uploaded.wait(PATIENCE)
        self.controller.remove_event_listener(seen)
        return f"{service['ServiceID']}.onion"

    def close(self) -> None:
        """End it."""
        self.controller.close()
        self.process.kill()
        self.process.wait()

    def _port(self, kind: str) -> int:
        listeners = self.controller.get_info(f"net/listeners/{kind}").split()
        return int(listeners[0].strip('"').rpartition(":")[2])

    def _wait_joined(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while "Bootstrapped 100%" not in self._log.read_text():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)


def _authentication(password: str | None) -> str:
    if password is None:
        return "CookieAuthentication 1"
    hashed = subprocess.run(
        ["tor", "--quiet", "--hash-password", password], capture_output=True, text=True, check=True
    )
    return f"HashedControlPassword {hashed.stdout.split()[-1]}"
