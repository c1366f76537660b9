"""Other clients from Debian, which know nothing of Tor: aria2 and Transmission, on loopback.

Everything that needs UDP, and every way of theirs to find peers but trackers, is turned off.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from integration.stock_servers import find, find_program, free_port, running

TRANSMISSION = "transmission-daemon"
StockProgram = Callable[[Path, Path], AbstractContextManager[int]]
"""Called with a .torrent and the folder that has, or is to have, its data; yields its port."""


@contextmanager
def aria2(torrent: Path, folder: Path) -> Iterator[int]:
    """Fetch what a folder lacks of a torrent, and serve it; the test says `needs("aria2c")`.

    Yields:
        Its port.
    """
    port = free_port()
    options = {
        "dir": folder,
        "listen-port": port,
        "interface": "127.0.0.1",
        "check-integrity": "true",
        "allow-overwrite": "true",
        "seed-ratio": 0,
        "enable-dht": "false",
        "enable-dht6": "false",
        "bt-enable-lpd": "false",
        "enable-peer-exchange": "false",
        "no-conf": "true",
        "stop-with-process": os.getpid(),
        "file-allocation": "none",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    with running([find_program("aria2c"), *words, str(torrent)], port):
        yield port


@contextmanager
def transmission(torrent: Path, folder: Path, wrapper: Sequence[str] = ()) -> Iterator[int]:
    """The same by Transmission; the test says `needs("transmission-daemon")`.

    Args:
        torrent: It.
        folder: Where its data is, or is to be.
        wrapper: What runs it in a namespace; nobody waits there until it listens.

    Yields:
        Its port.
    """
    port = free_port()
    home = folder / "transmission"
    watched = home / "watched"
    watched.mkdir(parents=True)
    shutil.copy(torrent, watched)
    settings = {
        "download-dir": str(folder),
        "watch-dir": str(watched),
        "watch-dir-enabled": True,
        "bind-address-ipv4": "0.0.0.0" if wrapper else "127.0.0.1",
        "bind-address-ipv6": "::" if wrapper else "::1",
        "peer-port": port,
        "rpc-enabled": False,
        "dht-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "utp-enabled": False,
        "port-forwarding-enabled": False,
        "blocklist-enabled": False,
    }
    (home / "settings.json").write_text(json.dumps(settings))
    command = [find_program(TRANSMISSION), "--foreground", "--config-dir", str(home)]
    with running([*wrapper, *command], None if wrapper else port):
        yield port


def transmission_version() -> int:
    """The first number of its version; 0 where there is none."""
    if find(TRANSMISSION) is None:
        return 0
    run = subprocess.run(
        [find_program(TRANSMISSION), "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"[0-9]+", run.stdout + run.stderr)
    return int(found[0]) if found else 0
