"""The trio side of a control connection, with a scripted object in stem's place."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tor_control import control_connection
from tor_control.control_connection import (
    ControlConnection,
    ControlEvent,
    Credentials,
    open_control,
)
from tor_control.control_port import HsDescEvent
from tor_control.endpoints import UnixEndpoint
from tor_control.errors import (
    AuthenticationFailed,
    CommandFiltered,
    CommandRejected,
    ControlFailed,
    TorLost,
)

PLACE = UnixEndpoint("/nowhere")


class Stem:
    """Answers from a table; a missing answer never comes."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, list[str]] | Exception] = {
            "GETINFO version": (250, ["version=0.4.9.11 (git-x)", "OK"])
        }
        self.asked: list[str] = []
        self.closed = False
        self.refuses: Exception | None = None
        self.logged_in: tuple[Any, Any] | None = None
        self.let_go = threading.Event()
        self.connection: Any = None
        self.on_closed: Callable[[], None] = lambda: None

    def log_in(self, password: object, cookie_file: object) -> None:
        if self.refuses:
            raise self.refuses
        self.logged_in = (password, cookie_file)

    def watch_end(self, on_closed: Callable[[], None]) -> None:
        self.on_closed = on_closed

    def ask(self, line: str) -> tuple[int, list[str]]:
        self.asked.append(line)
        answer = self.answers.get(line)
        if answer is None:
            self.let_go.wait(10)
            raise TorLost
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask_all(self, lines: Sequence[str]) -> list[int]:
        return [self.ask(line)[0] for line in lines]

    def close(self) -> None:
        self.closed = True
        self.let_go.set()

    def event(self, *lines: str) -> None:
        """As from stem's thread."""
        self.connection._soon(lambda: self.connection._deliver(list(lines)))

    def end(self) -> None:
        thread = threading.Thread(target=self.on_closed)
        thread.start()
        thread.join()


@pytest.fixture
def stem(monkeypatch: pytest.MonkeyPatch) -> Stem:
    made = Stem()

    def connect(connection: ControlConnection, place: object) -> Stem:
        assert place is PLACE
        made.connection = connection
        return made

    monkeypatch.setattr(ControlConnection, "_connect", connect)
    return made


@asynccontextmanager
async def opened() -> AsyncIterator[ControlConnection]:
    with trio.fail_after(10):
        async with await open_control(PLACE, Credentials(cookie_file="/cookie")) as connection:
            yield connection


async def test_logging_in(stem: Stem) -> None:
    async with opened() as connection:
        assert connection.tor_version == (0, 4, 9, 11)
        assert stem.logged_in == (None, "/cookie")
        assert not connection.is_closed
    assert stem.closed


async def test_a_refusal_closes(stem: Stem) -> None:
    stem.refuses = AuthenticationFailed()
    with pytest.raises(AuthenticationFailed):
        async with opened():
            pass
    assert stem.closed


async def test_replies(stem: Stem) -> None:
    stem.answers["ADD"] = (250, ["ServiceID=x", "OK"])
    stem.answers["GETINFO a/b"] = (250, ["a/b=\nline 1\nline 2", "OK"])
    stem.answers["BAD"] = (512, ["too bad"])
    stem.answers["UNKNOWN"] = (510, ['Unrecognized command "UNKNOWN"'])
    stem.answers["SECRET"] = (510, ["Command filtered"])
    async with opened() as connection:
        assert await connection.command("ADD") == ["ServiceID=x", "OK"]
        assert await connection.get_info("a/b") == "line 1\nline 2"
        with pytest.raises(CommandRejected) as caught:
            await connection.command("BAD")
        assert (caught.value.code, caught.value.reason) == (512, "too bad")
        with pytest.raises(CommandRejected):
            await connection.command("UNKNOWN")
        with pytest.raises(CommandFiltered):
            await connection.command("SECRET")


async def test_many_commands_at_once(stem: Stem) -> None:
    stem.answers["A"] = (250, ["OK"])
    stem.answers["B"] = (552, ["unknown"])
    async with opened() as connection:
        assert await connection.command_all(["A", "B", "A"]) == [250, 552, 250]
        assert await connection.command_all([]) == []
        stem.end()
        with trio.fail_after(10):
            await connection.wait_closed()
        with pytest.raises(TorLost):
            await connection.command_all(["A"])


@pytest.mark.parametrize("line", ["A\r\nB", "A\nB", "A\0"])
async def test_a_command_is_one_line(stem: Stem, line: str) -> None:
    async with opened() as connection:
        with pytest.raises(ValueError, match="one line"):
            await connection.command(line)
        with pytest.raises(ValueError, match="one line"):
            await connection.command_all(["GETINFO version", line])


async def test_silence_has_an_end(stem: Stem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_connection, "COMMAND_TIMEOUT", 0.01)
    async with opened() as connection:
        with pytest.raises(ControlFailed):
            await connection.command("HANG")


async def test_a_command_can_be_cancelled(stem: Stem) -> None:
    async with opened() as connection:
        with trio.move_on_after(0.01) as scope:
            await connection.command("HANG")
        assert scope.cancelled_caught


async def test_events_reach_who_wants_them(stem: Stem) -> None:
    stem.answers["SETEVENTS HS_DESC"] = (250, ["OK"])
    stem.answers["SETEVENTS HS_DESC STATUS_CLIENT"] = (250, ["OK"])
    stem.answers["SETEVENTS STATUS_CLIENT"] = (250, ["OK"])
    async with opened() as connection:
        async with (
            connection.subscribe_hs_desc() as one,
            connection.subscribe("STATUS_CLIENT", "HS_DESC") as two,
        ):
            stem.event("HS_DESC UPLOADED abc UNKNOWN $FP")
            stem.event("STATUS_CLIENT NOTICE BOOTSTRAP")
            stem.event("CIRC 1 BUILT")
            assert await anext(one) == HsDescEvent("UPLOADED", "abc")
            assert await anext(two) == ControlEvent("HS_DESC", "UPLOADED abc UNKNOWN $FP")
            assert await anext(two) == ControlEvent("STATUS_CLIENT", "NOTICE BOOTSTRAP")
        async with connection.subscribe("STATUS_CLIENT"):
            pass
    assert stem.asked[1:] == [
        "SETEVENTS HS_DESC",
        "SETEVENTS HS_DESC STATUS_CLIENT",
        "SETEVENTS STATUS_CLIENT",
    ]


async def test_events_that_are_refused(stem: Stem) -> None:
    stem.answers["SETEVENTS HS_DESC"] = (510, ["Command filtered"])
    async with opened() as connection:
        for _ in range(2):
            with pytest.raises(CommandFiltered):
                async with connection.subscribe_hs_desc():
                    pass


async def test_the_end_reaches_everybody(stem: Stem) -> None:
    stem.answers["SETEVENTS HS_DESC"] = (250, ["OK"])
    async with opened() as connection, connection.subscribe_hs_desc() as events:
        stem.event("HS_DESC UPLOADED abc")
        stem.end()
        await connection.wait_closed()
        assert await anext(events) == HsDescEvent("UPLOADED", "abc")
        with pytest.raises(TorLost):
            await anext(events)
        with pytest.raises(TorLost):
            await connection.command("GETINFO version")
        stem.event("HS_DESC UPLOADED late")
        await trio.testing.wait_all_tasks_blocked()


def test_stems_threads_may_outlive_the_loop(stem: Stem) -> None:
    async def main() -> None:
        async with opened():
            pass

    trio.run(main)
    stem.event("HS_DESC UPLOADED abc")
    stem.end()
