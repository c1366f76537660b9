"""A swarm: one onion seeder and six getters, beside the time that one needs who is alone.

Each getter has an onion service of its own and finds the others through the seeder (``onion_pex``).
All fetch through one tor, each on circuits of its own, and go on serving until the last is done.
The seeder is a new one each time, which knows nobody: else it would name all who ever came.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from integration.bench import onion_transfer, raw_sockets
from integration.bench.figures import Row
from integration.bench.onion_transfer import host_of, port_of
from integration.bench.processes import PEER, ROOT, process_command, serving_peer
from integration.running_tor import ONION_PORT, OtherTor

GETTERS = 6
REACH = 3.0
"""Times as long as one alone needs."""

Process = subprocess.Popen[str]


def measure(folder: Path, megabytes: int, runs: int) -> Iterator[Row]:
    """Yield the row of the swarm."""
    alone, together = [], []
    with ExitStack() as stack:
        network = onion_transfer.bring_up(stack, folder, megabytes)
        for _ in range(runs):
            alone.append(_fetch(network, 1))
            together.append(_fetch(network, GETTERS))
            print(f"  alone {alone[-1]:.1f} s, the last of six {together[-1]:.1f} s", flush=True)
    yield Row(
        f"swarm, {megabytes} MB, the last of {GETTERS} getters",
        "one alone",
        "s",
        together,
        alone,
        REACH,
        less_is_better=True,
    )


def _fetch(network: onion_transfer.Network, getters: int) -> float:
    """Seconds from the moment that all may begin until the last one has everything."""
    with ExitStack() as stack:
        seeder = _begin_seeding(stack, network)
        begun = [_begin(stack, network, number, seeder) for number in range(getters)]
        for process in begun:
            _say(process, _publish(stack, network.fetching, _answer(process)["target"]))
        for process in begun:
            _answer(process)
        began = time.monotonic()
        for process in begun:
            _say(process, "go")
        for process in begun:
            _answer(process)
        return time.monotonic() - began


def _begin_seeding(stack: ExitStack, network: onion_transfer.Network) -> str:
    content = network.folder / onion_transfer.CONTENT
    _, target = stack.enter_context(serving_peer("seed", network.torrent, content, "tcp"))
    place = _publish(stack, network.serving, target)
    raw_sockets.warm(network.fetching.socks_port, host_of(place), ONION_PORT)
    return place


def _publish(stack: ExitStack, tor: OtherTor, target: str) -> str:
    place = tor.publish(port_of(target))
    stack.callback(tor.withdraw, place)
    return place


def _begin(stack: ExitStack, network: onion_transfer.Network, number: int, seeder: str) -> Process:
    got = network.folder / f"got {number}"
    stack.callback(shutil.rmtree, got, ignore_errors=True)
    command = process_command(PEER, ("swarm-get", network.torrent, got, seeder, network.socks))
    process = stack.enter_context(
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    )
    stack.callback(process.kill)
    return process


def _say(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _answer(process: Process) -> dict[str, str]:
    assert process.stdout is not None
    answer: dict[str, str] = json.loads(process.stdout.readline())
    return answer
