from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from tor_control.bootstrap import BootstrapWatch, wait_bootstrapped
from tor_control.control_connection import ControlConnection, ControlEvent, EventStream
from tor_control.errors import BootstrapStalled, CommandFiltered, TorLost
from tor_control.events import Bootstrap, TorEvent, Warning_


def phase(percent: int, summary: str = "Somewhere") -> str:
    return f'NOTICE BOOTSTRAP PROGRESS={percent} TAG=x SUMMARY="{summary}"'


def problem(recommendation: str, warning: str = "Connection refused") -> str:
    return (
        f'WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting" WARNING="{warning}" '
        f"REASON=CONNECTREFUSED COUNT=9 RECOMMENDATION={recommendation} "
        'HOSTID="AAAA" HOSTADDR="192.0.2.1:9001"'
    )


def test_progress_is_told_once() -> None:
    watch = BootstrapWatch()
    assert watch.take("STATUS_CLIENT", phase(0, "Starting")) == Bootstrap(0, "Starting")
    assert watch.take("STATUS_CLIENT", phase(0, "Starting")) is None
    assert watch.take("STATUS_CLIENT", phase(50)) == Bootstrap(50, "Somewhere")
    assert watch.take("STATUS_CLIENT", phase(45)) is None
    assert watch.percent == 50


def test_problems_that_tor_finds_worth_a_word_are_told_once_and_without_addresses() -> None:
    watch = BootstrapWatch()
    watch.take("STATUS_CLIENT", phase(5))
    assert watch.take("STATUS_CLIENT", problem("ignore")) is None
    warning = watch.take("STATUS_CLIENT", problem("warn"))
    assert isinstance(warning, Warning_)
    assert "Connection refused" in warning.text
    assert "192.0.2.1" not in warning.text
    assert watch.take("STATUS_CLIENT", problem("warn")) is None
    assert "Connection refused" in str(watch.stalled(60))


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        ("7200", "120 minutes ahead of"),
        ("-90", "1 minute behind"),
        ("", "clock is wrong"),
    ],
)
def test_a_wrong_clock_is_told(skew: str, words: str) -> None:
    warning = BootstrapWatch().take(
        "STATUS_GENERAL", f"WARN CLOCK_SKEW SKEW={skew} SOURCE=CONSENSUS"
    )
    assert isinstance(warning, Warning_)
    assert words in warning.text


def test_an_old_version_is_told_and_a_new_one_is_not() -> None:
    watch = BootstrapWatch()
    line = "WARN DANGEROUS_VERSION CURRENT=0.4.7.1 REASON={} RECOMMENDED=x"
    assert watch.take("STATUS_GENERAL", line.format("NEW")) is None
    assert isinstance(watch.take("STATUS_GENERAL", line.format("OBSOLETE")), Warning_)


@pytest.mark.parametrize("text", ["", "NOTICE", "NOTICE BOOTSTRAP", "NOTICE BOOTSTRAP PROGRESS=x"])
def test_nonsense_is_left_out(text: str) -> None:
    assert BootstrapWatch().take("STATUS_CLIENT", text) is None


class Connection:
    """Answers with these phases, the last one for ever."""

    def __init__(self, phases: Sequence[str | Exception]) -> None:
        self._phases = list(phases)
        self.send, self._receive = trio.open_memory_channel[ControlEvent](10)
        self.refuses_events = False

    async def get_info(self, key: str) -> str:
        assert key == "status/bootstrap-phase"
        await trio.lowlevel.checkpoint()
        answer = self._phases.pop(0) if len(self._phases) > 1 else self._phases[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def subscribe(self, *names: str) -> AsyncIterator[EventStream]:
        if self.refuses_events:
            raise CommandFiltered
        yield EventStream(self._receive)


async def bootstrap(connection: Connection, stall_after: float = 60) -> list[TorEvent]:
    events: list[TorEvent] = []
    await wait_bootstrapped(
        cast("ControlConnection", cast("Any", connection)), events.append, stall_after=stall_after
    )
    return events


async def test_phases_that_are_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    events = await bootstrap(Connection([phase(0), phase(0), phase(80), phase(100, "Done")]))
    assert events == [Bootstrap(0, "Somewhere"), Bootstrap(80, "Somewhere"), Bootstrap(100, "Done")]


async def test_phases_that_are_heard_of(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection([phase(0), phase(90), phase(100)])
    connection.send.send_nowait(ControlEvent("STATUS_CLIENT", phase(50)))
    began_at = trio.current_time()
    assert [event for event in await bootstrap(connection) if isinstance(event, Bootstrap)] == [
        Bootstrap(percent, "Somewhere") for percent in (0, 50, 90, 100)
    ]
    assert trio.current_time() - began_at <= 1


async def test_no_progress_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(BootstrapStalled, match=r"60 seconds \(14%: Handshaking\).*bridges"):
        await bootstrap(Connection([phase(0), phase(14, "Handshaking")]))
    assert 60 <= trio.current_time() <= 63


async def test_slow_progress_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    slow = [phase(percent) for percent in range(0, 101, 4) for _ in range(50)]
    began_at = trio.current_time()
    await bootstrap(Connection(slow))
    assert trio.current_time() - began_at > 1000


async def test_a_filter_is_believed(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection([CommandFiltered()])
    connection.refuses_events = True
    assert await bootstrap(connection) == [Bootstrap(100, "Done")]


async def test_events_may_be_filtered(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection([phase(0), phase(100)])
    connection.refuses_events = True
    assert len(await bootstrap(connection)) == 2


async def test_the_loss_of_tor_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection([phase(0)])
    await connection.send.aclose()
    with pytest.raises(TorLost):
        await bootstrap(connection)
