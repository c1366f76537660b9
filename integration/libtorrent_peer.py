"""libtorrent as the other side: what it makes, what it reads, and as a seeder on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libtorrent

PATIENCE = 60.0
"""Seconds for it to have checked what it is to seed."""

SETTINGS: Any = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": 0,
}
"""It listens on loopback and looks for nobody."""


def make_torrent(content: Path, *, v1: bool = True) -> bytes:
    """A .torrent as libtorrent makes it: v1, or hybrid."""
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, str(content))
    flags = libtorrent.create_torrent.v1_only if v1 else 0
    torrent = libtorrent.create_torrent(storage, 0, flags)
    libtorrent.set_piece_hashes(torrent, str(content.parent))
    return bytes(libtorrent.bencode(torrent.generate()))


@contextmanager
def seeding(torrent: bytes, content: Path) -> Iterator[int]:
    """Seed a torrent from this machine.

    Yields:
        The port of 127.0.0.1 that it listens on.
    """
    session = libtorrent.session(SETTINGS)
    parameters: Any = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.load_torrent_buffer(torrent).ti
    parameters.save_path = str(content.parent)
    handle = session.add_torrent(parameters)
    deadline = time.monotonic() + PATIENCE
    while not handle.status().is_seeding:
        assert time.monotonic() < deadline, f"libtorrent: {handle.status().state}"
        time.sleep(0.05)
    yield session.listen_port()
    del handle, session
