import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import trio

from tor_control import controller, discovery
from tor_control.attach import AttachedTor, System
from tor_control.config import TorConfig
from tor_control.control_connection import ControlConnection, Credentials
from tor_control.controller import open_tor
from tor_control.dialer import Dialer
from tor_control.endpoints import Endpoint, TcpEndpoint, UnixEndpoint
from tor_control.errors import (
    AddressRefused,
    AuthenticationFailed,
    ControlUnreachable,
    InvalidEndpoint,
    TorError,
    TorLaunchFailed,
    TorLost,
    TorNotFound,
    TorTooOld,
)
from tor_control.events import Connected, TorEvent, Warning_
from tor_control.keeper_process import KeeperProcess


def test_stem_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, tor_control.controller; sys.exit('stem' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


class Connection:
    """As much of a control connection as is used here."""

    tor_version = (0, 4, 9, 11)

    def __init__(self) -> None:
        self._closed = trio.Event()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()

    async def command(self, line: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        if self._closed.is_set():
            raise TorLost
        return ["DisableNetwork=0"]

    async def command_all(self, lines: Sequence[str]) -> list[int]:
        await self.command("")
        return [250 for _ in lines]

    async def get_info(self, key: str) -> str:
        await trio.lowlevel.checkpoint()
        return 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"'

    @asynccontextmanager
    async def subscribe(self, *names: str) -> AsyncIterator[None]:
        yield None


def connection() -> ControlConnection:
    return cast("ControlConnection", cast("Any", Connection()))


CONTROL = TcpEndpoint("127.0.0.1", 4001)
SOCKS = TcpEndpoint("127.0.0.1", 4000)


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> ControlConnection:
    """Discovery finds somebody else's tor."""
    made = connection()

    async def find(*_: object) -> tuple[AttachedTor, ControlConnection]:
        await trio.lowlevel.checkpoint()
        return AttachedTor(CONTROL, SOCKS, Credentials()), made

    monkeypatch.setattr(controller, "find_source", find)
    return made


async def test_the_facade(attached: ControlConnection, tmp_path: Path) -> None:
    events: list[TorEvent] = []
    async with open_tor(TorConfig(state=tmp_path), events.append) as tor:
        assert events[0] == Connected(
            "0.4.9.11",
            is_launched=False,
            place="tcp:127.0.0.1:4001",
            endpoints=frozenset({CONTROL, SOCKS}),
            listens_on_loopback=True,
        )
        assert tor.version == "0.4.9.11"
        assert tor.endpoints == {CONTROL, SOCKS}
        assert tor.statistics().is_up
        assert tor.statistics().onion_services == 0
    with pytest.raises(TorLost):
        await attached.command("GETINFO version")


@pytest.mark.parametrize("is_launched", [True, False])
async def test_circuits_of_a_tor_of_others_are_left_alone(
    attached: ControlConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    *,
    is_launched: bool,
) -> None:
    del autojump_clock
    monkeypatch.setattr(AttachedTor, "is_launched", is_launched)
    looked_at: list[str] = []
    ask = attached.get_info

    async def get_info(key: str) -> str:
        looked_at.append(key)
        return await ask(key)

    async def connect(_dialer: Dialer) -> NoReturn:
        await trio.sleep_forever()

    monkeypatch.setattr(attached, "get_info", get_info)
    monkeypatch.setattr(Dialer, "_connect", connect)
    async with open_tor(TorConfig(state=tmp_path)) as tor, trio.open_nursery() as nursery:
        await trio.sleep(10)
        assert "circuit-status" not in looked_at
        nursery.start_soon(tor.dial, "example.com", 80, "token")
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert ("circuit-status" in looked_at) is is_launched


async def test_tors_own_ports_are_never_dialled(
    attached: ControlConnection, tmp_path: Path
) -> None:
    async with open_tor(TorConfig(state=tmp_path)) as tor:
        for port in (CONTROL.port, SOCKS.port, 9050, 9051):
            with pytest.raises(AddressRefused, match="port"):
                await tor.dial("example.com", port, "token")
        with pytest.raises(AddressRefused, match="private network"):
            await tor.dial("127.0.0.1", 80, "token")
        assert tor.statistics().dialer.failed == {"AddressRefused": 5}


async def test_options_without_effect_are_told(attached: ControlConnection, tmp_path: Path) -> None:
    events: list[TorEvent] = []
    config = TorConfig(where="unix:/control", state=tmp_path, binary="tor")
    async with open_tor(config, events.append):
        assert any(isinstance(event, Warning_) for event in events)


class IdleKeeper:
    """Nothing is asked of it but to start nothing."""

    def __init__(self) -> None:
        self.is_disarmed = False

    def start_nothing(self) -> None:
        self.is_disarmed = True


async def test_beside_anothers_tor_the_keeper_loses_its_power(
    attached: ControlConnection, tmp_path: Path
) -> None:
    keeper = IdleKeeper()
    at_event: list[bool] = []
    config = TorConfig(state=tmp_path, keeper=cast("KeeperProcess", keeper))
    async with open_tor(config, lambda _: at_event.append(keeper.is_disarmed)):
        assert at_event[0]


async def test_nothing_but_onions(attached: ControlConnection, tmp_path: Path) -> None:
    async with open_tor(TorConfig(state=tmp_path, onion_only=True)) as tor:
        with pytest.raises(AddressRefused, match="onion"):
            await tor.dial("example.com", 80, "token")


class Discovery:
    """What discovery tries, in order, and what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[str] = []
        self.launch_error: TorError | None = None
        self.attach_errors: dict[Endpoint, TorError] = {}
        self.system = System.OTHER
        monkeypatch.setattr(discovery, "attach_tor", self.attach)
        monkeypatch.setattr(discovery, "attach_to_first", self.attach_to_first)
        monkeypatch.setattr(discovery, "detect_system", lambda: self.system)
        monkeypatch.setattr("tor_control.launch.find_tor", self.find_tor)
        monkeypatch.setattr("tor_control.launch.launch_tor", self.launch_tor)

    async def attach(
        self, place: Endpoint, _environment: object, sockets: Path | None
    ) -> tuple[AttachedTor, ControlConnection]:
        await trio.lowlevel.checkpoint()
        self.tried.append(str(place))
        if place in self.attach_errors:
            raise self.attach_errors[place]
        return AttachedTor(place, SOCKS, Credentials(), sockets), connection()

    async def attach_to_first(
        self, places: Sequence[Endpoint], environment: object, sockets: Path | None
    ) -> tuple[AttachedTor, ControlConnection]:
        for place in places:
            try:
                return await self.attach(place, environment, sockets)
            except ControlUnreachable:
                continue
        raise TorNotFound

    async def find_tor(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()
        self.tried.append("launch")
        if self.launch_error:
            raise self.launch_error

    async def launch_tor(self, *_: object) -> AttachedTor:
        await trio.lowlevel.checkpoint()
        launched = AttachedTor(UnixEndpoint("/ours"), SOCKS, Credentials())
        launched.connect = self.connect  # type: ignore[method-assign]  # it stands in for ours
        return launched

    async def connect(self) -> ControlConnection:
        await trio.lowlevel.checkpoint()
        return connection()

    async def find(self, **options: Any) -> str:
        options.setdefault("environment", {})
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            config = TorConfig(state=Path("/nowhere"), **options)
            source, _ = await discovery.find_source(config, stack, nursery)
        return str(source.control)


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Discovery:
    return Discovery(monkeypatch)


async def find_error(finder: Discovery, **options: Any) -> BaseException:
    with pytest.RaisesGroup(TorError) as caught:
        await finder.find(**options)
    return caught.value.exceptions[0]


OURS = "unix:/ours"


async def test_a_named_place_is_used_or_nothing(finder: Discovery) -> None:
    assert await finder.find(where="tcp:127.0.0.1:1") == "tcp:127.0.0.1:1"
    finder.attach_errors[TcpEndpoint("127.0.0.1", 1)] = ControlUnreachable()
    assert isinstance(await find_error(finder, where="tcp:127.0.0.1:1"), ControlUnreachable)
    assert isinstance(await find_error(finder, where="nonsense"), InvalidEndpoint)
    assert "launch" not in finder.tried


async def test_launching_launches_or_fails(finder: Discovery) -> None:
    environment = {"TOR_CONTROL_PORT": "9051"}
    assert await finder.find(where="launch", environment=environment) == OURS
    finder.launch_error = TorNotFound()
    assert isinstance(await find_error(finder, where="launch"), TorNotFound)
    assert set(finder.tried) == {"launch"}


@pytest.mark.parametrize(
    "option", [{"binary": "tor"}, {"extra_torrc": Path("x")}, {"onion_only": True}]
)
async def test_what_only_ours_can_do_is_ours(finder: Discovery, option: dict[str, Any]) -> None:
    assert await finder.find(environment={"TOR_CONTROL_PORT": "9051"}, **option) == OURS


async def test_the_environment_is_obeyed(finder: Discovery) -> None:
    environment = {"TOR_CONTROL_IPC_PATH": "/named"}
    assert await finder.find(environment=environment) == "unix:/named"
    finder.attach_errors[UnixEndpoint("/named")] = AuthenticationFailed()
    assert isinstance(await find_error(finder, environment=environment), AuthenticationFailed)
    assert set(finder.tried) == {"unix:/named"}


@pytest.mark.parametrize(
    ("system", "place"),
    [(System.TAILS, "tcp:127.0.0.1:951"), (System.WHONIX, "tcp:127.0.0.1:9051")],
)
async def test_where_all_is_tor_already(finder: Discovery, system: System, place: str) -> None:
    finder.system = system
    assert await finder.find() == place
    assert isinstance(await find_error(finder, where="launch"), TorLaunchFailed)
    assert isinstance(await find_error(finder, binary="tor"), TorLaunchFailed)
    assert "launch" not in finder.tried


async def test_our_own_goes_before_those_that_run(finder: Discovery) -> None:
    assert await finder.find() == OURS
    assert finder.tried == ["launch"]


@pytest.mark.parametrize("error", [TorNotFound(), TorTooOld()])
async def test_those_that_run_are_tried_in_order(finder: Discovery, error: TorError) -> None:
    finder.launch_error = error
    finder.attach_errors[UnixEndpoint("/run/tor/control")] = ControlUnreachable()
    finder.attach_errors[TcpEndpoint("127.0.0.1", 9051)] = ControlUnreachable()
    assert await finder.find() == "tcp:127.0.0.1:9151"
    assert finder.tried == [
        "launch",
        "unix:/run/tor/control",
        "tcp:127.0.0.1:9051",
        "tcp:127.0.0.1:9151",
    ]
    finder.attach_errors[TcpEndpoint("127.0.0.1", 9151)] = ControlUnreachable()
    assert await find_error(finder) is error


async def test_a_tor_of_ours_that_fails_is_no_reason_for_another(finder: Discovery) -> None:
    finder.launch_error = TorLaunchFailed()
    assert isinstance(await find_error(finder), TorLaunchFailed)
    assert finder.tried == ["launch"]
