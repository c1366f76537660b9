"""``check --leaks``: what is refused is told, and what is not ends with an error."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from tor_control.address_policy import AddressPolicy
from tor_control.controller import Tor
from tor_control.errors import SocksUnavailable
from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.leak_attempts import BEHIND_PYTHON, attempts, outcome
from torrent_onion.cli.leak_checks import LeakTable, check_addresses, check_guard
from torrent_onion.cli.ui import PlainUi
from torrent_onion.errors import LocalError


class Screen:
    def __init__(self) -> None:
        self.out = io.StringIO()
        self.table = LeakTable(PlainUi(self.out, io.StringIO()))

    def rows(self) -> list[str]:
        return self.out.getvalue().splitlines()


class FakeTor:
    """Asks the policy, as the dialer does; what gets past it is remembered."""

    def __init__(self, policy: AddressPolicy) -> None:
        self.asked: list[str] = []
        self._policy = policy

    async def dial(self, host: str, port: int, isolation: str) -> Any:
        await trio.lowlevel.checkpoint()
        assert len(isolation) >= 32
        self._policy.may_dial(host, port)
        self.asked.append(host)
        raise SocksUnavailable


async def test_addresses_that_are_refused() -> None:
    screen, tor = Screen(), FakeTor(AddressPolicy())
    await check_addresses(cast("Tor", tor), screen.table)
    assert tor.asked == []
    assert len(screen.rows()) >= 10
    assert all(row.startswith("dialling") and row.endswith("  refused") for row in screen.rows())
    screen.table.require_closed()


async def test_addresses_that_get_through() -> None:
    screen, tor = Screen(), FakeTor(AddressPolicy(allow_private=True))
    await check_addresses(cast("Tor", tor), screen.table)
    assert "127.0.0.1" in tor.asked
    with pytest.raises(LocalError, match="dialling this machine") as error:
        screen.table.require_closed()
    assert len(str(error.value).splitlines()) == 1


async def test_ways_around_the_guard_are_tried_in_a_process_of_their_own() -> None:
    screen = Screen()
    await check_guard(screen.table)
    assert len(screen.rows()) == len(attempts())
    screen.table.require_closed()


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    async def run_process(*_: object, **__: object) -> object:
        await trio.lowlevel.checkpoint()
        return SimpleNamespace(stdout=answer.encode())

    monkeypatch.setattr(trio, "run_process", run_process)


async def test_what_the_guard_lets_through_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    answering(monkeypatch, '{"refused": {"a UDP packet": false}, "layers": {"seccomp": true}}')
    await check_guard(screen.table)
    assert screen.rows()[0].endswith("NOT refused")
    with pytest.raises(LocalError, match="a UDP packet"):
        screen.table.require_closed()


async def test_a_system_without_seccomp_is_told_and_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    answering(monkeypatch, f'{{"refused": {{"{BEHIND_PYTHON}": false}}, "layers": {{}}}}')
    await check_guard(screen.table)
    assert screen.rows()[0].endswith("NOT refused: this system has no seccomp")
    screen.table.require_closed()


def test_only_a_refusal_counts_as_one() -> None:
    def refused() -> None:
        raise PermissionError

    def failed() -> None:
        raise ConnectionRefusedError

    assert outcome(refused)
    assert not outcome(failed)
    assert not outcome(lambda: None)


def test_programs_read_events() -> None:
    out = io.StringIO()
    LeakTable(JsonUi(out, io.StringIO())).tell("x", refused=True)
    assert '"attempt": "x"' in out.getvalue()
    assert '"refused": true' in out.getvalue()
