"""The process that runs the nodes of a private network, and ends with the one who started it.

It is a program of its own, started by its path and made of the standard library alone, so that it
is up in milliseconds. (``keeper`` does this for one tor that may have to be started again; here are
many, which are never started again, and files to remove.) The rules:

- It lives as long as its standard input, a pipe that only its starter holds. However the starter
  ends, kill -9 included, the pipe ends, and with it every node and all they wrote.
- It is the parent of the nodes, so what it ends is never somebody else's process.
- Should it be killed itself, tor notices within 15 seconds (``__OwningControllerProcess``).

Its one argument, in JSON, says what to remove at the end::

    {"remove": ["/folder/nodes", "/folder/torrc"], "remove_if_empty": "/folder"}

Each line of its input holds nodes to start, and is answered by their process ids::

    [{"command": ["tor", "-f", "/folder/nodes/relay0/torrc"], "log": "/folder/nodes/relay0/log"}]
    [4711]
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from threading import Thread
from typing import BinaryIO, TypedDict


class Node(TypedDict):
    """One program to run, and where what it prints goes."""

    command: list[str]
    log: str


class Leftovers(TypedDict):
    """What is not to outlive the nodes."""

    remove: list[str]
    remove_if_empty: str


def run(leftovers: Leftovers, requests: BinaryIO, replies: BinaryIO) -> None:
    """Start what is asked for; when the requests end, end and remove it all."""
    nodes: list[Popen[bytes]] = []
    try:
        for request in requests:
            started = [_start(node) for node in json.loads(request)]
            nodes += started
            replies.write(json.dumps([node.pid for node in started]).encode() + b"\n")
            replies.flush()
    finally:
        _end(nodes)
        _remove(leftovers)


def _start(node: Node) -> Popen[bytes]:
    owner = ["--__OwningControllerProcess", str(os.getpid())]
    with Path(node["log"]).open("wb") as log:
        process = Popen([*node["command"], *owner], stdin=DEVNULL, stdout=log, stderr=STDOUT)
    # One that ends early must vanish from the process table: that is how its end is seen.
    Thread(target=process.wait, daemon=True).start()
    return process


def _end(nodes: Iterable[Popen[bytes]]) -> None:
    """There is nothing to save, so nothing is asked politely."""
    for node in nodes:
        node.kill()
    for node in nodes:
        node.wait()


def _remove(leftovers: Leftovers) -> None:
    for path in map(Path, leftovers["remove"]):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # somebody else put something there: it stays
        Path(leftovers["remove_if_empty"]).rmdir()


def _exit(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _exit)
    run(json.loads(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
