"""Publishing against a scripted control port; no tor."""

import math
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tor_control.address_policy import TOR_PORTS
from tor_control.control_port import HsDescEvent
from tor_control.errors import (
    CommandFiltered,
    CommandRejected,
    ControlFailed,
    PublishFailed,
    TorError,
    TorLost,
)
from tor_control.onion_address import OnionKey
from tor_control.onion_service import (
    PUBLISH_SECONDS,
    REJECTED_SECONDS,
    REMOVE_SECONDS,
    SETTLE_SECONDS,
    OnionService,
    PowDefenses,
    ServiceLimits,
    add_onion_line,
    publish,
    random_port,
)
from tor_control.tor_stream import LiveStreams

KEY = OnionKey.from_seed(bytes(range(32)))
SERVICE = KEY.address.removesuffix(".onion")
OTHER = OnionKey.from_seed(bytes(32)).address.removesuffix(".onion")
TARGET = "unix:/tmp/to-x/s"
NO_LIMITS = ServiceLimits()
VERSION = (0, 4, 9, 11)


def event(action: str, reason: str | None = None, address: str = SERVICE) -> HsDescEvent:
    return HsDescEvent(action, address, reason)


class ScriptedControl:
    """Answers ADD_ONION as a tor would, and sends the events of a script after it."""

    def __init__(self, *events: HsDescEvent, service: str = SERVICE) -> None:
        self.tor_version: tuple[int, ...] = VERSION
        self.lines: list[str] = []
        self.after_add = events
        self.service = service
        self.error_for: dict[str, TorError] = {}
        self.hangs_on = "nothing"
        self.send, self.receive = trio.open_memory_channel[HsDescEvent](math.inf)
        self.is_subscribed = False

    async def command(self, line: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        self.lines.append(line)
        if line.startswith(self.hangs_on):
            await trio.sleep_forever()
        if error := self.error_for.get(line.split(maxsplit=1)[0]):
            raise error
        if not line.startswith("ADD_ONION"):
            return ["OK"]
        assert self.is_subscribed, "an event could be missed"
        for one in self.after_add:
            self.send.send_nowait(one)
        return [f"ServiceID={self.service}", "OK"]

    @asynccontextmanager
    async def subscribe_hs_desc(self) -> AsyncIterator[AsyncIterator[HsDescEvent]]:
        await trio.lowlevel.checkpoint()
        self.is_subscribed = True
        try:
            yield self.receive
        finally:
            self.is_subscribed = False

    @property
    def commands(self) -> list[str]:
        return [line.split()[0] for line in self.lines]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="o"))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def published(
    control: ScriptedControl, folder: Path, key: OnionKey | None = KEY
) -> AsyncIterator[OnionService]:
    async with publish(control, LiveStreams(), key=key, port=6881, folder=folder) as service:
        yield service


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def blob(key: OnionKey) -> str:
    return key.control_blob().reveal().decode()


async def test_from_publishing_to_removal(folder: Path) -> None:
    control = ScriptedControl(event("UPLOAD"), event("UPLOADED"))
    async with published(control, folder) as service:
        assert service.address == KEY.address
        assert service.port == 6881
        assert control.lines == [f"ADD_ONION {blob(KEY)} Port=6881,{service.listener.target}"]
        assert not is_empty(folder)
    assert control.lines[1:] == [f"DEL_ONION {SERVICE}"]
    assert is_empty(folder)


async def test_it_is_not_published_before_clients_can_find_it(folder: Path) -> None:
    control = ScriptedControl(
        event("CREATED"),
        event("UPLOAD"),
        event("UPLOAD"),
        event("UPLOADED", address=OTHER),
        event("UPLOADED"),
        event("REQUESTED"),
        event("RECEIVED"),
    )
    is_published = False

    async def main() -> None:
        nonlocal is_published
        async with published(control, folder):
            is_published = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        await trio.testing.wait_all_tasks_blocked()
        assert not is_published
        await control.send.send(event("UPLOADED"))
        await trio.testing.wait_all_tasks_blocked()
        assert is_published


