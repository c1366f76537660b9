"""``--key FILE``: an onion address that is the same at every start."""

import secrets
from pathlib import Path

from tor_control.key_file import KeyFileUnusable, LastingAddress, read_or_create
from tor_control.onion_address import SEED_LENGTH
from torrent_onion.errors import LocalError


def open_key(path: Path, port: int) -> LastingAddress:
    """Read the key in a file, or make one there.

    Args:
        path: The file.
        port: Of the address, if it is new.

    Raises:
        LocalError: The file cannot be used.
    """
    try:
        return read_or_create(path, secrets.token_bytes(SEED_LENGTH), port)
    except KeyFileUnusable as error:
        raise LocalError(str(error)) from error
