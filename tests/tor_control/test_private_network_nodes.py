"""What can be said of nodes by their files alone."""

from pathlib import Path

import pytest

from tor_control.errors import PrivateNetworkFailed
from tor_control.private_network_nodes import Node, PortTakenError, RunningNodes

NOBODY = 2**22 + 1
"""A process id that Linux never gives."""

HEAD = "Nov 23 06:50:59.000 "


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node.make(tmp_path / "relay0")


def test_its_exit_has_no_name_server_of_the_machine(node: Node) -> None:
    assert node.read("resolv.conf") == "nameserver 127.0.0.1\n"


def test_nothing_is_known_before_it_has_written(node: Node) -> None:
    assert node.descriptors() == node.consensus() == frozenset()


def test_descriptors_are_read_from_the_store_and_its_journal(node: Node) -> None:
    (node.directory / "cached-descriptors").write_text("router a 127.0.0.1 1 0 0\n")
    (node.directory / "cached-descriptors.new").write_text("router b 127.0.0.1 1 0 0\n")
    assert node.descriptors() == {"a", "b"}


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([], "no word"),
        (["[notice] Opening", "[notice] Done"], "[notice] Done"),
        (["[warn] Cannot do it", "[notice] Done"], "[warn] Cannot do it"),
        (["[warn] Why", "[err] Reading config failed--see warnings above."], "[warn] Why"),
        (["[warn] Small", "[err] Great"], "[err] Great"),
    ],
)
def test_last_words_are_the_ones_that_say_why(node: Node, log: list[str], words: str) -> None:
    node.log.write_text("".join(f"{HEAD}{line}\n" for line in log))
    assert node.last_words() == f"relay0: {words}"


async def test_a_node_that_ends_is_quoted(node: Node, autojump_clock: object) -> None:
    node.log.write_text(f"{HEAD}[warn] I cannot go on\n")
    running = RunningNodes([node], (NOBODY,))
    with pytest.raises(PrivateNetworkFailed, match=r"relay0: \[warn\] I cannot go on"):
        await running.wait_until(lambda: False)


async def test_a_taken_port_is_told_apart(node: Node, autojump_clock: object) -> None:
    node.log.write_text(f"{HEAD}[warn] Could not bind to 127.0.0.1:9: Address already in use\n")
    with pytest.raises(PortTakenError):
        await RunningNodes([node], (NOBODY,)).wait_until(lambda: False)


async def test_waiting_ends_when_the_condition_holds(node: Node, autojump_clock: object) -> None:
    answers = iter([False, False, True])
    await RunningNodes([], ()).wait_until(lambda: next(answers))
    assert next(answers, None) is None


def test_signalling_a_node_that_has_ended_is_nothing(node: Node) -> None:
    RunningNodes([node], (NOBODY,)).reread_torrc([node])
