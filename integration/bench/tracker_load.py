"""Announces a second and memory a peer: our tracker beside opentracker, without Tor.

    python -m integration.bench.tracker_load [--seconds S] [--peers N] [--json FILE]

Both trackers run on this machine in one run, each alone at its time, under the same load of wrk
(Debian packages ``opentracker`` and ``wrk``; what is missing is left out and named). Every announce
asks for 50 peers. opentracker closes each connection after one reply and checks no signatures, so
our rows without keep-alive and without proofs are the ones to lay beside it.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

from nacl.signing import SigningKey

from integration.bench.figures import Row
from integration.bench.tracker_process import TRACKER_URL, resident_bytes
from tor_control.onion_address import onion_address
from torrent_onion.protocol.tracker import onion_proof_message

CONNECTIONS = 32
TORRENTS = 200
ANNOUNCES = 10_000
"""Different announces that are sent over and over: an onion each, 50 in a torrent."""
OPENTRACKER_PEERS = 400_000
"""For its memory: enough to see, and they must be announced one by one."""
MILLION = 1_000_000
MOST_MEMORY = 1024
"""MiB that a million peers may take."""
ROOT = Path(__file__).parents[2]

WRK_SCRIPT = """
local requests, n = {}, 0
function init(args)
  for line in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", line) end
end
function request()
  n = n % #requests + 1
  return requests[n]
