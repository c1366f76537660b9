"""The seccomp filter: its program read by a machine of our own, then the kernel's."""

import errno
import platform
import signal
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tor_control.python_process import Died, Found, run_python
from tor_control.guard_seccomp import (
    ALU_AND_K,
    ARCHITECTURES,
    JMP_JEQ_K,
    JMP_JGE_K,
    LD_W_ABS,
    RET_ALLOW,
    RET_ERRNO_EPERM,
    RET_K,
    RET_KILL_PROCESS,
    Architecture,
    filter_program,
)

MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES.values(), ids=ARCHITECTURES)
WORDS = st.integers(0, 2**32 - 1)
MAX_INSTRUCTIONS = 4096  # linux/bpf_common.h


def verdict(
    machine: Architecture,
    number: int,
    *arguments: int,
    allow_tcp: bool = False,
    audit: int | None = None,
) -> int:
    """What the filter says of a system call, as the kernel's machine would run it."""
    words = {0: number, 4: machine.audit if audit is None else audit}
    words |= {16 + 8 * place: value for place, value in enumerate((*arguments, 0, 0, 0)[:3])}
    program = filter_program(machine, allow_tcp=allow_tcp)
    assert len(program) < MAX_INSTRUCTIONS
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == LD_W_ABS:
            accumulator = words[constant]
        elif code == ALU_AND_K:
            accumulator &= constant
        elif code == JMP_JEQ_K:
            at += if_true if accumulator == constant else if_false
        elif code == JMP_JGE_K:
            at += if_true if accumulator >= constant else if_false
        else:
            assert code == RET_K
            return constant


@MACHINES
@given(number=WORDS)
def test_only_what_is_named_is_refused(machine: Architecture, number: int) -> None:
    if machine.has_x32 and number >= 1 << 30:
        assert verdict(machine, number) == RET_KILL_PROCESS
    elif number not in {machine.socket, *machine.denied}:
        assert verdict(machine, number) == RET_ALLOW


@MACHINES
def test_what_is_named_is_refused_whatever_its_arguments(machine: Architecture) -> None:
    for number in machine.denied:
        for allow_tcp in (True, False):
            assert verdict(machine, number, 1, 1, allow_tcp=allow_tcp) == RET_ERRNO_EPERM


@MACHINES
@given(audit=WORDS, number=WORDS)
def test_other_architectures_kill(machine: Architecture, audit: int, number: int) -> None:
    if audit != machine.audit:
        assert verdict(machine, number, audit=audit) == RET_KILL_PROCESS


@MACHINES
@given(family=WORDS, kind=WORDS, protocol=WORDS)
def test_no_socket_but_unix(machine: Architecture, family: int, kind: int, protocol: int) -> None:
    expected = RET_ALLOW if family == socket.AF_UNIX else RET_ERRNO_EPERM
    assert verdict(machine, machine.socket, family, kind, protocol) == expected


@MACHINES
@given(
    family=st.integers(0, 46) | WORDS,
    kind=st.integers(0, 10) | WORDS,
    flags=st.sampled_from([0, 0o4000, 0o2000000, 0o2004000]),
    protocol=st.sampled_from([0, 6, 17, 132, 262]) | WORDS,
)
def test_no_socket_but_unix_and_tcp(
    machine: Architecture, family: int, kind: int, flags: int, protocol: int
) -> None:
    is_tcp = family in {2, 10} and kind & 0xF == socket.SOCK_STREAM and protocol in {0, 6}
    is_allowed = is_tcp or family == socket.AF_UNIX
    expected = RET_ALLOW if is_allowed else RET_ERRNO_EPERM
    found = verdict(machine, machine.socket, family, kind | flags, protocol, allow_tcp=True)
    assert found == expected


ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ARCHITECTURES,
    reason="seccomp is Linux's, and known here for x86-64 and arm64",
)
ON_X86_64 = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="this is about x86-64"
)

ARM = """
import ctypes, threading
from tor_control import guard_seccomp
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "system call")

def arm():
    why = guard_seccomp.install(allow_tcp=allow_tcp)
    assert why is None, why
"""

SOCKETS = tuple(
    f"socket.socket({family}, socket.{kind})"
    for family in range(46)
    if family != socket.AF_UNIX
    for kind in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_SEQPACKET")
)
TCP = tuple(f"socket.socket({family}, socket.SOCK_STREAM)" for family in (2, 10))

REACHING_OUT = (
    "subprocess.run(['true'])",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
    "call(425, 1, bytes(120))",  # io_uring_setup
    "call(426, 0, 0, 0, 0)",  # io_uring_enter
    "call(427, 0, 0, 0, 0)",  # io_uring_register
    "call(438, 0, 0, 0)",  # pidfd_getfd
    "call(traces, 16, os.getppid(), 0, 0)",
    "call(executes, -1, b'/bin/true', 0, 0, 0)",
    "call(reads_memory, os.getpid(), 0, 0, 0, 0, 0)",
    "call(writes_memory, os.getpid(), 0, 0, 0, 0, 0)",
    "call(compares, os.getpid(), os.getpid(), 0, 0, 0)",
    "call(bpf, 0, 0, 0)",
)
NUMBERS = {
    "x86_64": {
        "traces": 101,
        "executes": 322,
        "reads_memory": 310,
        "writes_memory": 311,
        "compares": 312,
        "bpf": 321,
    },
    "aarch64": {
        "traces": 117,
        "executes": 281,
        "reads_memory": 270,
        "writes_memory": 271,
        "compares": 272,
        "bpf": 280,
    },
}


