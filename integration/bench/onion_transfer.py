"""Transfers over a private Tor network: ours, libtorrent's and bare sockets', in turn.

One tor serves and one fetches, as two people would have; relays and all run on this machine.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from integration.bench import raw_sockets
from integration.bench.engine_transfer import make_torrent
from integration.bench.figures import Row
from integration.bench.processes import (
    MEGABYTE,
    cpu_seconds,
    make_content,
    run_peer,
    serving_peer,
)
from integration.running_tor import ONION_PORT, REACHES_LOOPBACK, OtherTor, other_tor, running_tor
from integration.shared_network import network_in_thread
from torrent_onion.engine.settings import Settings

DEFAULT = Settings().circuits
CONTENT = "onion.bin"
OURS, LIBTORRENT = "ours", "libtorrent"
COUNTS = (1, 2, 4, 6, 8)
"""Circuits in the plot."""


@dataclass
class Network:
    """What is up while this file measures."""

    serving: OtherTor
    fetching: OtherTor
    folder: Path
    torrent: Path
    megabytes: int
    onion: str = ""
    virtual: str = ""
    raw_onion: str = ""
    clearnet: str = ""
    cpu: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Seconds of a getter and of its tor for each transfer over the onion, by whose it is."""

    @property
    def socks(self) -> str:
        """Where our programs reach the fetching tor: as they would a tor of their own."""
        return f"unix:{self.folder}/tor/fetching/socks"

    def ours(self, circuits: int, peer: str | None = None) -> float:
        """MB/s of our getter."""
        name = OURS if circuits == DEFAULT and peer is None else None
        peer = peer or f"{self.onion}:{ONION_PORT}"
        return self._run(name, "get", peer, self.socks, circuits)

    def libtorrent(self, peer: str) -> float:
        """MB/s of libtorrent."""
        name = LIBTORRENT if peer.startswith(self.virtual) else None
        return self._run(name, "libtorrent-get", peer, self.fetching.socks_port)

    def raw(self, circuits: int) -> float:
        """MB/s of bare sockets."""
        size = self.megabytes * MEGABYTE
        socks = self.fetching.socks_port
        seconds = raw_sockets.fetch(socks, self.raw_onion, ONION_PORT, size, circuits)
        return self.megabytes / seconds

    def _run(self, name: str | None, program: str, *how: Any) -> float:
        got = self.folder / "got"
        before = cpu_seconds(self.fetching.pid)
        try:
            result = run_peer(program, self.torrent, got, *how)
        finally:
            shutil.rmtree(got, ignore_errors=True)
        if name is not None:
            used = cpu_seconds(self.fetching.pid) - before
            self.cpu.setdefault(name, []).append((result["cpu"], used))
        return self.megabytes / float(result["seconds"])


def measure(folder: Path, megabytes: int, runs: int) -> Iterator[Row]:
    """Yield the rows with an onion, and the one with an exit."""
    with ExitStack() as stack:
        network = bring_up(stack, folder, megabytes)
        takes: dict[str, Callable[[], float]] = {
            "ours": lambda: network.ours(DEFAULT),
            "raw": lambda: network.raw(DEFAULT),
            "libtorrent": lambda: network.libtorrent(f"{network.virtual}:{ONION_PORT}"),
            "ours 1": lambda: network.ours(1),
            "raw 1": lambda: network.raw(1),
            "ours exit": lambda: network.ours(1, network.clearnet),
            "libtorrent exit": lambda: network.libtorrent(network.clearnet),
        }
        taken: dict[str, list[float]] = {name: [] for name in takes}
        for _ in range(runs):
            for name, take in takes.items():
                taken[name].append(take())
                print(f"  {name}: {taken[name][-1]:.1f} MB/s", flush=True)
        yield from _rows(taken, network.cpu, megabytes)


def measure_by_circuits(folder: Path, megabytes: int, runs: int) -> list[dict[str, float]]:
    """Goodput of ours and of bare sockets, by the number of circuits."""
    with ExitStack() as stack:
        network = bring_up(stack, folder, megabytes)
        return [
            {
                "circuits": count,
                "ours": median([network.ours(count) for _ in range(runs)]),
                "raw": median([network.raw(count) for _ in range(runs)]),
            }
            for count in COUNTS
        ]


def bring_up(stack: ExitStack, folder: Path, megabytes: int) -> Network:
    """Start everything; ``stack`` ends it."""
    content = make_content(folder / CONTENT, megabytes * MEGABYTE)
    stack.callback(content.unlink)
    torrent = make_torrent(content, folder / "onion.torrent")
    tors = folder / "tor"
    tors.mkdir(exist_ok=True)
    stack.callback(shutil.rmtree, tors, ignore_errors=True)
    relays = stack.enter_context(network_in_thread(tors / "network"))
    lines = f"SocksPort auto\nSocksPort unix:{{folder}}/socks\n{REACHES_LOOPBACK}"
    serving, fetching = (
        stack.enter_context(other_tor(stack.enter_context(running_tor(relays, tors / name, lines))))
        for name in ("serving", "fetching")
    )
    network = Network(serving, fetching, folder, torrent, megabytes)
    _, place = stack.enter_context(serving_peer("seed", torrent, content, "tcp"))
    network.onion = host_of(serving.publish(port_of(place)))
    _, place = stack.enter_context(serving_peer("raw-serve"))
    network.raw_onion = host_of(serving.publish(port_of(place)))
    _, network.clearnet = stack.enter_context(serving_peer("libtorrent-seed", torrent, folder))
    network.virtual = fetching.virtual_ip(network.onion)
    for onion in (network.onion, network.raw_onion):  # descriptors fetched, circuits at hand
        raw_sockets.warm(fetching.socks_port, onion, ONION_PORT)
    return network


def host_of(place: str) -> str:
    """Of ``HOST:PORT``."""
    return place.rpartition(":")[0]


def port_of(place: str) -> int:
    """Of ``HOST:PORT``."""
    return int(place.rpartition(":")[2])


def _rows(
    taken: dict[str, list[float]], cpu: dict[str, list[tuple[float, float]]], megabytes: int
) -> Iterator[Row]:
    onion = f"onion, {megabytes} MB, {DEFAULT} circuits at most"
    same, one, unit = "bare sockets, as many circuits", "onion, one circuit", "MB/s"
    yield Row(onion, "libtorrent, same onion", unit, taken["ours"], taken["libtorrent"], 6)
    yield Row(onion, same, unit, taken["ours"], taken["raw"], 0.9)
    yield Row(one, "bare socket, one circuit", unit, taken["ours 1"], taken["raw 1"], 0.9)
    clear = "through an exit, from libtorrent"
    yield Row(clear, "libtorrent", unit, taken["ours exit"], taken["libtorrent exit"], 1.0)
    gigabytes = megabytes / 1000
    for name, reach in ((OURS, 0.3), (LIBTORRENT, None)):
        getter, tor = ([used[side] / gigabytes for used in cpu[name]] for side in (0, 1))
        what = f"CPU of a getter a GB, {name}"
        yield Row(what, "its tor", "s", getter, tor, reach, less_is_better=True)