end
function done(summary, latency, requests)
  io.write(string.format('RESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, ' ..
    '"errors": %d}\\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """One tracker under one load.

    Args:
        what: The row's title.
        rate: Announces a second.
        p50: Milliseconds for half of them, ``p99`` for all but one in a hundred.
        cpu: Microseconds of the tracker's processor time for each.
    """

    what: str
    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True)
class Memory:
    """What peers cost one tracker."""

    what: str
    peers: int
    bytes_a_peer: float


def announces(kind: str) -> list[str]:
    """Targets of requests: ``proven``, ``forged`` or ``plain`` (without an onion)."""
    rng = Random(1)
    targets = []
    for number in range(ANNOUNCES):
        info_hash = info_hashes()[number % TORRENTS]
        target = (
            f"/announce?info_hash={quote_from_bytes(info_hash)}"
            f"&peer_id={quote_from_bytes(rng.randbytes(20))}&port={1024 + number}"
            "&uploaded=0&downloaded=0&left=1&numwant=50&compact=1"
        )
        if kind != "plain":
            key = SigningKey(rng.randbytes(32))
            # Forged ones are another key's, so that they take as long to check as others.
            signing = key if kind == "proven" else SigningKey(rng.randbytes(32))
            message = onion_proof_message(info_hash, TRACKER_URL, int(time.time() // 60))
            target += f"&ip={onion_address(bytes(key.verify_key))}"
            target += f"&onion_sig={quote_from_bytes(signing.sign(message).signature)}"
        targets.append(target)
    return targets


def info_hashes() -> list[bytes]:
    rng = Random(0)
    return [rng.randbytes(20) for _ in range(TORRENTS)]


@dataclass
class Running:
    """A tracker's process, and where it listens: ``unix:PATH`` or ``HOST:PORT``."""

    process: subprocess.Popen[str]
    target: str

    def cpu_seconds(self) -> float:
        """Its processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def our_tracker(kind: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "integration.bench.tracker_process", "serve", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield Running(process, json.loads(process.stdout.readline())["target"])
        finally:
            process.kill()


@contextmanager
def opentracker(folder: Path) -> Iterator[Running]:
    port = free_port()
    allowed = folder / "allowed"
    allowed.write_text("".join(f"{one.hex()}\n" for one in info_hashes()))
    folder.chmod(0o755)
    place = ["-i", "127.0.0.1", "-p", str(port), "-P", str(port)]
    command = ["opentracker", *place, "-d", str(folder), "-u", "nobody", "-w", "allowed"]
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            time.sleep(1)  # it reads its list, and says nothing
            yield Running(process, f"127.0.0.1:{port}")
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def load_with_wrk(
    what: str, running: Running, targets: Sequence[str], seconds: int, header: str | None = None
) -> Load:
    """Let wrk send these requests for so long, after a second to get going."""
    with tempfile.TemporaryDirectory() as folder:
        script, lines = Path(folder) / "load.lua", Path(folder) / "targets"
        script.write_text(WRK_SCRIPT)
        lines.write_text("\n".join(targets) + "\n")
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-s", str(script)]
        command += ["-H", header] if header else []
        url = [f"http://{running.target}/announce", "--", str(lines)]
        subprocess.run([*command, "-d1s", *url], check=True, stdout=subprocess.DEVNULL)
        before = running.cpu_seconds()
        output = subprocess.run(
            [*command, f"-d{seconds}s", *url], check=True, capture_output=True, text=True
        ).stdout
        cpu = running.cpu_seconds() - before
    match = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    assert match is not None, output
    result: dict[str, Any] = json.loads(match[1])
    assert not result["errors"], output
    return Load(
        what,
        rate=result["requests"] / result["microseconds"] * 1e6,
        p50=result["p50"] / 1e3,
        p99=result["p99"] / 1e3,
        cpu=cpu / result["requests"] * 1e6,
    )


def load_over_unix(what: str, running: Running, targets: Sequence[str], seconds: int) -> Load:
    """The same with a client of ours, for wrk knows no Unix sockets: one request on each
    connection, then all answers, and again."""
    path = running.target.removeprefix("unix:")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(CONNECTIONS)]
    sent, times, before = 0, [], running.cpu_seconds()
    began = time.monotonic()
    while (now := time.monotonic()) - began < seconds:
        for number in range(CONNECTIONS):
            if sent % (CONNECTIONS * 100) < CONNECTIONS:  # where the tracker ends a connection
                clients[number].close()
                clients[number] = socket.socket(socket.AF_UNIX)
                clients[number].connect(path)
            target = targets[sent % len(targets)]
            clients[number].sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sent += 1
        for client in clients:
            read_answer(client)
        times.append(time.monotonic() - now)
    for client in clients:
        client.close()
    times.sort()
    return Load(
        what,
        rate=sent / (time.monotonic() - began),
        p50=times[len(times) // 2] * 1e3,
        p99=times[len(times) * 99 // 100] * 1e3,
        cpu=(running.cpu_seconds() - before) / sent * 1e6,
    )


def read_answer(client: socket.socket) -> bytes:
    """Read one answer with a Content-Length; return its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(client)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += receive(client)
    return body


def receive(client: socket.socket) -> bytes:
    data = client.recv(65536)
    assert data, "the tracker ended the connection"
    return data


def measure_ours(seconds: int) -> Iterator[Load]:
    proven, plain = announces("proven"), announces("plain")
    with our_tracker("tcp") as running:
        yield load_with_wrk("ours: proven onions, keep-alive", running, proven, seconds)
        close = "Connection: close"
        yield load_with_wrk("ours: proven onions", running, proven, seconds, close)
        yield load_with_wrk("ours: no onion, dictionaries", running, plain, seconds, close)
        none = [target.replace("numwant=50", "numwant=0") for target in plain]
        yield load_with_wrk("ours: no onion, no peers asked for", running, none, seconds, close)
        forged = announces("forged")
        yield load_with_wrk("ours: forged proofs", running, forged, seconds, close)
    with our_tracker("unix") as running:
        title = "ours: proven onions, keep-alive, Unix socket"
        yield load_over_unix(title, running, announces("proven"), seconds)


def measure_opentracker(seconds: int) -> Iterator[Load]:
    with tempfile.TemporaryDirectory() as folder, opentracker(Path(folder)) as running:
        close = "Connection: close"
        yield load_with_wrk("opentracker", running, announces("plain"), seconds, close)


def memory_of_ours(peers: int, torrents: int) -> Memory:
    command = [sys.executable, "-m", "integration.bench.tracker_process"]
    command += ["fill", str(peers), str(torrents)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    result = json.loads(output)
    return Memory(f"ours, in {torrents:,} torrents", peers, result["bytes"] / result["peers"])


def memory_of_opentracker(peers: int = OPENTRACKER_PEERS) -> Memory:
    """Announce peers, told apart by their ports, and look at the process."""
    hashes = [quote_from_bytes(one) for one in info_hashes()]
    with tempfile.TemporaryDirectory() as folder, opentracker(Path(folder)) as running:
        before = resident_bytes(running.process.pid)
        host, _, port = running.target.partition(":")
        for number in range(peers):
            info_hash = hashes[number % TORRENTS]
            peer = f"peer_id={'a' * 20}&port={1024 + number // TORRENTS}"
            with socket.create_connection((host, int(port))) as client:
                query = f"info_hash={info_hash}&{peer}&left=1&numwant=0&compact=1"
                client.sendall(f"GET /announce?{query} HTTP/1.0\r\n\r\n".encode())
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        used = resident_bytes(running.process.pid) - before
    what = f"opentracker, in {TORRENTS:,} torrents"
    return Memory(what, peers, used / peers)


def measure(_: Path, thousands: int, runs: int) -> Iterator[Row]:
    """The part of ``./run bench``; ``thousands`` of peers are put into our memory."""
    seconds = 3
    loads = [[*measure_ours(seconds), *measure_opentracker(seconds)] for _ in range(runs)]
    theirs = [run[-1].rate for run in loads]
    for number, row in enumerate(loads[0][:-1]):
        ours = [run[number].rate for run in loads]
        yield Row(row.what, "opentracker", "announces/s", ours, theirs, None)
    peers = thousands * 1000
    memory, beside = memory_of_ours(peers, peers // 50), memory_of_opentracker(peers // 10)
    ours, theirs = [memory.bytes_a_peer], [beside.bytes_a_peer]
    yield Row("a peer in the tracker's memory", "opentracker", "bytes", ours, theirs, None)
    what = "a million peers in it" if peers == MILLION else f"a million, as {peers:,} were in it"
    yield Row(what, "", "MiB", [memory.bytes_a_peer * MILLION / 2**20], [], MOST_MEMORY)


def print_loads(rows: Sequence[Load], yardstick: float | None) -> None:
    print(f"{'announces':46}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'ratio':>8}")
    for row in rows:
        ratio = f"{row.rate / yardstick:8.2f}" if yardstick else " " * 8
        figures = f"{row.rate:10,.0f}{row.p50:9.1f}{row.p99:9.1f}{row.cpu:8.0f}"
        print(f"{row.what:46}{figures}{ratio}")


def print_memories(rows: Sequence[Memory]) -> None:
    print(f"\n{'memory':46}{'peers':>10}{'bytes a peer':>14}{'a million':>12}")
    for row in rows:
        million = row.bytes_a_peer * MILLION / 2**20
        print(f"{row.what:46}{row.peers:10,}{row.bytes_a_peer:14.1f}{million:8.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=10, help="for each row")
    parser.add_argument("--peers", type=int, default=MILLION, help="for the memory of ours")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    missing = [name for name in ("wrk", "opentracker") if shutil.which(name) is None]
    if missing:
        print(f"Left out for want of {', '.join(missing)} (apt install {' '.join(missing)}).")
    ours = list(measure_ours(options.seconds)) if "wrk" not in missing else []
    theirs = list(measure_opentracker(options.seconds)) if not missing else []
    print_loads([*ours, *theirs], theirs[0].rate if theirs else None)
    torrents = (options.peers // 50, options.peers // 1000)
    memories = [memory_of_ours(options.peers, count) for count in torrents]
    if "opentracker" not in missing:
        memories.append(memory_of_opentracker())
    print_memories(memories)
    if options.json:
        loads = [asdict(row) for row in [*ours, *theirs]]
        figures = {"loads": loads, "memory": [asdict(row) for row in memories]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