def armed(*, allow_tcp: bool, lines: tuple[str, ...]) -> Found:
    code = f"{ARM}\narm()\ntell(results=attempt(lines))"
    numbers = NUMBERS.get(platform.machine(), {})
    results: Found = run_python(code, allow_tcp=allow_tcp, lines=lines, **numbers)["results"]
    return results


@ON_LINUX
def test_the_kernel_refuses_every_family_and_type() -> None:
    results = armed(allow_tcp=False, lines=SOCKETS)
    assert set(results.values()) == {"EPERM"}


@ON_LINUX
def test_the_kernel_refuses_udp_and_the_rest_where_tcp_is_left() -> None:
    lines = tuple(line for line in SOCKETS if line not in TCP)
    more = tuple(
        f"socket.socket({family}, socket.SOCK_STREAM, {protocol})"
        for family in (2, 10)
        for protocol in (132, 262)  # SCTP, MPTCP
    )
    results = armed(allow_tcp=True, lines=(*lines, *more))
    assert set(results.values()) == {"EPERM"}


@ON_LINUX
def test_what_is_needed_goes_on() -> None:
    unix = "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)"
    rest = ("socket.socketpair()", "os.pipe()", "threading.Thread(target=int).start()")
    assert set(armed(allow_tcp=False, lines=(unix, *rest)).values()) == {"done"}
    assert set(armed(allow_tcp=True, lines=(unix, *rest, TCP[0])).values()) == {"done"}


@ON_LINUX
def test_no_programs_no_io_uring_no_other_processes() -> None:
    results = armed(allow_tcp=False, lines=REACHING_OUT)
    assert results == dict.fromkeys(REACHING_OUT, "EPERM")


@ON_LINUX
def test_threads_that_run_already_are_covered() -> None:
    found = run_python(
        f"""{ARM}
is_armed = threading.Event()
results = []
def late():
    is_armed.wait()
    results.append(outcome(lambda: socket.socket(socket.AF_INET)))
threads = [threading.Thread(target=late) for _ in range(3)]
for thread in threads:
    thread.start()
arm()
is_armed.set()
for thread in threads:
    thread.join()
tell(results=results)
""",
        allow_tcp=False,
    )
    assert found["results"] == ["EPERM"] * 3


@ON_LINUX
def test_children_inherit_it() -> None:
    found = run_python(
        f"""{ARM}
arm()
read_end, write_end = os.pipe()
child = os.fork()
if not child:
    os.write(write_end, outcome(lambda: socket.socket(socket.AF_INET)).encode())
    os._exit(0)
os.waitpid(child, 0)
tell(child=os.read(read_end, 99).decode())
""",
        allow_tcp=False,
    )
    assert found["child"] == "EPERM"


@ON_LINUX
def test_a_second_filter_takes_nothing_back() -> None:
    found = run_python(
        f"""{ARM}
arm()
guard_seccomp.install(allow_tcp=True)
tell(result=outcome(lambda: socket.socket(socket.AF_INET)))
""",
        allow_tcp=False,
    )
    assert found["result"] == "EPERM"


@ON_X86_64
def test_the_x32_way_kills() -> None:
    with pytest.raises(Died) as died:
        run_python(f"{ARM}\narm()\ncall(0x40000000 | 41, 2, 2, 0)", allow_tcp=False)
    assert died.value.number == signal.SIGSYS


I386 = """
import ctypes, mmap
# mov eax, 20 (getpid); int 0x80; ret
code = bytes.fromhex("b814000000cd80c3")
memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
pid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
"""


@ON_X86_64
def test_the_i386_way_kills() -> None:
    try:
        assert run_python(f"{I386}\ntell(same=pid() == os.getpid())")["same"]
    except Died:
        pytest.skip("this kernel has no i386 system calls")
    with pytest.raises(Died) as died:
        run_python(f"{ARM}\n{I386}\narm()\npid()", allow_tcp=False)
    assert died.value.number == signal.SIGSYS


def test_an_unknown_machine_is_told() -> None:
    found = run_python(
        """
import platform
platform.machine = lambda: "riscv64"
from tor_control import guard_seccomp
tell(why=guard_seccomp.install(allow_tcp=False), result=outcome(lambda: socket.socketpair()))
"""
    )
    assert found == {"why": "this system has no seccomp that is known here", "result": "done"}


def test_the_error_is_eperm() -> None:
    assert RET_ERRNO_EPERM & 0xFFFF == errno.EPERM
