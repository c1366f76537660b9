"""All layers together, armed as the program arms them."""

import sys
from pathlib import Path

import pytest

from tests.tor_control.python_process import Found, run_python
from tor_control import guard, guard_audit, guard_landlock, guard_seccomp
from tor_control.endpoints import Endpoint, TcpEndpoint, UnixEndpoint
from tor_control.guard import Guard, GuardStatistics, Layer, LayerStatus
from tor_control.guard_audit import AuditPolicy

SOCKS, CONTROL = UnixEndpoint("/tor/socks"), UnixEndpoint("/tor/control")
TCP_SOCKS = TcpEndpoint("127.0.0.1", 9050)


class Armed:
    """What the layers were asked for; none of them is really there."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.allow_tcp: bool | None = None
        self.ports: set[int] | None = None
        self.may_listen: bool | None = None
        self.policy: AuditPolicy | None = None
        self.order: list[str] = []


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Armed:
    made = Armed()

    def confine_writes(folders: list[Path]) -> None:
        made.folders = folders

    def seccomp(*, allow_tcp: bool) -> None:
        made.allow_tcp = allow_tcp
        made.order.append("seccomp")

    def confine_tcp(ports: set[int], *, may_listen: bool) -> str:
        made.ports, made.may_listen = ports, may_listen
        made.order.append("landlock")
        return "too old"

    def hook(policy: AuditPolicy) -> object:
        made.policy = policy
        made.order.append("hook")
        return lambda: 3

    monkeypatch.setattr(guard_landlock, "confine_writes", confine_writes)
    monkeypatch.setattr(guard_landlock, "confine_tcp", confine_tcp)
    monkeypatch.setattr(guard_landlock, "other_threads", lambda: 0)
    monkeypatch.setattr(guard_seccomp, "install", seccomp)
    monkeypatch.setattr(guard_audit, "install", hook)
    return made


def test_nothing_is_on_at_first() -> None:
    assert Guard().statistics() == GuardStatistics((), 0)


def test_unix_sockets_alone(armed: Armed, tmp_path: Path) -> None:
    made = Guard()
    made.confine_writes([tmp_path])
    made.arm({SOCKS, CONTROL}, listens_on_loopback=False)
    assert armed.folders == [tmp_path]
    assert armed.allow_tcp is False
    assert armed.ports is None
    assert armed.policy == AuditPolicy(
        unix=frozenset({"/tor/socks", "/tor/control"}), tcp=frozenset(), listens_on_loopback=False
    )
    assert armed.order[-1] == "hook"
    assert made.statistics() == GuardStatistics(
        (
            LayerStatus(Layer.AUDIT_HOOK, active=True),
            LayerStatus(Layer.SECCOMP, active=True),
            LayerStatus(Layer.LANDLOCK_FILES, active=True),
        ),
        3,
    )


@pytest.mark.parametrize(
    ("endpoints", "listens", "ports"),
    [
        ({TCP_SOCKS, CONTROL}, False, {9050}),
        ({TCP_SOCKS, TcpEndpoint("::1", 9051)}, True, {9050, 9051}),
        ({SOCKS, CONTROL}, True, set()),
    ],
)
def test_tcp_is_left_where_it_is_needed(
    armed: Armed, endpoints: set[Endpoint], *, listens: bool, ports: set[int]
) -> None:
    made = Guard()
    made.arm(endpoints, listens_on_loopback=listens)
    assert armed.allow_tcp is True
    assert armed.ports == ports
    assert armed.may_listen is listens
    assert armed.order[-1] == "hook"
    assert made.statistics().layers == (
        LayerStatus(Layer.AUDIT_HOOK, active=True),
        LayerStatus(Layer.SECCOMP, active=True, reason="TCP is left open for Tor"),
        LayerStatus(Layer.LANDLOCK_TCP, active=False, reason="too old"),
    )


def test_it_is_armed_once(armed: Armed) -> None:
    made = Guard()
    made.arm({SOCKS}, listens_on_loopback=False)
    with pytest.raises(RuntimeError, match="armed already"):
        made.arm({SOCKS}, listens_on_loopback=False)
    assert armed.order.count("hook") == 1


def test_every_layer_has_a_row_in_the_table() -> None:
    assert guard.__doc__ is not None
    for layer in Layer:
        assert f"\n{layer.name} " in guard.__doc__


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="these layers are Linux's")

WORK = """
import hashlib, ssl, tempfile, trio
from pathlib import Path
from tor_control.endpoints import TcpEndpoint, UnixEndpoint
from tor_control.guard import GUARD

