"""The tracker as the benchmark wants it: a process without Tor, on loopback or a Unix socket.

``serve`` prints where it listens as a line of JSON and runs until it is ended. ``fill`` puts peers
into an empty registry and prints what they cost. Run by ``tracker_load.py``.
"""

import json
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import trio

from tor_control.listener import listen_loopback, listen_unix
from tor_control.tor_stream import LiveStreams
from torrent_onion.engine.tracker_service import open_tracker
from torrent_onion.policy.swarm_registry import SwarmPeer, SwarmRegistry

TRACKER_URL = "http://benchmark.onion/announce"
PAGE = 4096


def resident_bytes(pid: int | str = "self") -> int:
    """What a process has in memory that nobody else has."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    resident, shared = int(fields[1]), int(fields[2])
    return (resident - shared) * PAGE


async def serve(kind: str) -> None:
    streams = LiveStreams()
    with TemporaryDirectory() as folder:
        is_unix = kind == "unix"
        async with (
            listen_unix(streams, Path(folder)) if is_unix else listen_loopback(streams) as listener,
            open_tracker(TRACKER_URL, listener, SwarmRegistry()),
        ):
            print(json.dumps({"target": listener.target}), flush=True)
            await trio.sleep_forever()


def fill(peers: int, torrents: int) -> None:
    """Join so many onions to so many torrents; print bytes and seconds."""
    rng = Random(1)
    hashes = [rng.randbytes(20) for _ in range(torrents)]
    registry = SwarmRegistry()
    before, began = resident_bytes(), time.monotonic()
    for number in range(peers):
        peer = SwarmPeer(rng.randbytes(34), is_proven=True)
        registry.join(rng.choice(hashes), peer, 0.0, is_seed=number % 4 == 0)
    seconds, used = time.monotonic() - began, resident_bytes() - before
    print(json.dumps({"peers": registry.statistics().onions, "bytes": used, "seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve, sys.argv[2])
    else:
        fill(int(sys.argv[2]), int(sys.argv[3]))
