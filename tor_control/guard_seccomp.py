"""The guard's strongest layer: a seccomp filter that the kernel applies to every thread and child.

Denied with EPERM: sockets of any family but AF_UNIX (TCP stays possible where Tor has no Unix
socket, UDP never), io_uring (it makes sockets without the system call), programs of any kind (this
process needs none any more), and reaching into other processes. A system call in the ways of
another architecture, which would be judged by wrong numbers, kills the process.

The filter is a program for the kernel's classic BPF machine: see seccomp(2) and
linux/Documentation/userspace-api/seccomp_filter.rst for the words used here.
"""

import ctypes
import platform
import struct
import sys
from dataclasses import dataclass

from tor_control.guard_audit import (
    AF_INET,
    AF_UNIX,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    TCP_PROTOCOLS,
)

# linux/bpf_common.h: load a word, compare and jump, mask, return.
LD_W_ABS = 0x20
JMP_JEQ_K = 0x15
JMP_JGE_K = 0x35
ALU_AND_K = 0x54
RET_K = 0x06

# linux/seccomp.h
RET_ALLOW = 0x7FFF0000
RET_ERRNO_EPERM = 0x00050001
RET_KILL_PROCESS = 0x80000000
_SET_MODE_FILTER = 1
_FLAG_TSYNC = 1

# struct seccomp_data: offsets of what is judged. The low halves of the arguments are enough, for
# the kernel itself reads them as 32-bit integers.
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32

_PR_SET_NO_NEW_PRIVS = 38
_AF_INET6 = 10
_X32_BIT = 0x40000000  # x86-64 system calls with 32-bit pointers have numbers of their own


@dataclass(frozen=True, slots=True)
class Architecture:
    """System call numbers (asm/unistd.h) of one kind of machine.

    Attributes:
        audit: How the kernel names it (linux/audit.h).
        seccomp: seccomp(2).
        socket: socket(2).
        denied: Those that are refused whatever their arguments.
        has_x32: Numbers from ``_X32_BIT`` on are another architecture's.
    """

    audit: int
    seccomp: int
    socket: int
    denied: tuple[int, ...]
    has_x32: bool = False


# io_uring_setup, io_uring_enter, io_uring_register, pidfd_getfd have the same numbers everywhere.
_COMMON = (425, 426, 427, 438)

# Then: execve, execveat, ptrace, process_vm_readv, process_vm_writev, kcmp, bpf.
ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E, 317, 41, (*_COMMON, 59, 322, 101, 310, 311, 312, 321), has_x32=True
    ),
    "aarch64": Architecture(0xC00000B7, 277, 198, (*_COMMON, 221, 281, 117, 270, 271, 272, 280)),
}

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant (struct sock_filter)."""


def install(*, allow_tcp: bool) -> str | None:
    """Put the filter on every thread of this process; children inherit it, nobody can remove it.

    Args:
        allow_tcp: Let TCP sockets be made too. What they connect to is for other layers.

    Returns:
        None when it is on, else why it is not.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    is_64_bit = struct.calcsize("P") == 8  # noqa: PLR2004 - bytes; others make other system calls
    if not sys.platform.startswith("linux") or architecture is None or not is_64_bit:
        return "this system has no seccomp that is known here"
    lines = filter_program(architecture, allow_tcp=allow_tcp)
    code = b"".join(struct.pack("<HBBI", *line) for line in lines)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(lines), ctypes.addressof(instructions))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return "the kernel refused no_new_privs"
    # 0 is done; a positive number is a thread that has another filter and cannot be brought along.
    if libc.syscall(architecture.seccomp, _SET_MODE_FILTER, _FLAG_TSYNC, program):
        return "the kernel refused the filter"
    return None


def filter_program(architecture: Architecture, *, allow_tcp: bool) -> list[Instruction]:
    """Write the filter for one kind of machine (pure)."""
    lines: list[Instruction] = [
        _load(_ARCH),
        (JMP_JEQ_K, 1, 0, architecture.audit),
        _return(RET_KILL_PROCESS),
        _load(_NR),
    ]
    if architecture.has_x32:
        lines += [(JMP_JGE_K, 0, 1, _X32_BIT), _return(RET_KILL_PROCESS)]
    for number in architecture.denied:
        lines += [(JMP_JEQ_K, 0, 1, number), _return(RET_ERRNO_EPERM)]
    lines += [
        (JMP_JEQ_K, 1, 0, architecture.socket),
        _return(RET_ALLOW),
        _load(_ARG0),
        (JMP_JEQ_K, 0, 1, AF_UNIX),
        _return(RET_ALLOW),
    ]
    return [*lines, *(_only_tcp() if allow_tcp else []), _return(RET_ERRNO_EPERM)]


def _only_tcp() -> list[Instruction]:
    """Allow TCP over IPv4 and IPv6; the family is loaded already, and what is behind refuses."""
    usual, named = sorted(TCP_PROTOCOLS)
    return [
        (JMP_JEQ_K, 1, 0, AF_INET),
        (JMP_JEQ_K, 0, 7, _AF_INET6),
        _load(_ARG1),
        (ALU_AND_K, 0, 0, SOCK_TYPE_MASK),
        (JMP_JEQ_K, 0, 4, SOCK_STREAM),
        _load(_ARG2),
        (JMP_JEQ_K, 1, 0, usual),
        (JMP_JEQ_K, 0, 1, named),
        _return(RET_ALLOW),
    ]


def _load(offset: int) -> Instruction:
    return (LD_W_ABS, 0, 0, offset)


def _return(value: int) -> Instruction:
    return (RET_K, 0, 0, value)
