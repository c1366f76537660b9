"""libtorrent, as other clients have it: on loopback, without anything that needs UDP."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import libtorrent as lt

PATIENCE = 90.0
"""Seconds for a transfer."""
PEER_LOG = {"alert_mask": lt.alert.category_t.peer_log_notification, "alert_queue_size": 1 << 20}
"""Settings with which it logs every message."""


class StockClient:
    """A libtorrent session."""

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        chosen: Any = {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "allow_multiple_connections_per_ip": True,
            "alert_mask": 0,
            **(settings or {}),
        }
        self.session = lt.session(chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.session.pause()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        deadline = time.monotonic() + PATIENCE
        while not self.session.listen_port() and time.monotonic() < deadline:
            time.sleep(0.05)
        return int(self.session.listen_port())

    def seed(self, torrent: Path, folder: Path) -> Any:
        """Serve data that is below a folder; return when it has been checked."""
        return self.wait(self.add(torrent, folder))

    def add(self, torrent: Path, folder: Path) -> Any:
        """Begin a torrent."""
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(str(torrent))
        parameters.save_path = str(folder)
        parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        return self.session.add_torrent(parameters)

    def add_magnet(self, link: str, folder: Path) -> Any:
        """Begin a torrent that is known by its link."""
        parameters = lt.parse_magnet_uri(link)
        parameters.save_path = str(folder)
        parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        return self.session.add_torrent(parameters)

    def connect(self, handle: Any, other: "StockClient") -> None:
        """Let a torrent dial another client, and wait until they have met."""
        address, deadline = ("127.0.0.1", other.port), time.monotonic() + PATIENCE
        handle.connect_peer(address)
        while not any(_has_met(peer, address) for peer in handle.get_peer_info()):
            assert time.monotonic() < deadline, "libtorrent: no connection"
            time.sleep(0.1)

    def log(self) -> list[str]:
        """What it has written of its peers since it was asked last; see :data:`PEER_LOG`."""
        return [alert.message() for alert in self.session.pop_alerts()]

    def wait(self, handle: Any) -> Any:
        """Wait until a torrent is complete."""
        deadline = time.monotonic() + PATIENCE
        while not handle.status().is_seeding:
            assert time.monotonic() < deadline, f"libtorrent: {handle.status().state}"
            time.sleep(0.1)
        return handle


def _has_met(peer: Any, address: tuple[str, int]) -> bool:
    is_under_way = peer.flags & (lt.peer_info.connecting | lt.peer_info.handshake)
    return peer.ip == address and not is_under_way


def make_torrent(content: Path, torrent: Path, flags: int) -> None:
    """Let libtorrent make a .torrent of a folder."""
    files = lt.list_files(str(content))
    creation = lt.create_torrent(files, 16384 * 4, flags)
    lt.set_piece_hashes(creation, str(content.parent))
    torrent.write_bytes(lt.bencode(creation.generate()))
