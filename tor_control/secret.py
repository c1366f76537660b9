"""A value that must never be printed (pure).

:class:`Secret` shows nothing of its bytes in ``repr``, ``str`` or formatted text, is compared in
constant time, and refuses to be pickled or copied. Who needs the bytes says so with
:meth:`Secret.reveal`, which is easy to find in a review.
"""

import hmac
from typing import NoReturn


class Secret:
    """Bytes that only :meth:`reveal` gives out."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash would say something about the value

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves; never log, print or store what is made of them."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied")
