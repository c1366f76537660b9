"""The last thing that a log line passes: whatever could name somebody or something is masked.

Four rules:

- What is not known to be harmless is masked. Numbers, and texts that look like nothing in
  particular, stay; of any other value only the type is shown; of an exception the text only where
  its class is known for texts without names.
- A mask keeps its number within a run (``[onion 2]``), so that a log can still be followed.
- Times are UTC: local ones would tell a time zone.
- It holds at every level. So what ``--verbose`` prints can be pasted into a bug report.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import PurePath
from traceback import walk_tb
from types import TracebackType
from typing import Final

from tor_control.errors import TorError
from torrent_onion.errors import MagnetError, MetainfoError, RemoteError

MAX_NUMBERED: Final = 4096
"""Different values that get a number of their own: memory, in a process that runs for months."""

_PATTERNS: Final = (
    ("link", re.compile(r"magnet:\S*", re.IGNORECASE)),
    ("url", re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)),
    ("onion", re.compile(r"\S*\.onion(?::\d+)?", re.IGNORECASE)),
    ("text", re.compile(r"(?<!\w)(['\"]).*?\1(?!\w)", re.DOTALL)),
    # Not 0.x: that is a version of tor, and the address of nobody.
    ("address", re.compile(r"(?<![\w.])(?!0\.)\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]*\w)")),
    ("address", re.compile(r"\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\]?(?::\d+)?", re.IGNORECASE)),
    ("path", re.compile(r"(?<![\w/\\])(?:[a-z]:|~)?[/\\]\S+", re.IGNORECASE)),
    # Info-hashes, tokens, keys: hexadecimal, base32 and base64 alike.
    ("secret", re.compile(r"[\w+/=%-]{32,}", re.ASCII)),
)
"""What a text is searched for, in this order; each match becomes its name and a number."""

_WRITTEN_BY_THE_INTERPRETER: Final = (
    TypeError,
    AttributeError,
    NameError,
    ZeroDivisionError,
    RuntimeError,
)
"""Their texts are about code, not about values; without them a bug is hard to find."""

_STACK_PLACE = re.compile(r'File "(.*)", line (\d+), in (.*)')
_PACKAGE = re.compile(r".*[/\\]((?:torrent_onion|tor_control)[/\\].*)", re.DOTALL)


class Redactor:
    """Masks, and remembers which number each masked value has."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def mask(self, kind: str, value: str) -> str:
        """Give what stands for a value."""
        number = self._numbers.get((kind, value))
        if number is None and len(self._numbers) < MAX_NUMBERED:
            number = 1 + sum(known == kind for known, _ in self._numbers)
            self._numbers[kind, value] = number
        return f"[{kind}]" if number is None else f"[{kind} {number}]"

    def text(self, text: str) -> str:
        """Mask what in a text looks like something that names somebody."""
        for kind, pattern in _PATTERNS:
            text = pattern.sub(self._masker(kind), text)
        return text

    def value(self, value: object) -> object:
        """Give what may be formatted in place of an argument of a log call."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, BaseException):
            return self.exception(value)
        if isinstance(value, PurePath):
            return self.mask("path", str(value))
        return self.mask(type(value).__name__, str(value))

    def exception(self, error: BaseException) -> str:
        """The class of an exception, and its text where that names nobody."""
        name = type(error).__name__
        words = self._words(error)
        return f"{name}: {words}" if words else name

    def traceback(self, error: BaseException) -> str:
        """All of an exception with what caused it: code and lines, no values."""
        return "\n".join(self._lines(error, ""))

    def _masker(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda match: self.mask(kind, match[0])

    def _words(self, error: BaseException) -> str:
        if isinstance(error, RemoteError | TorError):
            speaks_of_content = isinstance(error, MetainfoError | MagnetError)
            return "" if speaks_of_content else self.text(str(error))
        if isinstance(error, OSError):
            return error.strerror or ""
        return self.text(str(error)) if isinstance(error, _WRITTEN_BY_THE_INTERPRETER) else ""

    def _lines(self, error: BaseException, indent: str) -> Iterator[str]:
        origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if origin is not None:
            yield from self._lines(origin, indent)
            yield f"{indent}which led to"
        yield f"{indent}{self.exception(error)}"
        yield from (f"{indent}  {place}" for place in _places(error.__traceback__))
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from self._lines(inner, f"{indent}  | ")


class RedactingFormatter(logging.Formatter):
    """Formats records with everything masked that could name somebody.

    Args:
        layout: As for ``logging.Formatter``.
    """

    def __init__(self, layout: str) -> None:
        super().__init__(layout)
        self.converter = time.gmtime
        self._redactor = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; the record itself is left as it is."""
        clean = logging.makeLogRecord(record.__dict__)
        clean.msg = self._message(record)
        clean.args = None
        clean.exc_info = clean.exc_text = clean.stack_info = None
        lines = [super().format(clean)]
        if record.stack_info:
            lines += ["Stack, without values:", *_stack_places(record.stack_info)]
        if record.exc_info and record.exc_info[1]:
            lines += ["Traceback, without values:", self._redactor.traceback(record.exc_info[1])]
        return "\n".join(lines)

    def _message(self, record: logging.LogRecord) -> str:
        """What was logged, in one line: the template is our own, its arguments may be anybody's."""
        args = record.args if isinstance(record.args, tuple) else ()
        clean = tuple(self._redactor.value(arg) for arg in args)
        try:
            words = str(record.msg) % clean if clean else self._redactor.text(str(record.msg))
        except (TypeError, ValueError):
            words = f"{record.msg} [arguments that do not fit]"
        return words.replace("\r", " ").replace("\n", " ")


def _places(trace: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(trace):
        yield _place(frame.f_code.co_filename, str(line), frame.f_code.co_name)


def _stack_places(stack: str) -> Iterator[str]:
    for path, line, function in _STACK_PLACE.findall(stack):
        yield f"  {_place(path, line, function)}"


def _place(path: str, line: str, function: str) -> str:
    """Of a file that is not ours only its name, for the folders may name a user."""
    match = _PACKAGE.fullmatch(path)
    return f"{match[1] if match else PurePath(path).name}:{line} {function}"
