from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tor_control.control_connection import ControlConnection
from tor_control.directory_circuits import KEPT, LOOK_EVERY, keep_few, superfluous
from tor_control.errors import TorLost

# As tor 0.4.9.11 says it.
ASKED = (
    "{} BUILT $509C6E28187E6874CB9CFE45B6414B2F318C37AF~relay1,"
    "$73C56FCEDBBF7F6505F9BC9F0B625543B5ECE05B~relay2 BUILD_FLAGS=IS_INTERNAL,NEED_CAPACITY "
    "PURPOSE=HS_CLIENT_HSDIR TIME_CREATED=2026-11-26T08:18:40.123456"
)
OTHERS = [
    "1 BUILT $509C~relay1 BUILD_FLAGS=IS_INTERNAL PURPOSE=HS_CLIENT_REND HS_STATE=HSCR_JOINED",
    "2 BUILT $509C~relay1 BUILD_FLAGS=NEED_CAPACITY PURPOSE=GENERAL",
    "3 BUILT $509C~relay1 PURPOSE=HS_SERVICE_HSDIR",
    "4 BUILT $509C~relay1 PURPOSE=MEASURE_TIMEOUT",
]


def status(*lines: str) -> str:
    return "\n".join(lines)


def asked(numbers: range) -> list[str]:
    return [ASKED.format(number) for number in numbers]


def test_the_oldest_beyond_a_few_may_go() -> None:
    assert superfluous(status(*asked(range(8, 8 + KEPT + 4)))) == ["8", "9", "10", "11"]
    assert superfluous(status(*reversed(asked(range(98, 98 + KEPT + 3))))) == ["98", "99", "100"]


@pytest.mark.parametrize("lines", [[], OTHERS, asked(range(KEPT)), OTHERS * KEPT])
def test_few_and_others_stay(lines: list[str]) -> None:
    assert superfluous(status(*lines)) == []


def test_what_is_being_built_stays() -> None:
    lines = [line.replace("BUILT", "EXTENDED") for line in asked(range(KEPT * 2))]
    assert superfluous(status(*lines)) == []


@pytest.mark.parametrize("line", ["", "x", "BUILT", "x BUILT PURPOSE=HS_CLIENT_HSDIR"])
def test_lines_that_make_no_sense(line: str) -> None:
    assert superfluous(status(*[line] * (KEPT * 2))) == []


class Tor:
    """A control connection whose tor has circuits."""

    def __init__(self, *numbers: int) -> None:
        self.circuits = set(numbers)
        self.commands: list[str] = []
        self.is_lost = False

    async def get_info(self, key: str) -> str:
        assert key == "circuit-status"
        await trio.lowlevel.checkpoint()
        if self.is_lost:
            raise TorLost
        return status(*OTHERS, *(ASKED.format(number) for number in self.circuits))

    async def command_all(self, lines: Sequence[str]) -> list[int]:
        await trio.lowlevel.checkpoint()
        return list(map(self.answer, lines))

    def answer(self, line: str) -> int:
        self.commands.append(line)
        word, number, flag = line.split()
        assert (word, flag) == ("CLOSECIRCUIT", "IfUnused")  # what is in use must go on
        if int(number) not in self.circuits:
            return 552  # unknown circuit
        self.circuits.remove(int(number))
        return 250

    def connection(self) -> ControlConnection:
        return cast("ControlConnection", cast("Any", self))


def dialling() -> bool:
    return True


async def test_they_are_closed_as_they_come(autojump_clock: MockClock) -> None:
    del autojump_clock
    tor = Tor(*range(10, 500))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_few, tor.connection, dialling)
        await trio.sleep(LOOK_EVERY / 2)
        assert tor.circuits == set(range(500 - KEPT, 500))
        tor.circuits |= set(range(500, 600))
        await trio.sleep(LOOK_EVERY * 1.5)
        assert tor.circuits == set(range(600 - KEPT, 600))
        nursery.cancel_scope.cancel()


async def test_one_that_has_gone_is_no_obstacle(autojump_clock: MockClock) -> None:
    del autojump_clock

    class Vanishing(Tor):
        async def get_info(self, key: str) -> str:
            told = await super().get_info(key)
            self.circuits.discard(10)
            return told

    tor = Vanishing(*range(10, 12 + KEPT))
    with trio.move_on_after(LOOK_EVERY / 2):
        await keep_few(tor.connection, dialling)
    assert tor.commands == ["CLOSECIRCUIT 10 IfUnused", "CLOSECIRCUIT 11 IfUnused"]
    assert len(tor.circuits) == KEPT


async def test_it_goes_on_with_the_tor_that_is_back(autojump_clock: MockClock) -> None:
    del autojump_clock
    lost, back = Tor(*range(100)), Tor(*range(100))
    lost.is_lost = True
    connections = [lost, lost, back, back, back]
    with trio.move_on_after(LOOK_EVERY * 3.5):
        await keep_few(lambda: connections.pop(0).connection(), dialling)
    assert lost.commands == []
    assert len(back.circuits) == KEPT


async def test_who_dials_nobody_asks_tor_nothing(autojump_clock: MockClock) -> None:
    del autojump_clock
    tor = Tor(*range(100))
    with trio.move_on_after(LOOK_EVERY * 10):
        await keep_few(tor.connection, lambda: False)
    assert len(tor.circuits) == 100
