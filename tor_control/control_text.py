"""The small grammar that tor's events and ``GETINFO`` values share (pure; control-spec, 2.1).

Words and ``KEY=VALUE`` pairs, separated by spaces; a value may be a quoted string with backslashes.
Nothing here raises: what does not fit the grammar is left out, because a newer tor may say more.
"""

import re
from dataclasses import dataclass

from tor_control.control_port import HsDescEvent

_ITEM = re.compile(r'([A-Za-z0-9_]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))|(\S+)')


@dataclass(frozen=True, slots=True)
class Arguments:
    """One line, taken apart.

    Args:
        words: What is no pair, in order.
        fields: The pairs; quotes and backslashes are resolved.
    """

    words: tuple[str, ...]
    fields: dict[str, str]

    def word(self, index: int) -> str:
        """The word at this place, or an empty string."""
        return self.words[index] if index < len(self.words) else ""


def parse_arguments(text: str) -> Arguments:
    """Take one line apart: ``NOTICE BOOTSTRAP PROGRESS=50 SUMMARY="Loading relay descriptors"``."""
    words: list[str] = []
    fields: dict[str, str] = {}
    for key, quoted, plain, word in _ITEM.findall(text):
        if key:
            fields[key] = plain or re.sub(r"\\(.)", r"\1", quoted)
        else:
            words.append(word)
    return Arguments(tuple(words), fields)


def parse_hs_desc(text: str) -> HsDescEvent:
    """Read an event: ``UPLOADED 2gzyxa...id UNKNOWN $FINGERPRINT``, without its name."""
    arguments = parse_arguments(text)
    return HsDescEvent(
        action=arguments.word(0),
        address=arguments.word(1).removesuffix(".onion"),
        reason=arguments.fields.get("REASON"),
        descriptor=arguments.word(4) or None,
    )


def parse_version(text: str) -> tuple[int, ...]:
    """Read tor's version: ``0.4.9.11`` out of ``0.4.9.11 (git-...)``, ``0.5.0.1-alpha``.

    Returns:
        Its numbers; empty where there are none.
    """
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    return tuple(int(number) for number in match.group().split(".")) if match else ()
