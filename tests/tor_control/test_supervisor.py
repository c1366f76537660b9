from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tor_control.control_connection import ControlConnection, EventStream
from tor_control.endpoints import Endpoint, UnixEndpoint
from tor_control.errors import (
    CommandFiltered,
    ControlFailed,
    PublishFailed,
    TorLaunchFailed,
    TorLost,
)
from tor_control.events import Lost, Restored, TorEvent, Warning_
from tor_control.nursery import open_plain_nursery
from tor_control.supervisor import MAX_RESTARTS, Supervisor

NOTICED = 2.0


class Connection:
    """A control connection whose tor does what the test says."""

    def __init__(self, answer: str | Exception | None = "DisableNetwork=0") -> None:
        self.answer = answer
        self.percent = 100
        self.asked = 0
        self._closed = trio.Event()
        self._answered = trio.Event()

    def freeze(self) -> None:
        self.answer = None

    def thaw(self) -> None:
        self.answer = "DisableNetwork=0"
        self._answered.set()
        self._answered = trio.Event()

    def end(self) -> None:
        self._closed.set()
        self._answered.set()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def aclose(self) -> None:
        self.end()
        await trio.lowlevel.checkpoint()

    async def command(self, line: str) -> list[str]:
        assert line == "GETCONF DisableNetwork"
        self.asked += 1
        await trio.sleep(0.001)
        while self.answer is None and not self._closed.is_set():
            await self._answered.wait()
        if self._closed.is_set():
            raise TorLost
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return [self.answer]

    async def get_info(self, key: str) -> str:
        if self._closed.is_set():
            raise TorLost
        await trio.lowlevel.checkpoint()
        return f'NOTICE BOOTSTRAP PROGRESS={self.percent} TAG=x SUMMARY="x"'

    @asynccontextmanager
    async def subscribe(self, *names: str) -> AsyncIterator[EventStream]:
        send, receive = trio.open_memory_channel[Any](0)
        async with send:
            yield EventStream(receive)


class World:
    """Everything around the supervisor: source, traffic, onion services and the user."""

    control: Endpoint = UnixEndpoint("/control")
    socks: Endpoint = UnixEndpoint("/socks")
    sockets: Path | None = None

    def __init__(self, *, is_launched: bool = True) -> None:
        self.is_launched = is_launched
        self.events: list[tuple[float, TorEvent]] = []
        self._flows = True
        self.connections = [Connection()]
        self.connect_fails: list[Exception] = []
        self.connects = 0
        self.republish: Callable[[], None] = lambda: None
        self.republished = 0
        self.supervisor = Supervisor(
            self,
            cast("ControlConnection", cast("Any", self.connections[0])),
            traffic=self,
            republish=self._republish,
            on_event=lambda event: self.events.append((trio.current_time(), event)),
            stall_after=60,
        )

    def cut_all(self) -> None:
        self._flows = False

    def resume(self) -> None:
        self._flows = True

    def flows(self) -> bool:
        return self._flows

    async def connect(self) -> ControlConnection:
        await trio.sleep(0.1)
        self.connects += 1
        if self.connect_fails:
            raise self.connect_fails.pop(0)
        self.connections.append(Connection())
        return cast("ControlConnection", cast("Any", self.connections[-1]))

    async def _republish(self) -> None:
        await trio.sleep(1)
        self.republish()
        self.republished += 1

    def told(self) -> list[type[TorEvent]]:
        kinds = (Lost, Restored, Warning_)
        return [type(event) for _, event in self.events if isinstance(event, kinds)]


@asynccontextmanager
async def supervised(world: World) -> AsyncIterator[Connection]:
    async with open_plain_nursery() as nursery:
        nursery.start_soon(world.supervisor.run, nursery)
        await trio.sleep(10)
        assert world.told() == []
        yield world.connections[0]
        nursery.cancel_scope.cancel()


