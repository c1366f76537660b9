"""A whole Tor network on this machine alone, for the demo and for tests.

Three directory authorities and some relays, each a real tor process on 127.0.0.1. This module owns
the order in which they come up:

1. the authorities' keys, all at once, for everybody must be told of them;
2. all nodes at once; they find the authorities and hand them their descriptors;
3. a vote when every authority has every descriptor (not before: the next is half an hour away);
4. every node fetches the consensus, and the network is live.

That takes about ten seconds on two cores, and 15 to 30 MB for each node.
"""

import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import STDOUT
from typing import Self

import trio

from tor_control import private_network_torrc
from tor_control.errors import PrivateNetworkFailed, TorNotFound
from tor_control.launch import USUAL_FOLDERS
from tor_control.private_network_nodes import Keeper, Node, PortTakenError, RunningNodes
from tor_control.private_network_torrc import Authority

AUTHORITIES = 3
"""As few as can lose one and still agree."""

DEADLINE = 180.0
"""Seconds until a network that is not live is given up; a machine with much else to do takes 40."""

NO_VOTE_YET = private_network_torrc.VOTING_INTERVAL // 2
"""Seconds: the first vote is as far off as it can be until everybody is known."""

VOTE_PATIENCE = 4.0
"""Seconds after a consensus was due until another vote is called."""

FETCH_PATIENCE = 0.5
"""Seconds for a node to fetch the consensus until it is asked again."""

PORTS = range(10_000, 32_000)
"""Where the authorities' ports are drawn from: below those that systems give to clients."""

DRAWS = 3
"""How often ports are drawn until some are free."""

CERTIFICATE = "keys/authority_certificate"
"""In an authority's folder (tor(1), "FILES")."""


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """A network that is live.

    Attributes:
        directory: Holds all of it, and goes with it.
        torrc: What makes a tor a client of this network (``--torrc``).
        relays: How many nodes carry traffic; the authorities do too.
        pids: Their processes, the authorities first.
    """

    directory: Path
    torrc: Path
    relays: int
    pids: tuple[int, ...]


@asynccontextmanager
async def private_network(
    directory: Path,
    *,
    relays: int = 5,
    on_progress: Callable[[str], None],
    binary: str | None = None,
) -> AsyncIterator[PrivateNetwork]:
    """Bring up a network. It ends on the way out, and also when this process is killed.

    Args:
        directory: Where it lives: an empty folder, or one to be made. It is removed at the end,
            unless somebody else puts something there.
        relays: How many, besides the authorities. With fewer than eight nodes in all tor's defence
            of onion circuits (vanguards-lite) does not find enough different ones.
        on_progress: Is told, in a few words, what is being done.
        binary: The tor program, a path or a name on PATH; None looks for one. tor-gencert is
            looked for beside it too.

    Raises:
        TorNotFound: There is no tor, or no tor-gencert.
        PrivateNetworkFailed: It did not come up; the text quotes the node that failed.

    Cancelling at any point ends and removes what there is.
    """
    programs = _Programs.find(binary)
    keeper, network = await _open_with_free_ports(programs, directory, relays, on_progress)
    try:
        yield network
    finally:
        await keeper.aclose()


async def _open_with_free_ports(
    programs: "_Programs", directory: Path, relays: int, on_progress: Callable[[str], None]
) -> tuple[Keeper, PrivateNetwork]:
    for _ in range(DRAWS):
        keeper = await Keeper.open(_empty(directory))
        try:
            return keeper, await _bring_up(programs, keeper, relays, on_progress)
        except PortTakenError:
            await keeper.aclose()
        except BaseException:
            await keeper.aclose()
            raise
    raise PrivateNetworkFailed(
        "No free ports were found on 127.0.0.1; end other programs and try again."
    )


def _empty(directory: Path) -> Path:
    """The folder by its absolute path, made where it is missing."""
    directory = directory.absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise PrivateNetworkFailed(
            f"{directory} cannot be used ({error.strerror}); choose another folder."
        ) from error
    if taken:
        raise PrivateNetworkFailed(f"{directory} is not empty; choose another folder.")
    return directory


async def _bring_up(
    programs: "_Programs", keeper: Keeper, relays: int, on_progress: Callable[[str], None]
) -> PrivateNetwork:
    with trio.move_on_after(DEADLINE):
        on_progress("making the keys of the directory authorities")
        authorities = await _make_authorities(programs, keeper.nodes)
        _tell_authorities(authorities, int(time.time()) + NO_VOTE_YET)
        others = _make_relays(keeper.nodes, relays, list(authorities.values()))
        running = await keeper.start(programs.tor, [*authorities, *others])
        await _wait_known(running, list(authorities), on_progress)
        await _vote(running, authorities, on_progress)
        await _wait_consensus(running, on_progress)
        keeper.torrc.write_text(private_network_torrc.client_torrc(authorities.values()))
        return PrivateNetwork(keeper.directory, keeper.torrc, len(running.nodes), running.pids)
    raise PrivateNetworkFailed(
        f"The private Tor network was not live after {DEADLINE:.0f} seconds "
        f"({_first_to_blame(keeper.nodes)}); try again when the machine has less to do."
    )