async def test_a_new_key_and_port_for_every_start(folder: Path) -> None:
    starts = set()
    for _ in range(3):
        control = ScriptedControl()
        control.error_for["ADD_ONION"] = CommandRejected(512, "seen enough")
        with pytest.raises(PublishFailed):
            async with publish(control, LiveStreams(), folder=folder):
                pass
        starts.add(control.lines[0].rpartition(",")[0])
    assert len({start.split()[1] for start in starts}) == 3
    assert len({start.split()[2] for start in starts}) == 3


async def test_tor_says_another_address(folder: Path) -> None:
    control = ScriptedControl(event("UPLOADED"), service=OTHER)
    with pytest.raises(PublishFailed):
        async with published(control, folder):
            pass
    assert control.commands == ["ADD_ONION", "DEL_ONION"]
    assert is_empty(folder)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (CommandRejected(550, "Onion address collision"), PublishFailed, "in use already"),
        (CommandRejected(512, "Invalid 'Port'"), PublishFailed, "512 Invalid 'Port'"),
        (CommandFiltered(), CommandFiltered, "filter"),
        (ControlFailed(), ControlFailed, "control port"),
        (TorLost(), TorLost, "gone"),
    ],
)
async def test_tor_refuses(
    folder: Path, error: TorError, expected: type[TorError], words: str
) -> None:
    control = ScriptedControl()
    control.error_for["ADD_ONION"] = error
    with pytest.raises(expected, match=words) as caught:
        async with published(control, folder):
            pass
    assert blob(KEY) not in str(caught.value)
    assert is_empty(folder)
    if isinstance(error, CommandRejected):
        # DEL_ONION would take down the service that has the address.
        assert control.commands == ["ADD_ONION"]


async def test_no_upload_in_time(folder: Path, autojump_clock: trio.testing.MockClock) -> None:
    control = ScriptedControl(event("UPLOAD"), event("FAILED", "UPLOAD_REJECTED"), event("UPLOAD"))
    start = trio.current_time()
    with pytest.raises(PublishFailed, match="clock"):
        async with published(control, folder):
            pass
    assert trio.current_time() - start == pytest.approx(PUBLISH_SECONDS)
    assert control.commands == ["ADD_ONION", "DEL_ONION"]


async def test_a_control_port_that_hangs(
    folder: Path, autojump_clock: trio.testing.MockClock
) -> None:
    control = ScriptedControl()
    control.hangs_on = ""
    start = trio.current_time()
    with pytest.raises(PublishFailed):
        async with published(control, folder):
            pass
    assert trio.current_time() - start == pytest.approx(PUBLISH_SECONDS + REMOVE_SECONDS)
    assert is_empty(folder)


async def test_every_directory_refuses(
    folder: Path, autojump_clock: trio.testing.MockClock
) -> None:
    control = ScriptedControl(
        event("UPLOAD"),
        event("UPLOAD"),
        event("FAILED", "UPLOAD_REJECTED"),
        event("FAILED", "NOT_FOUND"),
        event("FAILED", "UNEXPECTED"),
    )
    start = trio.current_time()
    with pytest.raises(PublishFailed):
        async with published(control, folder):
            pass
    assert trio.current_time() - start == pytest.approx(REJECTED_SECONDS)


async def test_one_directory_that_does_not_answer_delays_it_a_little(
    folder: Path, autojump_clock: trio.testing.MockClock
) -> None:
    control = ScriptedControl(event("UPLOAD"), event("UPLOAD"), event("UPLOADED"), event("UPLOAD"))
    start = trio.current_time()
    async with published(control, folder):
        assert trio.current_time() - start == pytest.approx(SETTLE_SECONDS)


