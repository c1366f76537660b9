"""The audit hook alone, without the kernel's help: what it refuses on any system."""

import pytest

from tests.tor_control.python_process import Found, run_python
from tor_control.guard_audit import AuditPolicy

ARM = """
import _socket, ctypes, gc
from tor_control import guard_audit
held = ctypes.pythonapi
refused = guard_audit.install(guard_audit.AuditPolicy(
    unix=frozenset(unix), tcp=frozenset(tcp), listens_on_loopback=listens))
tell(results=attempt(lines), refused=refused())
"""

UNIX = "socket.socket(socket.AF_UNIX)"

ALWAYS_REFUSED = (
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM | 0o4000)",
    "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET)",
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",  # SCTP
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",  # MPTCP
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "socket.socket(16, socket.SOCK_RAW)",  # AF_NETLINK
    "socket.socket(17, socket.SOCK_RAW)",  # AF_PACKET
    "socket.socket(40, socket.SOCK_STREAM)",  # AF_VSOCK
    "socket.socket(31, socket.SOCK_STREAM)",  # AF_BLUETOOTH
    "socket.socket(29, socket.SOCK_RAW)",  # AF_CAN
    "_socket.socket()",
    "_socket.socket(fileno=0)",
    "socket.create_connection(('192.0.2.1', 80))",
    "socket.create_connection(('example.com', 80))",
    "socket.getaddrinfo('example.com', 80)",
    "socket.getaddrinfo('192.0.2.1', 80)",
    "socket.gethostbyname('example.com')",
    "socket.gethostbyname_ex('example.com')",
    "socket.gethostbyaddr('192.0.2.1')",
    "socket.getnameinfo(('192.0.2.1', 80), 0)",
    "socket.getservbyname('http')",
    "socket.getservbyport(80)",
    f"{UNIX}.connect('/run/other')",
    f"{UNIX}.connect(b'/run/other')",
    f"{UNIX}.connect('\\0abstract')",
    f"{UNIX}.connect_ex('/run/other')",
    f"{UNIX}.sendto(b'x', '/run/other')",
    f"{UNIX}.sendmsg([b'x'], [], 0, '/run/other')",
    f"{UNIX}.bind('\\0abstract')",
    f"{UNIX}.bind('')",
    "subprocess.run(['true'])",
    "subprocess.Popen('true', shell=True)",
    "os.system('true')",
    "os.popen('true')",
    "os.fork()",
    "os.forkpty()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.posix_spawnp('true', ['true'], {})",
    "os.spawnlp(os.P_WAIT, 'true', 'true')",
    "os.execv('/bin/true', ['true'])",
    "os.execve('/bin/true', ['true'], {})",
    # Elsewhere than on POSIX systems.
    "sys.audit('os.spawn')",
    "sys.audit('os.startfile')",
    "sys.audit('os.startfile/2')",
    "sys.audit('_winapi.CreateProcess')",
    "ctypes.CDLL(None)",
    "ctypes.CDLL('libc.so.6').socket",
    "ctypes.pythonapi.Py_IncRef",
    "held.Py_DecRef",
    "ctypes.c_int.from_address(4096)",
    "sys.audit('sqlite3.enable_load_extension')",
    "sys.audit('sqlite3.load_extension')",
    "ctypes.pythonapi['Py_IncRef']",
    "sys.audit('ctypes.dlsym/handle')",
    "sys.audit('ctypes.call_function')",
    "ctypes.c_int.from_buffer(bytearray(8))",
    "sys.audit('socket.sethostname')",
    "gc.get_objects()",
    "gc.get_referrers(refused)",
    "gc.get_referents(refused)",
)

TCP_REFUSED = (
    "socket.socket(socket.AF_INET)",
    "socket.socket(socket.AF_INET6)",
)
"""Where Tor has Unix sockets."""

TCP = "socket.socket(socket.AF_INET)"

OTHER_PLACES = (
    f"{TCP}.connect(('192.0.2.1', 9050))",
    f"{TCP}.connect(('127.0.0.1', 9999))",
    f"{TCP}.connect(('127.0.0.2', 9050))",
    f"{TCP}.connect(('localhost', 9050))",
    f"{TCP}.connect_ex(('127.0.0.1', 9999))",
    f"{TCP}.sendto(b'x', ('127.0.0.1', 9999))",
    f"{TCP}.sendmsg([b'x'], [], 0, ('127.0.0.1', 9999))",
    "socket.socket(socket.AF_INET6).connect(('::1', 9999))",
    "socket.socket(socket.AF_INET6).connect(('::ffff:192.0.2.1', 9050))",
    f"{TCP}.bind(('0.0.0.0', 0))",
    f"{TCP}.bind(('', 0))",
    f"{TCP}.bind(('192.0.2.1', 0))",
    "socket.socket(socket.AF_INET6).bind(('::', 0))",
)


