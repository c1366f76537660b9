"""Where a web seed keeps the files of a torrent, and what its answers must say (BEP 19).

Rules:

- The URL of a torrent of one file is that of the file, or of the folder it is in, if it ends with a
  slash. That of a torrent of many files is the folder that the torrent's own folder is in.
- A part of a file is believed to be that part only if the server says so, and the whole only if it
  has the right length: else it is another file, whatever it is called.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import Block
from torrent_onion.protocol.http import (
    OK,
    PARTIAL_CONTENT,
    HttpUrl,
    ResponseHead,
    UrlRefused,
    parse_url,
)

_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_CLIENT_ERRORS = range(400, 500)
_NOT_IN_URLS = ("", ".", "..")
"""Components that mean another place in a URL, or none."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A run of bytes inside one file.

    Args:
        file: Its number in the torrent.
        offset: The first byte.
        length: Bytes; at least one.
        is_pad: The file is padding (BEP 47): zeros, and no server has it.
    """

    file: int
    offset: int
    length: int
    is_pad: bool = False

    @property
    def end(self) -> int:
        """Behind the last byte."""
        return self.offset + self.length


class Answer(Enum):
    """What a server's answer to a request for a part is."""

    PART = "part"
    """The part, and nothing else."""
    WHOLE = "whole"
    """The whole file from its beginning: the server does not do ranges."""
    NOT_THERE = "not there"
    """It does not have this file, or has another one of this name."""
    BUSY = "busy"
    """It has no answer now."""


def file_url(base: HttpUrl, info: Info, file: int) -> HttpUrl:
    """Return where a web seed has a file.

    Args:
        base: As the torrent has it, in ``url-list``.
        info: The torrent.
        file: Number of a file that is no padding.

    Raises:
        UrlRefused: The file has a name that no URL can hold.
    """
    text = str(base)
    if info.is_single_file:
        return parse_url(text + _encode(info.name)) if text.endswith("/") else base
    names = (info.name, *info.files[file].path)
    return parse_url(text.removesuffix("/") + "/" + "/".join(map(_encode, names)))


def file_parts(info: Info, blocks: Iterable[Block]) -> list[FilePart]:
    """Return the parts of files that hold blocks, each as long as it can be, in order.

    Args:
        info: The torrent.
        blocks: In the order of the data, without gaps but padding that is not fetched.
    """
    parts: list[FilePart] = []
    for block in blocks:
        for span in info.layout.spans(*block):
            last = parts[-1] if parts else None
            if last is not None and (last.file, last.end) == (span.file, span.offset):
                parts[-1] = FilePart(span.file, last.offset, last.length + span.length, last.is_pad)
            else:
                is_pad = info.files[span.file].is_pad
                parts.append(FilePart(span.file, span.offset, span.length, is_pad))
    return parts


def judge_answer(head: ResponseHead, part: FilePart, file_length: int) -> Answer:
    """Say what an answer to a request for a part of a file is.

    Args:
        head: Its status and headers.
        part: What was asked for.
        file_length: Bytes of the file.
    """
    if head.status == PARTIAL_CONTENT:
        return Answer.PART if _is_part(head, part, file_length) else Answer.NOT_THERE
    if head.status == OK:
        return Answer.WHOLE if head.length in (None, file_length) else Answer.NOT_THERE
    if head.status in (_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT) or head.status not in _CLIENT_ERRORS:
        return Answer.BUSY
    return Answer.NOT_THERE


def _is_part(head: ResponseHead, part: FilePart, file_length: int) -> bool:
    said = head.content_range
    return (
        said is not None
        and (said.start, said.end) == (part.offset, part.end)
        and said.total in (None, file_length)
        and head.length in (None, part.length)
    )


def _encode(name: str) -> str:
    if name in _NOT_IN_URLS:
        raise UrlRefused("a file has a name that no URL can hold")
    return quote(name, safe="")