async def test_another_directory_takes_it_after_some_refused(
    folder: Path, autojump_clock: trio.testing.MockClock
) -> None:
    control = ScriptedControl(event("UPLOAD"), event("FAILED", "UPLOAD_REJECTED"))

    async def later() -> None:
        await trio.sleep(REJECTED_SECONDS - 1)
        await control.send.send(event("UPLOAD"))
        await trio.sleep(REJECTED_SECONDS + 1)
        await control.send.send(event("UPLOADED"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        async with published(control, folder) as service:
            assert service.address == KEY.address


async def test_the_events_end_with_tor(folder: Path) -> None:
    control = ScriptedControl(event("UPLOAD"))
    control.send.close()
    control.after_add = ()
    with pytest.raises(TorLost):
        async with published(control, folder):
            pass
    assert is_empty(folder)


async def test_published_again_with_the_same_address(folder: Path) -> None:
    first, second = ScriptedControl(event("UPLOADED")), ScriptedControl(event("UPLOADED"))
    async with published(first, folder) as service:
        await service.republish(second)
        assert second.lines == first.lines
    assert first.commands == ["ADD_ONION"]
    assert second.commands == ["ADD_ONION", "DEL_ONION"]


async def test_removal_survives_a_lost_tor(folder: Path) -> None:
    control = ScriptedControl(event("UPLOADED"))
    async with published(control, folder):
        control.error_for["DEL_ONION"] = TorLost()
    assert control.commands == ["ADD_ONION", "DEL_ONION"]
    assert is_empty(folder)


async def test_cancelling_removes_the_service(folder: Path) -> None:
    control = ScriptedControl(event("UPLOADED"))
    with trio.CancelScope() as scope:
        async with published(control, folder):
            scope.cancel()
            await trio.sleep_forever()
    assert control.commands == ["ADD_ONION", "DEL_ONION"]
    assert is_empty(folder)


async def test_cancelling_while_it_is_published(folder: Path) -> None:
    control = ScriptedControl(event("UPLOAD"))

    async def main() -> None:
        async with published(control, folder):
            raise AssertionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert control.commands == ["ADD_ONION", "DEL_ONION"]
    assert is_empty(folder)


async def test_leaving_does_not_wait_for_a_tor_that_hangs(
    folder: Path, autojump_clock: trio.testing.MockClock
) -> None:
    control = ScriptedControl(event("UPLOADED"))
    control.hangs_on = "DEL_ONION"
    start = trio.current_time()
    async with published(control, folder):
        pass
    assert trio.current_time() - start == pytest.approx(REMOVE_SECONDS)
    assert is_empty(folder)


async def test_removal_ends_a_republication_that_still_runs(folder: Path) -> None:
    back = ScriptedControl(event("UPLOAD"))
    async with (
        published(ScriptedControl(event("UPLOADED")), folder) as service,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(service.republish, back)
        await trio.testing.wait_all_tasks_blocked()
        await service.remove()
    assert back.commands == ["ADD_ONION", "DEL_ONION"]


async def test_what_was_removed_is_not_published_again(folder: Path) -> None:
    back = ScriptedControl(event("UPLOADED"))
    async with published(ScriptedControl(event("UPLOADED")), folder) as service:
        pass
    await service.republish(back)
    assert back.commands == []


def test_the_fields_and_their_order() -> None:
    limits = ServiceLimits(max_streams=10, pow_defenses=PowDefenses(5, 20))
    assert add_onion_line(KEY, 2000, TARGET, NO_LIMITS, VERSION) == (
        f"ADD_ONION {blob(KEY)} Port=2000,{TARGET}"
    )
    assert add_onion_line(KEY, 2000, "127.0.0.1:99", limits, (0, 4, 9, 9)) == (
        f"ADD_ONION {blob(KEY)} MaxStreams=10 "
        "PoWDefensesEnabled=1 PoWQueueRate=5 PoWQueueBurst=20 Port=2000,127.0.0.1:99"
    )
    for version in [(0, 4, 9, 8), (0, 4, 8, 99), (0, 4, 7)]:
        assert add_onion_line(KEY, 2000, TARGET, limits, version) == (
            f"ADD_ONION {blob(KEY)} MaxStreams=10 Port=2000,{TARGET}"
        )


def test_random_ports() -> None:
    rng = random.Random(1)
    ports = {random_port(rng) for _ in range(200_000)}
    assert min(ports) == 1024
    assert max(ports) == 65535
    assert not ports & TOR_PORTS
    assert len(ports) > 60_000
