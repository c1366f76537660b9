"""When the process gives up what, and what is said of it."""

import json
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from typing import Self, cast

import pytest

from tests.cli.conftest import FakeGuard
from tor_control.config import TorConfig
from tor_control.endpoints import UnixEndpoint
from tor_control.errors import TorLaunchFailed
from tor_control.events import Connected
from tor_control.guard import Layer, LayerStatus
from torrent_onion.cli import guarding
from torrent_onion.cli.guarding import arm, given_up, in_words, report_refusals, tell_layers
from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.ui import PlainUi

HOOK = LayerStatus(Layer.AUDIT_HOOK, active=True)
SECCOMP = LayerStatus(Layer.SECCOMP, active=True, reason="TCP is left open for Tor")
NO_FILES = LayerStatus(Layer.LANDLOCK_FILES, active=False, reason="this system has no Landlock")


class FakeKeeper:
    """Notes when it starts and ends."""

    def __init__(self, done: list[str]) -> None:
        self._done = done
        self.removes: list[Path] = []

    def __enter__(self) -> Self:
        self._done.append("keeper")
        return self

    def __exit__(self, *_: object) -> None:
        self._done.append("ended")

    def will_remove(self, folder: Path) -> None:
        self.removes.append(folder)


@pytest.fixture
def keeper(guard: FakeGuard, monkeypatch: pytest.MonkeyPatch) -> FakeKeeper:
    fake = FakeKeeper(guard.done)
    monkeypatch.setattr(guarding, "KeeperProcess", lambda: fake)
    return fake


def config(state: Path, **options: object) -> TorConfig:
    made = {"environment": {}, **options}
    return TorConfig(state=state, **made)  # type: ignore[arg-type]  # any field of it


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose path is short, however long that of the test is."""
    monkeypatch.setattr(guarding, "has_room_for_sockets", lambda state: "long" not in str(state))
    return tmp_path / "state"


def test_the_keeper_comes_first_and_ends_last(
    state: Path, guard: FakeGuard, keeper: FakeKeeper
) -> None:
    with given_up(config(state), [state.parent, state.parent / "missing"]) as changed:
        assert guard.done == ["keeper", "confined"]
        assert cast("FakeKeeper", changed.keeper) is keeper
        assert changed.sockets is None
    assert guard.done == ["keeper", "confined", "ended"]
    assert guard.folders == [state.parent, state]
    assert state.stat().st_mode & 0o777 == 0o700


def test_sockets_have_a_place_where_the_state_folder_has_none(
    state: Path, guard: FakeGuard, keeper: FakeKeeper, short_path: Path
) -> None:
    environment = {"XDG_RUNTIME_DIR": str(short_path)}
    long = state.with_name("long")
    with given_up(config(long, environment=environment), []) as changed:
        assert changed.sockets is not None
        assert changed.sockets.parent == short_path
        assert guard.folders == [long, changed.sockets]
        assert keeper.removes == [changed.sockets]


@pytest.mark.parametrize(
    ("where", "environment", "expected"),
    [
        ("unix:/run/tor/control", {}, True),
        ("auto", {"TOR_CONTROL_IPC_PATH": "/run/tor/control"}, True),
        ("launch", {"TOR_CONTROL_IPC_PATH": "/run/tor/control"}, False),
        ("auto", {"TOR_CONTROL_PORT": "9051"}, False),
        ("auto", {"TOR_CONTROL_HOST": "not an address"}, False),
        ("tcp:127.0.0.1:9051", {}, False),
    ],
)
@pytest.mark.usefixtures("keeper")
def test_a_tor_on_unix_sockets_may_reach_ours(
    state: Path, where: str, environment: dict[str, str], *, expected: bool
) -> None:
    with given_up(config(state, where=where, environment=environment), []) as changed:
        assert (changed.sockets is not None) is expected
        if changed.sockets:
            changed.sockets.rmdir()
    assert state.exists() is (where in {"auto", "launch"})


@pytest.mark.usefixtures("keeper")
def test_a_state_folder_that_cannot_be_made_is_told_when_it_is_needed(
    state: Path, guard: FakeGuard
) -> None:
    state.touch()
    with given_up(config(state / "below a file"), []):
        assert guard.folders == []


def test_without_a_keeper_nothing_is_given_up(
    state: Path, guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise TorLaunchFailed

    monkeypatch.setattr(guarding, "KeeperProcess", fail)
    with pytest.raises(TorLaunchFailed), given_up(config(state), []):
        pass
    assert guard.done == []


CONNECTED = Connected(
    "0.4.9.11",
    is_launched=False,
    place="unix:/control",
    endpoints=frozenset({UnixEndpoint("/control"), UnixEndpoint("/socks")}),
    listens_on_loopback=True,
)


def test_programs_read_the_layers(guard: FakeGuard) -> None:
    guard.layers = (HOOK, NO_FILES)
    out = StringIO()
    arm(CONNECTED)
    tell_layers(JsonUi(out, StringIO()))
    assert guard.endpoints == CONNECTED.endpoints
    assert guard.listens_on_loopback
    assert json.loads(out.getvalue()) == {
        "event": "guard",
        "layers": [
            {"layer": "audit_hook", "active": True, "reason": ""},
            {
                "layer": "landlock_files",
                "active": False,
                "reason": "this system has no Landlock",
            },
        ],
    }


def test_people_read_a_line(guard: FakeGuard) -> None:
    guard.layers = (HOOK, SECCOMP)
    out, err = StringIO(), StringIO()
    arm(CONNECTED)
    tell_layers(PlainUi(out, err))
    assert out.getvalue() == ""
    assert err.getvalue() == "Guard: Python audit hook, seccomp (TCP is left open for Tor).\n"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([HOOK], "Python audit hook"),
        (
            [HOOK, NO_FILES],
            "Python audit hook; not on: Landlock (files; this system has no Landlock)",
        ),
    ],
)
def test_words(layers: Collection[LayerStatus], words: str) -> None:
    assert in_words(layers) == words


def test_refusals_are_told(guard: FakeGuard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="torrent_onion")
    err = StringIO()
    report_refusals(PlainUi(StringIO(), err))
    assert err.getvalue() == ""
    assert "the guard refused 0 calls" in caplog.text
    guard.refused = 2
    report_refusals(PlainUi(StringIO(), err))
    assert err.getvalue().startswith("Warning: The guard stopped this program 2 times")
