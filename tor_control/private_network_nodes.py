"""The nodes of a private network as their files and processes show them.

Nothing here opens a connection: a node's own files say what it knows of the others, and SIGHUP
makes it read its configuration again and go on with what it put off.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Self

import trio

from tor_control import private_network_keeper
from tor_control.errors import PrivateNetworkFailed
from tor_control.private_network_torrc import (
    NO_RESOLVER,
    routers_described,
    routers_in_consensus,
)

POLL_INTERVAL = 0.05
"""Seconds between two looks at what the nodes wrote."""

KEEPER_PATIENCE = 10.0
"""Seconds for the keeper to end the nodes and remove their files; it takes a fraction of one."""


class PortTakenError(Exception):
    """A port that was drawn for a node belongs to another program."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node's folder. Its name is the node's nickname."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make the folder, and the file that leaves its exit without a name server."""
        directory.mkdir(mode=0o700)
        (directory / NO_RESOLVER).write_text("nameserver 127.0.0.1\n")
        return cls(directory)

    @property
    def nickname(self) -> str:
        """What the others call it."""
        return self.directory.name

    @property
    def torrc(self) -> Path:
        """Its configuration."""
        return self.directory / "torrc"

    @property
    def log(self) -> Path:
        """All that it printed."""
        return self.directory / "log"

    def read(self, name: str) -> str:
        """What a file of its folder holds; nothing where there is no such file."""
        try:
            return (self.directory / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def descriptors(self) -> frozenset[str]:
        """Nicknames of the relays whose descriptors it has."""
        return routers_described(
            self.read("cached-descriptors") + self.read("cached-descriptors.new")
        )

    def consensus(self) -> frozenset[str]:
        """Nicknames of the relays that run, as the consensus it has says."""
        return routers_in_consensus(self.read("cached-microdesc-consensus"))

    def last_words(self) -> str:
        """The line of its log that says best what is wrong, after its name."""
        lines = [line[line.find("[") :] for line in self.read("log").splitlines()]
        bad = [line for line in lines if line.startswith(("[warn]", "[err]"))]
        # Tor's own last word is often only that it said it above.
        telling = [line for line in bad if "see warnings above" not in line]
        return f"{self.nickname}: {(telling or lines or ['no word'])[-1]}"


@dataclass(frozen=True, slots=True)
class RunningNodes:
    """Nodes and their processes, in the same order."""

    nodes: Sequence[Node]
    pids: tuple[int, ...]

    @property
    def nicknames(self) -> frozenset[str]:
        """All of them."""
        return frozenset(node.nickname for node in self.nodes)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look at the nodes until the condition holds.

        Raises:
            PortTakenError: A node ended, because of its port.
            PrivateNetworkFailed: A node ended; the text quotes it.
        """
        while True:
            await trio.sleep(POLL_INTERVAL)
            if condition():
                return
            for node, pid in zip(self.nodes, self.pids, strict=True):
                if not _is_alive(pid):
                    raise _failure(node)

    def reread_torrc(self, nodes: Container[Node]) -> None:
        """Have these nodes read their configuration again, and fetch at once what they lack."""
        for node, pid in zip(self.nodes, self.pids, strict=True):
            if node in nodes:
                with suppress(ProcessLookupError):  # wait_until says it better
                    os.kill(pid, signal.SIGHUP)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _failure(node: Node) -> Exception:
    if "Address already in use" in node.read("log"):
        return PortTakenError(node.nickname)
    return PrivateNetworkFailed(
        f"A relay of the private Tor network ended ({node.last_words()}); see that tor works."
    )


@dataclass(frozen=True, slots=True)
class Keeper:
    """The process in ``private_network_keeper``, seen from here."""

    directory: Path
    process: trio.Process
    requests: trio.abc.SendStream
    replies: trio.abc.ReceiveStream

    @property
    def nodes(self) -> Path:
        """Where the nodes live."""
        return self.directory / "nodes"

    @property
    def torrc(self) -> Path:
        """What a client must be told."""
        return self.directory / "torrc"

    @classmethod
    async def open(cls, directory: Path) -> Self:
        """Start it, for a network in this empty folder."""
        leftovers: private_network_keeper.Leftovers = {
            "remove": [str(directory / "nodes"), str(directory / "torrc")],
            "remove_if_empty": str(directory),
        }
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-I", "-S", private_network_keeper.__file__),
                json.dumps(leftovers),
            ],
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; the nodes end in their turn
        )
        assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        assert process.stdout is not None  # noqa: S101 - likewise
        keeper = cls(directory, process, process.stdin, process.stdout)
        keeper.nodes.mkdir(mode=0o700)
        return keeper

    async def start(self, tor: str, nodes: Sequence[Node]) -> RunningNodes:
        """Start the nodes, all at once.

        Raises:
            PrivateNetworkFailed: They cannot be started.
        """
        request: list[private_network_keeper.Node] = [
            {
                "command": [tor, "--defaults-torrc", os.devnull, "-f", str(node.torrc)],
                "log": str(node.log),
            }
            for node in nodes
        ]
        await self.requests.send_all(json.dumps(request).encode() + b"\n")
        reply = b""
        while not reply.endswith(b"\n"):
            part = await self.replies.receive_some()
            if not part:
                raise PrivateNetworkFailed(f"{tor} cannot be run; see that it is the tor program.")
            reply += part
        return RunningNodes(nodes, tuple(json.loads(reply)))

    async def aclose(self) -> None:
        """End and remove everything. Not cancelled by others; it takes a fraction of a second."""
        with trio.move_on_after(KEEPER_PATIENCE, shield=True) as patience:
            await self.requests.aclose()
            await self.replies.aclose()
            await self.process.wait()
        if patience.cancelled_caught:
            self.process.kill()