@pytest.fixture(scope="module")
def with_unix() -> Found:
    return run_python(
        ARM,
        unix=["/run/tor/socks"],
        tcp=[],
        listens=False,
        lines=[*ALWAYS_REFUSED, *TCP_REFUSED],
    )


@pytest.fixture(scope="module")
def with_tcp() -> Found:
    return run_python(
        ARM,
        unix=[],
        tcp=[("127.0.0.1", 9050), ("::1", 9050)],
        listens=True,
        lines=[*ALWAYS_REFUSED, *OTHER_PLACES],
    )


@pytest.mark.parametrize("line", [*ALWAYS_REFUSED, *TCP_REFUSED])
def test_it_refuses_beside_unix_sockets(with_unix: Found, line: str) -> None:
    assert with_unix["results"][line] == "EPERM"


@pytest.mark.parametrize("line", [*ALWAYS_REFUSED, *OTHER_PLACES])
def test_it_refuses_beside_tcp(with_tcp: Found, line: str) -> None:
    assert with_tcp["results"][line] == "EPERM"


def test_every_refusal_is_counted(with_unix: Found) -> None:
    assert with_unix["refused"] == list(with_unix["results"].values()).count("EPERM")


def test_what_is_needed_goes_on() -> None:
    found = run_python(
        """
import hashlib, tempfile
from tor_control import guard_audit
folder = tempfile.mkdtemp()
place = os.path.join(folder, "socket")
refused = guard_audit.install(guard_audit.AuditPolicy(
    unix=frozenset([place]), tcp=frozenset(), listens_on_loopback=False))
listener = socket.socket(socket.AF_UNIX)
listener.bind(place)
listener.listen()
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
client.connect(place.encode())
server, _ = listener.accept()
client.sendmsg([b"a", b"b"])
client.send(b"c")
buffer = bytearray(8)
size = server.recv_into(buffer)
one, other = socket.socketpair()
one.sendall(b"x")
thread = threading.Thread(target=lambda: hashlib.sha256(b"x" * 9999).digest())
thread.start()
thread.join()
for end in (listener, client, server, one, other):
    end.close()
os.unlink(place)
os.rmdir(folder)
tell(size=size, refused=refused())
"""
    )
    assert found == {"size": 3, "refused": 0}


def test_a_refusal_is_logged_at_debug_level_and_explained() -> None:
    found = run_python(
        """
import logging
from tor_control import guard_audit
records = []
logging.getLogger("tor_control").addHandler(handler := logging.Handler())
logging.getLogger("tor_control").setLevel(logging.DEBUG)
handler.emit = records.append
guard_audit.install(guard_audit.AuditPolicy(
    unix=frozenset(), tcp=frozenset(), listens_on_loopback=False))
try:
    socket.gethostbyname("example.com")
except PermissionError as error:
    tell(text=str(error), log=[(one.levelname, one.getMessage()) for one in records])
"""
    )
    assert "gethostbyname is refused: it could go around Tor" in found["text"]
    assert found["log"] == [["DEBUG", "the guard refused socket.gethostbyname"]]


def test_a_thread_that_runs_already_is_refused_too() -> None:
    found = run_python(
        """
from tor_control import guard_audit
armed = threading.Event()
results = []
def late():
    armed.wait()
    results.append(outcome(lambda: socket.socket(socket.AF_INET)))
thread = threading.Thread(target=late)
thread.start()
guard_audit.install(guard_audit.AuditPolicy(
    unix=frozenset(), tcp=frozenset(), listens_on_loopback=False))
armed.set()
thread.join()
tell(results=results)
"""
    )
    assert found["results"] == ["EPERM"]


STREAM, NONBLOCKING = 1, 0o4000


@pytest.mark.parametrize(
    ("family", "allowed"), [(1, True), (2, False), (10, False), (16, False), (-1, False)]
)
def test_families_beside_unix_sockets(family: int, *, allowed: bool) -> None:
    policy = AuditPolicy(unix=frozenset({"/socks"}), tcp=frozenset(), listens_on_loopback=False)
    assert policy.allows_socket(family, STREAM, 0) is allowed
    assert policy.allows_socket(family, STREAM | NONBLOCKING, 0) is allowed


@pytest.mark.parametrize("tcp", [frozenset({("127.0.0.1", 9050)}), frozenset[tuple[str, int]]()])
def test_tcp_where_something_needs_it(tcp: frozenset[tuple[str, int]]) -> None:
    policy = AuditPolicy(unix=frozenset(), tcp=tcp, listens_on_loopback=not tcp)
    for family in (2, 10, 30):
        assert policy.allows_socket(family, STREAM, 6)
        assert not policy.allows_socket(family, STREAM, 132)
        assert not policy.allows_socket(family, 2, 0)
    assert policy.allows_peer(("127.0.0.1", 9050)) is bool(tcp)
    assert policy.allows_own(("127.0.0.1", 0)) is not bool(tcp)
    assert not policy.allows_own(("0.0.0.0", 0))
    assert not policy.allows_peer(None)