def _first_to_blame(nodes: Path) -> str:
    """What a node said that has no consensus, or else any of them."""
    every = sorted(
        map(Node, nodes.iterdir()), key=lambda node: (len(node.consensus()), node.nickname)
    )
    return every[0].last_words()


@dataclass(frozen=True, slots=True)
class _Programs:
    tor: str
    gencert: str

    @classmethod
    def find(cls, binary: str | None) -> Self:
        places = os.pathsep.join([os.environ.get("PATH", os.defpath), *USUAL_FOLDERS])
        tor = shutil.which(binary or "tor", path=places)
        if tor is None:
            if binary is None:
                raise TorNotFound
            raise TorNotFound(f"There is no program {binary}; correct it or leave it out.")
        places = os.pathsep.join([str(Path(tor).parent), places])
        gencert = shutil.which("tor-gencert", path=places)
        if gencert is None:
            raise TorNotFound(
                "tor-gencert was not found; install all of Tor, which it is part of "
                "(Debian and Ubuntu: `apt install tor`)."
            )
        return cls(tor, gencert)


async def _make_authorities(programs: _Programs, folder: Path) -> dict[Node, Authority]:
    """Folders with keys, and what others must know of each.

    Looking for primes is most of the work, and its length is chance, so all look at once.
    """
    nodes = [Node.make(folder / f"authority{number}") for number in range(AUTHORITIES)]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(_make_keys, programs, node)
    ports = random.sample(PORTS, 2 * AUTHORITIES)
    return {node: _authority(node, ports.pop(), ports.pop()) for node in nodes}


async def _make_keys(programs: _Programs, node: Node) -> None:
    """Make an authority's keys; what the programs say goes into its log."""
    (node.directory / "keys").mkdir(mode=0o700)
    with node.log.open("ab") as log:
        run = partial(trio.run_process, cwd=node.directory, stdout=log, stderr=STDOUT, check=False)
        await run(
            [
                *(programs.gencert, "--create-identity-key", "-m", "12", "--passphrase-fd", "0"),
                *("-i", "keys/authority_identity_key", "-s", "keys/authority_signing_key"),
                *("-c", CERTIFICATE),
            ],
            # For the identity key, which tor itself never reads.
            stdin=b"pass phrase\n",
        )
        await run(
            [programs.tor, "--list-fingerprint", "--defaults-torrc", os.devnull, "-f", "-"],
            stdin=f"Nickname {node.nickname}\nORPort auto\nDataDirectory .\n".encode(),
        )


def _authority(node: Node, or_port: int, dir_port: int) -> Authority:
    try:
        return Authority(
            node.nickname,
            or_port=or_port,
            dir_port=dir_port,
            fingerprint=private_network_torrc.fingerprint(node.read("fingerprint")),
            v3_identity=private_network_torrc.v3_identity(node.read(CERTIFICATE)),
        )
    except ValueError:
        raise PrivateNetworkFailed(
            f"The keys for a private Tor network could not be made ({node.last_words()}); "
            "see that tor and tor-gencert work."
        ) from None


def _make_relays(folder: Path, count: int, authorities: Sequence[Authority]) -> list[Node]:
    nodes = [Node.make(folder / f"relay{number}") for number in range(count)]
    for node in nodes:
        node.torrc.write_text(
            private_network_torrc.relay_torrc(authorities, node.nickname, node.directory)
        )
    return nodes


async def _wait_known(
    running: RunningNodes, authorities: Sequence[Node], on_progress: Callable[[str], None]
) -> None:
    """Wait until every authority has the descriptor of every node."""
    everybody = running.nicknames
    on_progress(f"waiting for {len(everybody)} relays to introduce themselves")
    await running.wait_until(lambda: all(node.descriptors() >= everybody for node in authorities))


async def _vote(
    running: RunningNodes,
    authorities: Mapping[Node, Authority],
    on_progress: Callable[[str], None],
) -> None:
    """Have the authorities vote at once, and again until they agree on a consensus."""
    while True:
        consensus_at = int(time.time()) + private_network_torrc.VOTE_LEAD
        _tell_authorities(authorities, consensus_at)
        running.reread_torrc(authorities)
        on_progress("waiting for the authorities to vote")
        with trio.move_on_after(consensus_at - time.time() + VOTE_PATIENCE):
            await running.wait_until(
                lambda: all(node.consensus() >= running.nicknames for node in authorities)
            )
            return


def _tell_authorities(authorities: Mapping[Node, Authority], consensus_at: int) -> None:
    for node, authority in authorities.items():
        node.torrc.write_text(
            private_network_torrc.authority_torrc(
                list(authorities.values()), authority, node.directory, consensus_at=consensus_at
            )
        )


async def _wait_consensus(running: RunningNodes, on_progress: Callable[[str], None]) -> None:
    """Wait until every node has the consensus.

    A node that asked in vain waits ever longer before it asks again, unless it is told to.
    """
    on_progress("handing out the consensus")

    def unaware() -> list[Node]:
        return [node for node in running.nodes if not node.consensus() >= running.nicknames]

    while True:
        running.reread_torrc(unaware())
        with trio.move_on_after(FETCH_PATIENCE):
            await running.wait_until(lambda: not unaware())
            return
