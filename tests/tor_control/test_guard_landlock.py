"""Landlock: where a confined process can write, and which TCP ports it can reach."""

from pathlib import Path

import pytest

from tests.tor_control.python_process import Found, run_python
from tor_control.guard_landlock import abi, confine_tcp, confine_writes

pytestmark = pytest.mark.skipif(abi() < 1, reason="this kernel has no Landlock")


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("as it was")
    (folder / "empty").mkdir()
    return folder


CONFINE = """
from pathlib import Path
from tor_control import guard_landlock
inside, outside = Path(inside), Path(outside)
before = (outside / "file").open("a")
why = guard_landlock.confine_writes([inside])
assert why is None, why
"""

REFUSED = (
    "(outside / 'new').write_text('x')",
    "(outside / 'new').touch()",
    "(outside / 'file').write_text('x')",
    "(outside / 'file').open('a')",
    "(outside / 'file').open('r+')",
    "os.truncate(outside / 'file', 1)",
    "(outside / 'file').unlink()",
    "(outside / 'file').rename(outside / 'other')",
    "(outside / 'new').mkdir()",
    "(outside / 'empty').rmdir()",
    "(outside / 'link').symlink_to('/')",
    "os.mkfifo(outside / 'fifo')",
    "socket.socket(socket.AF_UNIX).bind(str(outside / 'socket'))",
    "(outside.parent / 'new').touch()",
)
"""Each of them would change something outside."""

BETWEEN = (
    "(outside / 'file').rename(inside / 'taken')",
    "os.link(outside / 'file', inside / 'linked')",
    "(inside / 'one').touch(); os.link(inside / 'one', outside / 'linked')",
    "(inside / 'two').touch(); (inside / 'two').rename(outside / 'moved')",
)

ALLOWED = (
    "(outside / 'file').read_text()",
    "before.write('more'); before.flush()",
    "(inside / 'a').write_text('xyz')",
    "(inside / 'a').open('a').write('x')",
    "os.truncate(inside / 'a', 1)",
    "(inside / 'b').mkdir()",
    "(inside / 'a').rename(inside / 'c')",
    "(inside / 'c').rename(inside / 'b' / 'c')",
    "os.link(inside / 'b' / 'c', inside / 'd')",
    "(inside / 'd').unlink()",
    "(inside / 'b' / 'c').replace(inside / 'e')",
    "(inside / 'b').rmdir()",
    "socket.socket(socket.AF_UNIX).bind(str(inside / 'socket'))",
    "open(os.devnull, 'w').write('x')",
)


def confined(inside: Path, outside: Path, lines: tuple[str, ...]) -> Found:
    code = f"{CONFINE}\ntell(results=attempt(lines))"
    results: Found = run_python(code, inside=str(inside), outside=str(outside), lines=lines)[
        "results"
    ]
    return results


def test_nothing_outside_can_be_changed(inside: Path, outside: Path) -> None:
    results = confined(inside, outside, REFUSED)
    assert results == dict.fromkeys(REFUSED, "EACCES")
    assert (outside / "file").read_text() == "as it was"
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "file"]


def test_nothing_is_moved_or_linked_across_the_border(inside: Path, outside: Path) -> None:
    results = confined(inside, outside, BETWEEN)
    # EXDEV: as between two disks
    assert set(results.values()) <= {"EACCES", "EXDEV"}
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "file"]


def test_what_a_download_does_goes_on(inside: Path, outside: Path) -> None:
    assert confined(inside, outside, ALLOWED) == dict.fromkeys(ALLOWED, "done")


def test_a_link_in_the_folder_leads_nowhere(inside: Path, outside: Path) -> None:
    (inside / "trap").symlink_to(outside)
    lines = ("(inside / 'trap' / 'new').touch()", "(inside / 'trap' / 'file').write_text('x')")
    assert confined(inside, outside, lines) == dict.fromkeys(lines, "EACCES")


def test_threads_that_start_later_are_confined(inside: Path, outside: Path) -> None:
    found = run_python(
        f"""{CONFINE}
results = []
def later():
    results.append(outcome((outside / "new").touch))
    inner = threading.Thread(target=lambda: results.append(outcome((outside / "new").touch)))
    inner.start()
    inner.join()
thread = threading.Thread(target=later)
thread.start()
thread.join()
tell(results=results)
""",
        inside=str(inside),
        outside=str(outside),
    )
    assert found["results"] == ["EACCES", "EACCES"]


def test_programs_that_start_later_are_confined(inside: Path, outside: Path) -> None:
    found = run_python(
        f"""{CONFINE}
code = subprocess.run(["touch", outside / "new"], stderr=subprocess.DEVNULL).returncode
tell(code=code)
""",
        inside=str(inside),
        outside=str(outside),
    )
    assert found["code"] == 1
    assert not (outside / "new").exists()


def test_threads_that_ran_before_are_not_confined_and_that_is_told(
    inside: Path, outside: Path
) -> None:
    found = run_python(
        """
from pathlib import Path
from tor_control.guard import Guard
is_confined = threading.Event()
results = []
def early():
    is_confined.wait()
    results.append(outcome((Path(outside) / "new").touch))
thread = threading.Thread(target=early)
thread.start()
guard = Guard()
guard.confine_writes([Path(inside)])
is_confined.set()
thread.join()
[layer] = guard.statistics().layers
tell(results=results, active=layer.active, reason=layer.reason)
""",
        inside=str(inside),
        outside=str(outside),
    )
    assert found["results"] == ["done"]
    assert found["active"]
    assert found["reason"] == "not for 1 threads that ran before"


def test_it_can_only_become_narrower(inside: Path, outside: Path) -> None:
    found = run_python(
        f"""{CONFINE}
guard_landlock.confine_writes([outside])
tell(results=[outcome((folder / "new").touch) for folder in (inside, outside)])
""",
        inside=str(inside),
        outside=str(outside),
    )
    assert found["results"] == ["EACCES", "EACCES"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    found = run_python(
        """
from pathlib import Path
from tor_control import guard_landlock
tell(
    error=outcome(lambda: guard_landlock.confine_writes([Path(folder) / "missing"])),
    after=outcome((Path(folder) / "new").touch),
)
""",
        folder=str(tmp_path),
    )
    assert found == {"error": "ENOENT", "after": "done"}


CONFINE_TCP = """
from tor_control import guard_landlock
allowed, refused = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
why = guard_landlock.confine_tcp([allowed.getsockname()[1]], may_listen=may_listen)
if why == "this kernel's Landlock has no network rules":
    tell(why=why)
    raise SystemExit
assert why is None, why

def connect(listener):
    with socket.socket() as client:
        client.connect(listener.getsockname())

def bind(port):
    with socket.socket() as made:
        made.bind(("127.0.0.1", port))

tell(allowed=outcome(lambda: connect(allowed)), refused=outcome(lambda: connect(refused)),
     free_port=outcome(lambda: bind(0)), chosen_port=outcome(lambda: bind(1)))
for listener in (allowed, refused):
    listener.close()
"""


@pytest.mark.parametrize("may_listen", [True, False])
def test_tcp_reaches_tors_ports_only(*, may_listen: bool) -> None:
    found = run_python(CONFINE_TCP, may_listen=may_listen)
    if "why" in found:
        pytest.skip(found["why"])
    assert found == {
        "allowed": "done",
        "refused": "EACCES",
        "free_port": "done" if may_listen else "EACCES",
        "chosen_port": "EACCES",
    }


def test_a_system_without_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert confine_writes([tmp_path]) == "this system has no Landlock"
    assert confine_tcp([1], may_listen=True) == "this system has no Landlock"