async def test_a_tor_that_is_there_is_asked_and_left_alone(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        await trio.sleep(600)
        assert 1000 < connection.asked < 1300
        assert world.told() == []
        assert world.supervisor.is_up


@pytest.mark.parametrize("is_launched", [True, False])
async def test_an_ended_connection_stops_traffic_at_once(
    autojump_clock: MockClock, *, is_launched: bool
) -> None:
    world = World(is_launched=is_launched)
    async with supervised(world) as connection:
        connection.end()
        await trio.sleep(0.01)
        assert not world.flows()
        assert not world.supervisor.is_up
        assert world.told() == [Lost]
        with trio.fail_after(5):
            await world.supervisor.wait_up()
        await trio.sleep(5)
        assert world.flows()
        assert world.told() == [Lost, Restored]
        assert world.republished == 1
        assert world.supervisor.losses == 1
        assert world.supervisor.connection is cast("Any", world.connections[1])


async def test_silence_is_noticed_and_our_own_tor_replaced(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.freeze()
        await trio.sleep(NOTICED)
        assert not world.flows()
        assert world.told() == [Lost]
        await trio.sleep(1)
        assert world.connects == 0
        await trio.sleep(15)
        assert world.connects == 1
        assert world.told() == [Lost, Restored]
        assert world.flows()


async def test_silence_that_ends_keeps_tor(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.freeze()
        await trio.sleep(NOTICED + 1)
        assert world.told() == [Lost]
        connection.thaw()
        await trio.sleep(3)
        assert world.told() == [Lost, Restored]
        assert world.connects == 0


async def test_the_silence_of_anothers_tor_is_waited_out(autojump_clock: MockClock) -> None:
    world = World(is_launched=False)
    async with supervised(world) as connection:
        connection.freeze()
        await trio.sleep(3600)
        assert world.told() == [Lost]
        assert not world.flows()
        connection.thaw()
        await trio.sleep(5)
        assert world.told() == [Lost, Restored]
        assert world.connects == 0


async def test_our_own_absence_is_not_tors(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        for offset in (0.0, 0.1, 0.2, 0.3, 0.4, 0.4995, 0.5):
            await trio.sleep(offset)
            autojump_clock.jump(3600)
        await trio.sleep(5)
        assert connection.asked
        assert world.told() == []


async def test_a_disabled_network_is_waited_for(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.answer = "DisableNetwork=1"
        await trio.sleep(1)
        assert world.told() == [Lost]
        await trio.sleep(3600)
        assert not world.flows()
        connection.answer = "DisableNetwork=0"
        connection.percent = 80
        await trio.sleep(5)
        assert not world.flows()
        connection.percent = 100
        await trio.sleep(5)
        assert world.flows()
        assert world.told() == [Lost, Restored]
        assert world.connects == 0


async def test_a_disabled_network_may_end_as_well(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.answer = "DisableNetwork=1"
        await trio.sleep(5)
        connection.end()
        await trio.sleep(5)
        assert world.told() == [Lost, Restored]
        assert world.connects == 1


@pytest.mark.parametrize("error", [CommandFiltered(), ControlFailed()])
async def test_answers_that_say_nothing(autojump_clock: MockClock, error: Exception) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.answer = error
        await trio.sleep(3)
        assert world.told() == ([] if isinstance(error, CommandFiltered) else [Lost])


async def test_our_own_tor_is_given_up_after_a_while(autojump_clock: MockClock) -> None:
    world = World()

    async def use() -> None:
        async with supervised(world) as connection:
            world.connect_fails = [TorLaunchFailed("The disk is full.")] * 100
            connection.end()
            await trio.sleep_forever()

    with pytest.raises(TorLost, match="The disk is full"):
        await use()
    assert world.connects == MAX_RESTARTS
    assert not world.flows()


async def test_anothers_tor_is_never_given_up(autojump_clock: MockClock) -> None:
    world = World(is_launched=False)
    async with supervised(world) as connection:
        world.connect_fails = [ControlFailed()] * 1000
        connection.end()
        await trio.sleep(3600)
        assert world.told() == [Lost, Restored]
        assert world.connects == 1001


async def test_a_service_that_cannot_be_published_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    failures: list[Exception] = [PublishFailed("No directory took it."), TorLost()]

    def republish() -> None:
        if failures:
            raise failures.pop(0)

    world = World()
    world.republish = republish
    async with supervised(world) as connection:
        connection.end()
        await trio.sleep(60)
        assert world.told() == [Lost, Warning_, Restored]
        assert world.flows()


async def test_a_loss_while_services_are_published_begins_anew(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.end()
        await trio.sleep(0.5)
        assert world.supervisor.is_up
        assert world.republished == 0
        world.connections[1].end()
        await trio.sleep(10)
        assert world.told() == [Lost, Lost, Restored]
        assert world.republished == 1
        assert world.connects == 2


async def test_a_stalled_network_is_waited_for(autojump_clock: MockClock) -> None:
    world = World()
    async with supervised(world) as connection:
        connection.answer = "DisableNetwork=1"
        connection.percent = 5
        await trio.sleep(2)
        connection.answer = "DisableNetwork=0"
        await trio.sleep(200)
        assert world.told()[0] is Lost
        assert set(world.told()[1:]) == {Warning_}
        connection.percent = 100
        await trio.sleep(70)
        assert world.told()[-1] is Restored
        assert world.connects == 0
