"""``--key FILE``: an onion address that is the same at every start."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tor_control.key_file import KeyFileUnusable, LastingAddress, hold_or_create
from tor_control.onion_address import SEED_LENGTH
from torrent_onion.errors import LocalError


@contextmanager
def open_key(path: Path | None, port: int) -> Iterator[LastingAddress | None]:
    """Read the key in a file, or make one there; no other process can use it inside the block.

    Args:
        path: The file; None: no lasting address is wanted.
        port: Of the address, if it is new.

    Raises:
        LocalError: The file cannot be used.
    """
    with ExitStack() as stack:
        lasting = None
        if path is not None:
            seed = secrets.token_bytes(SEED_LENGTH)
            try:
                lasting = stack.enter_context(hold_or_create(path, seed, port))
            except KeyFileUnusable as error:
                raise LocalError(str(error)) from error
        yield lasting
