"""What the guard costs on the hot path: ``python -m integration.bench.guard_cost``.

Each round is a process of its own, which measures without the guard, with the audit hook, and with
hook and seccomp: the smallest message, where the call is all there is, and one of 16 KiB. The
median of the rounds counts.
"""

import json
import socket
import subprocess
import sys
from statistics import median
from time import perf_counter_ns

from tor_control import guard_audit, guard_seccomp

ROUNDS = 7
REPEATS = 20_000
SIZES = (1, 16384)
"""Bytes of a message."""

Figures = dict[str, float]


def measure(layer: str) -> Figures:
    """Nanoseconds for each call on a connected Unix socket."""
    one, other = socket.socketpair()
    figures: Figures = {}
    for size in SIZES:
        message, buffer = [bytes(size)], bytearray(size)
        sending = receiving = 0
        for _ in range(REPEATS):
            began = perf_counter_ns()
            one.sendmsg(message)
            sent = perf_counter_ns()
            other.recv_into(buffer)
            receiving += perf_counter_ns() - sent
            sending += sent - began
        figures[f"sendmsg {size:>5} {layer}"] = sending / REPEATS
        figures[f"recv_into {size:>5} {layer}"] = receiving / REPEATS
    one.close()
    other.close()
    return figures


def one_round() -> Figures:
    """Measure, and put on one layer after the other."""
    policy = guard_audit.AuditPolicy(
        unix=frozenset({"/socks", "/control"}), tcp=frozenset(), listens_on_loopback=False
    )
    measure("warm up")
    figures = measure("without")
    # In this order, for the hook refuses what seccomp is asked for with.
    guard_seccomp.install(allow_tcp=False)
    figures |= measure("seccomp")
    guard_audit.install(policy)
    figures |= measure("seccomp, hook")
    return figures


def main() -> None:
    """Print the medians."""
    command = [sys.executable, "-m", "integration.bench.guard_cost", "round"]
    rounds = [json.loads(subprocess.check_output(command)) for _ in range(ROUNDS)]
    for name in rounds[0]:
        print(f"{name:<32} {median(one[name] for one in rounds):8.0f} ns")


if __name__ == "__main__":
    if sys.argv[1:] == ["round"]:
        print(json.dumps(one_round()))
    else:
        main()
