"""Bencoded dictionaries from strangers: the few typed questions that protocols ask of them.

Rule: a value of the wrong type, or out of its range, is the same as no value. Whether a missing
value is an error is for the caller to say.
"""

from torrent_onion.core.bencoding import PEER_LIMITS, BencodeLimits, Value, decode_prefix
from torrent_onion.errors import BencodeError, ProtocolError

Dictionary = dict[bytes, Value]


def read_dictionary(data: bytes, limits: BencodeLimits) -> tuple[Dictionary, int]:
    """Read the dictionary that ``data`` begins with.

    Returns:
        The dictionary and the number of bytes it took.

    Raises:
        BencodeError: not bencoding, not a dictionary, or beyond the limits.
    """
    value, taken = decode_prefix(data, limits=limits)
    if not isinstance(value, dict):
        raise BencodeError("Expected a bencoded dictionary.")
    return value, taken


def read_peer_dictionary(payload: bytes) -> Dictionary:
    """Read the dictionary that a peer's message is.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return read_dictionary(payload, PEER_LIMITS)[0]
    except BencodeError as error:
        raise ProtocolError(f"The peer sent a bad extended message: {error}") from error


def get_int(dictionary: Dictionary, key: bytes, low: int, high: int) -> int | None:
    """Give an integer from ``low`` to ``high``, both included."""
    value = dictionary.get(key)
    return value if isinstance(value, int) and low <= value <= high else None


def get_bytes(dictionary: Dictionary, key: bytes) -> bytes | None:
    """Give a byte string."""
    value = dictionary.get(key)
    return value if isinstance(value, bytes) else None


def get_dictionary(dictionary: Dictionary, key: bytes) -> Dictionary:
    """Give a nested dictionary; an empty one where there is none."""
    value = dictionary.get(key)
    return value if isinstance(value, dict) else {}
