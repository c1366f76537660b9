"""A lasting onion address: its key and its port in a file that only its owner can read.

Four rules:

- Whoever reads the file is the onion service, so it is made with mode 0600, and a file that others
  may read or write is refused: it may have been read already.
- A file that is there is never written to. What cannot be understood is refused, not replaced. A
  new one gets its name when it is whole, so that nobody ever reads half a key.
- The port belongs to the address: links name both, so both must last.
- One process uses it at a time: of two that publish the same onion, one is not reached by anybody.

The format is ours, five lines of text. Tor's own (``hs_ed25519_secret_key``) holds the expanded key
only, from which the seed that PyNaCl signs with cannot be had.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tor_control.errors import TorError
from tor_control.onion_address import OnionKey

_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_SIZE = 1024
"""Bytes; ours have about 250."""
_MAX_PORT = 65535
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems answer that give a file one name only, such as those of many USB sticks."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})
"""What network file systems answer that cannot lock a file, or not one that is read only."""
_FORM = re.compile(
    rb"torrent-onion key 1\n(?:#[^\n]*\n)*seed ([0-9a-f]{64})\nport ([1-9][0-9]{0,4})\n"
)


class KeyFileUnusable(TorError):
    """A file that should hold a lasting onion address, and cannot be used."""

    text = "The key file cannot be used; name another one."


@dataclass(frozen=True, slots=True)
class LastingAddress:
    """An onion service that is the same at every start.

    Args:
        key: Who it is.
        port: Its virtual port.
    """

    key: OnionKey
    port: int


@contextmanager
def hold_or_create(path: Path, seed: bytes, port: int) -> Iterator[LastingAddress]:
    """Read a lasting address, or make one if there is no such file, and keep it for the block.

    No other process gets it meanwhile. When this one dies, the kernel lets go of it.

    Args:
        path: The file.
        seed: 32 random bytes from the system's secure source, for a new key.
        port: The virtual port of a new address; that of an old one is in its file.

    Raises:
        KeyFileUnusable: It is broken, in use, others may read it, or it cannot be read or made.
    """
    file = None
    try:
        try:
            file = _open(path)
        except FileNotFoundError:
            _create(path, LastingAddress(OnionKey.from_seed(seed), port))
            file = _open(path)
        address = _read(path, file)
        _lock(path, file)
    except BaseException as error:
        if file is not None:
            file.close()
        if isinstance(error, OSError):
            raise KeyFileUnusable(
                f"The key file {path} cannot be used ({error.strerror}); check its folder and "
                "permissions."
            ) from error
        raise
    with file:
        yield address


def _open(path: Path) -> BinaryIO:
    # Not blocking: the name may be that of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    return os.fdopen(descriptor, "rb")


def _read(path: Path, file: BinaryIO) -> LastingAddress:
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        raise KeyFileUnusable(f"{path} is no key file; name another one.")
    if mode & _OTHERS:
        raise KeyFileUnusable(
            f"Others may read the key file {path}; run `chmod 600` on it if nobody has, or "
            "name a new one."
        )
    match = _FORM.fullmatch(file.read(_MAX_SIZE))
    port = int(match[2]) if match else 0
    if match is None or port > _MAX_PORT:
        raise KeyFileUnusable(f"{path} is no key file, or is broken; name another one.")
    return LastingAddress(OnionKey.from_seed(bytes.fromhex(match[1].decode())), port)


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise KeyFileUnusable(
            f"{path} is in use by another torrent-onion; name another key."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _create(path: Path, address: LastingAddress) -> None:
    """Make the file whole or not at all; one that somebody else has made meanwhile stays."""
    draft = path.with_name(f".torrent-onion-key-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_text(address))
            file.flush()
            os.fsync(descriptor)
        _give_name(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _give_name(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a renaming, it never takes the place of another file
    except FileExistsError:
        pass  # another start was faster; we shall see that it is in use
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        draft.rename(path)


def _text(address: LastingAddress) -> bytes:
    return (
        b"torrent-onion key 1\n"
        b"# Whoever has this file is the onion service. Keep it, and keep it secret.\n"
        b"# " + address.key.address.encode() + b"\n"
        b"seed " + address.key.seed.reveal().hex().encode() + b"\n"
        b"port " + str(address.port).encode() + b"\n"
    )
