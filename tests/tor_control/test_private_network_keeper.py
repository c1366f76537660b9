"""The keeper of a private network with small shell programs in tor's place."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tor_control import private_network_keeper as keeper

PATIENCE = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "network" / "nodes" / "relay0").mkdir(parents=True)
    (tmp_path / "network" / "torrc").touch()
    return tmp_path / "network"


def leftovers(folder: Path) -> keeper.Leftovers:
    return {
        "remove": [str(folder / "nodes"), str(folder / "torrc"), str(folder / "never made")],
        "remove_if_empty": str(folder),
    }


def nodes(folder: Path, script: str, count: int = 1) -> bytes:
    """A request; the scripts see what the keeper adds as $0 and $1."""
    log = folder.parent / "log"
    return json.dumps([{"command": ["sh", "-c", script], "log": str(log)}] * count).encode() + b"\n"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_everything_ends_with_the_requests(folder: Path) -> None:
    replies = io.BytesIO()
    requests = nodes(folder, "exec sleep 1000", count=3) + nodes(folder, "exec sleep 1000")
    keeper.run(leftovers(folder), io.BytesIO(requests), replies)
    first, second = map(json.loads, replies.getvalue().splitlines())
    assert len({*first, *second}) == 4
    assert not any(map(is_alive, [*first, *second]))
    assert not folder.exists()


def test_a_node_belongs_to_the_keeper(folder: Path) -> None:
    """The program started by path, as it is used; a node tells what it was given."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, json.dumps(leftovers(folder))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(nodes(folder, 'echo "$0 $1"; echo complaint >&2; exec sleep 1000'))
        process.stdin.flush()
        [pid] = json.loads(process.stdout.readline())
        log = folder.parent / "log"
        while "complaint" not in log.read_text():
            assert is_alive(pid)
        assert log.read_text().startswith(f"--__OwningControllerProcess {process.pid}\n")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not is_alive(pid)
    assert not folder.exists()


def test_a_node_that_ends_leaves_the_process_table(folder: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as requests, os.fdopen(writing, "wb", 0) as starter:

        class Replies(io.BytesIO):
            def flush(self) -> None:
                [pid] = json.loads(self.getvalue())
                while is_alive(pid):
                    pass
                starter.close()

        starter.write(nodes(folder, "exit 3"))
        keeper.run(leftovers(folder), requests, Replies())
    assert not folder.exists()


def test_what_somebody_else_put_there_stays(folder: Path) -> None:
    (folder / "letter").write_text("dear")
    keeper.run(leftovers(folder), io.BytesIO(), io.BytesIO())
    assert [path.name for path in folder.iterdir()] == ["letter"]


def test_a_program_that_cannot_be_run_ends_it(folder: Path) -> None:
    request = json.dumps([{"command": ["/nowhere/tor"], "log": str(folder / "nodes" / "log")}])
    with pytest.raises(FileNotFoundError):
        keeper.run(leftovers(folder), io.BytesIO(request.encode() + b"\n"), io.BytesIO())
    assert not folder.exists()