folder = Path(folder)

def serve(family, place):
    listener = socket.socket(family)
    listener.bind(place)
    listener.listen()
    return listener

def listen_in_background(listener):
    def answer():
        connection, _ = listener.accept()
        connection.sendall(connection.recv(99)[::-1])
        connection.close()
    threading.Thread(target=answer, daemon=True).start()

async def talk(family, place):
    connection = trio.socket.socket(family)
    await connection.connect(place)
    await connection.sendmsg([b"there", b" and"])
    buffer = bytearray(99)
    size = await connection.recv_into(buffer)
    connection.close()
    return buffer[:size].decode()

async def work(family, place):
    answer = await talk(family, place)
    digest = await trio.to_thread.run_sync(lambda: hashlib.sha256(b"x").hexdigest())
    path = Path(tempfile.mkdtemp(prefix="to-", dir=folder)) / "s"
    listening = trio.socket.from_stdlib_socket(serve(socket.AF_UNIX, str(path)))
    async with trio.open_nursery() as nursery:
        async def knock():
            client = socket.socketpair()
            await trio.to_thread.run_sync(ssl.create_default_context)
            listening.close()
        nursery.start_soon(knock)
        try:
            await listening.accept()
        except trio.ClosedResourceError:
            pass
    path.unlink()
    path.parent.rmdir()
    return answer, digest[:8]
"""


def guarded(code: str, folder: Path) -> Found:
    folder = folder / "inside"
    folder.mkdir()
    return run_python(WORK + code, folder=str(folder))


@ON_LINUX
def test_what_the_program_does_goes_on_beside_unix_sockets(tmp_path: Path) -> None:
    found = guarded(
        """
place = str(folder / "socks")
listener = serve(socket.AF_UNIX, place)
GUARD.confine_writes([folder])
listen_in_background(listener)
GUARD.arm([UnixEndpoint(place)], listens_on_loopback=False)
tell(result=trio.run(work, socket.AF_UNIX, place), refused=GUARD.statistics().refused,
     outside=outcome(lambda: (folder.parent / "outside").touch()),
     tcp=outcome(lambda: socket.socket(socket.AF_INET)),
     active=[one.layer.name for one in GUARD.statistics().layers if one.active])
listener.close()
""",
        tmp_path,
    )
    assert found["result"] == ["dna ereht", "2d711642"]
    assert found["refused"] == 0
    assert found["tcp"] == "EPERM"
    assert "AUDIT_HOOK" in found["active"]
    if "LANDLOCK_FILES" in found["active"]:
        assert found["outside"] == "EACCES"


@ON_LINUX
def test_what_the_program_does_goes_on_beside_tcp(tmp_path: Path) -> None:
    found = guarded(
        """
listener = serve(socket.AF_INET, ("127.0.0.1", 0))
place = listener.getsockname()
listen_in_background(listener)
GUARD.arm([TcpEndpoint(*place)], listens_on_loopback=True)
result = trio.run(work, socket.AF_INET, place)
own = serve(socket.AF_INET, ("127.0.0.1", 0))
before = GUARD.statistics().refused
tell(result=result, before=before, udp=outcome(lambda: socket.socket(type=socket.SOCK_DGRAM)),
     other=outcome(lambda: socket.socket().connect(own.getsockname())),
     after=GUARD.statistics().refused)
own.close()
listener.close()
""",
        tmp_path,
    )
    assert found["result"] == ["dna ereht", "2d711642"]
    assert found["before"] == 0
    assert found["udp"] == found["other"] == "EPERM"
    assert found["after"] == 2


@ON_LINUX
def test_the_kernel_holds_where_the_hook_is_gone(tmp_path: Path) -> None:
    """As if somebody had found a way around the hook: the libc's own functions are called."""
    found = guarded(
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
make_socket, run = libc.socket, libc.execv
GUARD.arm([UnixEndpoint(str(folder / "socks"))], listens_on_loopback=False)
layers = {one.layer.name: one.active for one in GUARD.statistics().layers}
tell(seccomp=layers["SECCOMP"], unix=make_socket(1, 1, 0) >= 0,
     others=[make_socket(family, kind, 0) for family in (2, 10, 16, 17) for kind in (1, 2, 3)],
     program=run(b"/bin/true", None))
""",
        tmp_path,
    )
    if not found["seccomp"]:
        pytest.skip("no seccomp on this machine")
    assert found["unix"]
    assert found["others"] == [-1] * 12
    assert found["program"] == -1
