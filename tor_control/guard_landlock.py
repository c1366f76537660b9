"""The guard's Landlock layers: where this process may write, and which TCP ports it may reach.

Landlock is an offer of the kernel (Linux 5.13, network rules since 6.7) that needs no privileges
and cannot be taken back. It holds for the thread that asks and for those that this one starts
afterwards, so threads that run already stay as they were. Words and numbers: linux/landlock.h and
linux/Documentation/userspace-api/landlock.rst.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_BIND_TCP = 1 << 0
_CONNECT_TCP = 1 << 1
_ABI_OF_NETWORK_RULES = 4
_ANY_FREE_PORT = 0

_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))  # remove, and make of every kind
_REFER = 1 << 13  # since ABI 2: without it nothing can be moved to another folder
_TRUNCATE = 1 << 14  # since ABI 3
_ABI_OF_REFER, _ABI_OF_TRUNCATE = 2, 3

_DEVICES = (Path("/dev/null"), Path("/dev/tty"))
"""Devices that libraries open for writing and that keep nothing."""


def confine_writes(folders: Collection[Path]) -> str | None:
    """Refuse every change of files outside some folders, to this thread and those it will start.

    Args:
        folders: Existing folders.

    Returns:
        None when it is on, else why it is not.

    Raises:
        OSError: One of the folders is not there.
    """
    version = abi()
    if version < 1:
        return _MISSING
    rights = _WRITE_FILE | _REMOVE_AND_MAKE
    rights |= _REFER if version >= _ABI_OF_REFER else 0
    rights |= _TRUNCATE if version >= _ABI_OF_TRUNCATE else 0
    on_files = rights & (_WRITE_FILE | _TRUNCATE)
    beneath = [(folder, rights) for folder in folders]
    beneath += [(device, on_files) for device in _DEVICES if device.exists()]
    ruleset = _create_ruleset(struct.pack("=Q", rights))
    try:
        for path, allowed in beneath:
            _allow_beneath(ruleset, path, allowed)
        return _restrict_self(ruleset)
    finally:
        os.close(ruleset)


def confine_tcp(ports: Iterable[int], *, may_listen: bool) -> str | None:
    """Refuse TCP connections to all but some ports, to this thread and those it will start.

    Args:
        ports: Tor's own.
        may_listen: A free port may be bound, which the kernel chooses.

    Returns:
        None when it is on, else why it is not.
    """
    version = abi()
    if version < _ABI_OF_NETWORK_RULES:
        return _MISSING if version < 1 else "this kernel's Landlock has no network rules"
    ruleset = _create_ruleset(struct.pack("=QQ", 0, _BIND_TCP | _CONNECT_TCP))
    try:
        for port in ports:
            _allow_port(ruleset, _CONNECT_TCP, port)
        if may_listen:
            _allow_port(ruleset, _BIND_TCP, _ANY_FREE_PORT)
        return _restrict_self(ruleset)
    finally:
        os.close(ruleset)


def other_threads() -> int:
    """How many threads run beside this one, Python's or not; none of the above holds for them."""
    try:
        return len(os.listdir("/proc/self/task")) - 1  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return 0


_MISSING = "this system has no Landlock"


def abi() -> int:
    """The version of Landlock that the kernel offers; 0 or less where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(_libc().syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _create_ruleset(attributes: bytes) -> int:
    return _checked(_libc().syscall(_CREATE_RULESET, attributes, len(attributes), 0))


def _allow_beneath(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _add_rule(ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor))
    finally:
        os.close(descriptor)


def _allow_port(ruleset: int, right: int, port: int) -> None:
    _add_rule(ruleset, _RULE_NET_PORT, struct.pack("=QQ", right, port))


def _add_rule(ruleset: int, kind: int, attributes: bytes) -> None:
    _checked(_libc().syscall(_ADD_RULE, ruleset, kind, attributes, 0))


def _restrict_self(ruleset: int) -> str | None:
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        return "the kernel refused the Landlock rules"
    return None


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
