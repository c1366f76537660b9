"""The keeper with shell scripts in tor's place."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tor_control import keeper

PATIENCE = 10


class Client:
    """Talks with a keeper as ``keeper_client`` does, but blocking."""

    def __init__(self, folder: Path, script: str, socket_folder: str = "") -> None:
        self.log = folder / "log"
        program = folder / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.program = program
        self.say("folder", socket_folder.encode())

    def prepare(self, torrc: bytes = b"") -> None:
        words = (str(self.log).encode(), torrc, str(self.program).encode(), b"argument")
        self.say("prepare", b"\0".join(words))

    def start(self) -> str:
        self.say("start")
        return self.report()

    def say(self, verb: str, content: bytes = b"") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb} {len(content)}\n".encode() + content)
        self.process.stdin.flush()

    def report(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        client.process.kill()
        client.process.wait()
        for pipe in (client.process.stdin, client.process.stdout):
            assert pipe is not None
            pipe.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(report: str) -> int:
    verb, pid = report.split()
    assert verb == "started"
    return int(pid)


def test_the_configuration_arrives_and_the_exit_is_reported(
    tmp_path: Path, clients: list[Client]
) -> None:
    client = Client(tmp_path, 'echo "$1"; cat; exit 3')
    clients.append(client)
    client.prepare(b"DataDirectory x\nline two")
    pid = pid_in(client.start())
    assert client.report() == f"exited {pid} 3"
    assert client.log.read_text() == "argument\nDataDirectory x\nline two"
    assert client.log.stat().st_mode & 0o777 == 0o600
    assert client.end() == 0


def test_everything_ends_with_standard_input(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "exec sleep 1000")
    clients.append(client)
    client.prepare()
    pid = pid_in(client.start())
    assert is_running(pid)
    assert client.end() == 0
    assert not is_running(pid)


def test_a_second_start_replaces_the_first(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "exec sleep 1000")
    clients.append(client)
    client.prepare()
    first = pid_in(client.start())
    assert client.start() == f"exited {first} -15"
    second = pid_in(client.report())
    assert not is_running(first)
    assert is_running(second)


def test_who_ignores_the_request_to_end_is_killed(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    clients.append(client)
    client.prepare()
    pid = pid_in(client.start())
    while not client.log.exists() or "ready" not in client.log.read_text():
        assert client.process.poll() is None
    assert client.end() == 0
    assert not is_running(pid)


def test_much_output_is_drained_and_little_kept(tmp_path: Path, clients: list[Client]) -> None:
    line = "x" * 99
    client = Client(tmp_path, f"i=0; while [ $i -lt 9000 ]; do echo {line}; i=$((i+1)); done")
    clients.append(client)
    client.prepare()
    pid = pid_in(client.start())
    assert client.report() == f"exited {pid} 0"
    old = tmp_path / "log.old"
    assert client.log.stat().st_size <= keeper.LOG_LIMIT
    assert old.stat().st_size <= keeper.LOG_LIMIT
    assert client.log.read_text().endswith(f"{line}\n")


def test_output_into_the_void_stops_nothing(tmp_path: Path, clients: list[Client]) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    client = Client(tmp_path, "echo words; exit 0")
    clients.append(client)
    client.prepare()
    pid = pid_in(client.start())
    assert client.report() == f"exited {pid} 0"


def test_a_program_that_cannot_run_is_a_failure(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "")
    clients.append(client)
    client.prepare()
    client.program.unlink()
    assert client.start() == "failed No such file or directory"
    assert client.end() == 0


def test_half_a_configuration_starts_nothing(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "echo started")
    clients.append(client)
    assert client.process.stdin is not None
    client.process.stdin.write(b"prepare 100\nhalf")
    assert client.end() == 0
    assert client.report() == ""
    assert not client.log.exists()


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with sockets, whose paths are short."""
    folder = Path(tempfile.mkdtemp())
    (folder / "to-abc").mkdir()
    for name in ("control", "to-abc/s"):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(folder / name))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_of_sockets_is_removed(
    tmp_path: Path, clients: list[Client], sockets: Path
) -> None:
    client = Client(tmp_path, "exec sleep 1000", str(sockets))
    clients.append(client)
    client.prepare()
    pid_in(client.start())
    assert sockets.exists()
    assert client.end() == 0
    assert not sockets.exists()


def test_nothing_but_sockets_is_removed(
    tmp_path: Path, clients: list[Client], sockets: Path
) -> None:
    (sockets / "to-abc" / "file").write_text("precious")
    (sockets / "link").symlink_to(tmp_path)
    client = Client(tmp_path, "", str(sockets))
    clients.append(client)
    assert client.end() == 0
    assert (sockets / "to-abc" / "file").read_text() == "precious"
    assert not (sockets / "control").exists()
    assert (sockets / "link").is_symlink()


def test_the_version_is_asked_of_the_program(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, 'test "$*" = --version && echo Hello && echo Tor version 0.4.9 x')
    clients.append(client)
    client.say("version", str(client.program).encode())
    assert client.report() == "version 0.4.9 x"
    client.say("version", b"/bin/true")
    assert client.report() == "failed"
    client.say("version", str(tmp_path / "missing").encode())
    assert client.report() == "failed"


def test_before_it_is_prepared_it_starts_nothing(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "echo started")
    clients.append(client)
    assert client.start() == "failed nothing is prepared"
    client.prepare()
    pid_in(client.start())


def test_the_power_to_start_can_be_given_up(tmp_path: Path, clients: list[Client]) -> None:
    client = Client(tmp_path, "echo started")
    clients.append(client)
    client.say("prepare")
    assert client.start() == "failed nothing is prepared"


@pytest.mark.parametrize("verb", ["prepare", "version", "folder", "nonsense"])
def test_what_it_starts_is_decided_once(tmp_path: Path, clients: list[Client], verb: str) -> None:
    """Whoever takes over the other side cannot make it start something else: it ends."""
    client = Client(tmp_path, "exec sleep 1000")
    clients.append(client)
    client.prepare()
    pid = pid_in(client.start())
    mark = tmp_path / "mark"
    client.say(verb, b"\0".join([b"/dev/null", b"", b"/usr/bin/touch", str(mark).encode()]))
    assert client.report() == f"exited {pid} -15"
    assert client.process.wait(PATIENCE) == 0
    assert not is_running(pid)
    assert not mark.exists()


def test_nothing_of_ours_is_imported(tmp_path: Path) -> None:
    seen = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", keeper.__file__],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    ).stderr.decode()
    names = {line.rpartition("|")[2].strip() for line in seen.splitlines()}
    assert "subprocess" in names
    assert not names & {"tor_control", "trio", "asyncio", "socket", "ssl", "stem", "pathlib"}
