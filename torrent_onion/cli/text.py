"""Numbers and names as people read them (pure).

Two rules: sizes are decimal (1 MB is 1,000,000 bytes, as in shops and in this project's figures),
and no text that came from a torrent reaches a terminal before :func:`printable` has seen it.
"""

import textwrap
import unicodedata

_UNITS = ("kB", "MB", "GB", "TB", "PB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def size(count: float) -> str:
    """``1234567`` as ``1.2 MB``."""
    if count < 1000:  # noqa: PLR2004 - the next unit begins here
        return f"{int(count)} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1000
        if value < 999.95 or unit == _UNITS[-1]:  # noqa: PLR2004 - more would round to 1000.0
            break
    return f"{value:.1f} {unit}"


def rate(bytes_per_second: float) -> str:
    """``1234567`` as ``1.2 MB/s``."""
    return f"{size(bytes_per_second)}/s"


def percent(done: int, total: int) -> str:
    """Whole percent, and 100% only when all is done; nothing to do counts as done."""
    return f"{100 * done // total if total else 100}%"


def duration(seconds: float) -> str:
    """``3725`` as ``1 h 2 min``: two units at most."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def time_left(done: int, total: int, bytes_per_second: float) -> str | None:
    """How long the rest takes at this rate, or None while nobody can know."""
    if bytes_per_second < 1 or not total:
        return None
    return duration((total - done) / bytes_per_second)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """``1 file``, ``2,000 files``."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}"


def printable(text: str) -> str:
    """The text without anything that could steer a terminal or turn the line round.

    Control characters (escape sequences begin with one), bidirectional and other format
    characters, and lone surrogates (undecodable file names) become U+FFFD.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(c) else c for c in text)


def wrapped(text: str, width: int) -> str:
    """The text in lines of so many columns, broken at spaces: a link stays whole, to be copied."""
    return "\n".join(
        textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)
    )


_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Format characters that ordinary words need, in Persian and Hindi for example."""


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and (
        character not in _JOINERS
    )
