"""Many commands at once over one connection, to a control port that says what the test wants."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import stem.socket

from tor_control.errors import ControlFailed, TorLost
from tor_control.stem_controller import StemController

OK = b"250 OK\r\n"
UNKNOWN = b"552 Unknown circuit\r\n"
COMMANDS = [f"CLOSECIRCUIT {number} IfUnused" for number in range(3)]


class PairSocket(stem.socket.ControlSocket):  # type: ignore[misc]  # stem is untyped
    """Stem's socket over a connected one."""

    def __init__(self, ours: socket.socket) -> None:
        super().__init__()
        self._ours = ours
        self.connect()

    def _make_socket(self) -> socket.socket:
        return self._ours


class Tor:
    """Answers one line after another; hangs up where it has no answer left."""

    def __init__(self, *replies: bytes) -> None:
        ours, self._theirs = socket.socketpair()
        self.heard: list[str] = []
        self.controller = StemController(PairSocket(ours), lambda _line: None)
        self._thread = threading.Thread(target=self._answer, args=(replies,))
        self._thread.start()

    def _answer(self, replies: tuple[bytes, ...]) -> None:
        # Who hears garbage may hang up while we still answer.
        with suppress(ConnectionError), self._theirs, self._theirs.makefile("rb") as lines:
            left: Iterator[bytes] = iter(replies)
            for line in lines:
                self.heard.append(line.decode().strip())
                reply = next(left, None)
                if reply is None:
                    return
                self._theirs.sendall(reply)

    def close(self) -> None:
        self.controller.close()
        self._thread.join()


def test_each_command_gets_its_own_reply_and_the_next_one_too() -> None:
    with closing(Tor(OK, UNKNOWN, OK, b"250-version=1\r\n250 OK\r\n")) as tor:
        assert tor.controller.ask_all(COMMANDS) == [250, 552, 250]
        assert tor.controller.ask("GETINFO version") == (250, ["version=1", "OK"])
        assert tor.heard == [*COMMANDS, "GETINFO version"]


def test_tor_may_go_away_in_the_middle() -> None:
    with closing(Tor(OK, OK)) as tor, pytest.raises(TorLost):
        tor.controller.ask_all(COMMANDS)


def test_what_is_no_reply_is_no_success() -> None:
    with closing(Tor(OK, b"garbage!\r\n", OK)) as tor, pytest.raises((ControlFailed, TorLost)):
        tor.controller.ask_all(COMMANDS)
