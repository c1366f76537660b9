"""Reads parts of files from one web seed, over HTTP (BEP 19).

A server that ignores ranges sends the whole file. Its answer is kept and read on as long as the
parts that are asked for follow each other: what lies between them is read and thrown away, up to
``MAX_SKIP``.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from torrent_onion.core.metainfo import Info
from torrent_onion.engine.http_client import HttpClient, HttpResponse
from torrent_onion.protocol.http import HttpError, HttpUrl, UrlRefused
from torrent_onion.protocol.web_seed import Answer, FilePart, file_url, judge_answer

HEAD_SECONDS = 150.0
"""Until an answer begins, redirects and the way through Tor included."""
BODY_SECONDS = 60.0
"""For a body, besides what its length allows."""
MIN_RATE = 4096
"""Bytes a second; what comes slower than this on the whole is given up."""
MAX_SKIP = 16 << 20
"""Bytes of a whole file that are thrown away to get at a part."""

Take = Callable[[memoryview], bool]
"""Takes data in its order; says whether more of it is wanted."""


Admit = Callable[[int], Awaitable[None]]
"""Waits until so many more bytes may come in."""


class FileNotThereError(HttpError):
    """The server lacks a file, or has another one of its name.

    Attributes:
        file: Its number in the torrent.
    """

    def __init__(self, file: int, reason: str) -> None:
        super().__init__(reason)
        self.file = file


class TooFarError(HttpError):
    """The server sends whole files, and the part is too deep inside one."""


class BusyError(HttpError):
    """The server has no answer now.

    Attributes:
        retry_after: Seconds to stay away, if it says so.
    """

    def __init__(self, status: int, retry_after: int | None) -> None:
        super().__init__(f"The server answered with the HTTP status {status}.")
        self.retry_after = retry_after


class WebSeedReader:
    """Reads one part at a time. Close it in the end.

    Args:
        http: Asks the server.
        base: The web seed's URL, from the torrent.
        info: The torrent.
        isolation: The circuit that belongs to this web seed and torrent.
        admit: Holds us back, where limits or the disk do.

    Attributes:
        has_ranges: Whether the server sends parts of files; None while that is not known.
    """

    def __init__(
        self, http: HttpClient, base: HttpUrl, info: Info, isolation: str, admit: Admit
    ) -> None:
        self._http = http
        self._base = base
        self._info = info
        self._isolation = isolation
        self._admit = admit
        self._moved: tuple[int, HttpUrl] | None = None
        self._whole: _Body | None = None
        self.has_ranges: bool | None = None

    async def read(self, part: FilePart, take: Take) -> bool:
        """Read a part of a file that is no padding.

        Args:
            part: What to read.
            take: Gets the data; after it says no, nothing more is read.

        Returns:
            Whether all of it was taken.

        Raises:
            FileNotThereError: The server has no such file.
            TooFarError: It sends whole files, and the part is too deep inside.
            BusyError: It has no answer now.
            HttpError: It broke a rule, took too long, or the connection was lost.
            OSError: It cannot be reached.
        """
        body = await self._body_at(part)
        try:
            with _deadline(part.end - body.position) as scope:
                while body.position < part.end:
                    is_before = body.position < part.offset
                    end = part.offset if is_before else part.end
                    data = await body.receive(end - body.position)
                    if not (is_before or take(data)):
                        return False
                    await self._admit_more(len(data), scope)
        finally:
            if body is not self._whole:
                await body.aclose()
        return True

    async def _admit_more(self, size: int, scope: trio.CancelScope) -> None:
        """Wait, if need be; for that time the server is not to blame."""
        start = trio.current_time()
        await self._admit(size)
        scope.deadline += trio.current_time() - start

    async def aclose(self) -> None:
        """Close the answer that is kept, if there is one."""
        body, self._whole = self._whole, None
        if body is not None:
            await body.aclose()

    async def _body_at(self, part: FilePart) -> "_Body":
        """Give an answer that the part can be read from: the one that is kept, or a new one."""
        if self._whole is not None and self._whole.leads_to(part):
            return self._whole
        await self.aclose()
        if self.has_ranges is False and part.offset > MAX_SKIP:
            raise TooFarError("It sends whole files only.")
        return await self._ask(part)

    async def _ask(self, part: FilePart) -> "_Body":
        length = self._info.files[part.file].length
        response = await self._open(part)
        answer = judge_answer(response.head, part, length)
        if answer is Answer.NOT_THERE and self._moved is not None:
            # Where it was redirected to before may have been good for a while only.
            await response.aclose()
            self._moved = None
            response = await self._open(part)
            answer = judge_answer(response.head, part, length)
        if answer is Answer.PART:
            self.has_ranges = True
            return _Body(response, part.file, part.offset, part.end)
        if answer is Answer.WHOLE:
            if part.length != length:
                self.has_ranges = False
            self._whole = _Body(response, part.file, 0, length)
            if self._whole.leads_to(part):
                return self._whole
            await self.aclose()
            raise TooFarError("It sends whole files only.")
        await response.aclose()
        if answer is Answer.BUSY:
            raise BusyError(response.head.status, response.head.retry_after)
        raise FileNotThereError(part.file, _not_there(response))

    async def _open(self, part: FilePart) -> HttpResponse:
        if self._moved is not None and self._moved[0] == part.file:
            url = self._moved[1]
        else:
            self._moved = None
            try:
                url = file_url(self._base, self._info, part.file)
            except UrlRefused as error:
                raise FileNotThereError(part.file, f"It cannot be asked: {error}.") from None
        response = await self._http.open(
            url,
            self._isolation,
            byte_range=range(part.offset, part.end),
            seconds=HEAD_SECONDS,
        )
        if response.url != url:
            self._moved = part.file, response.url
        return response


class _Body:
    """An answer that is being read: some bytes of a file, from ``position`` to ``end``."""

    def __init__(self, response: HttpResponse, file: int, position: int, end: int) -> None:
        self.position = position
        self._response = response
        self._file = file
        self._end = end
        self._rest = memoryview(b"")

    def leads_to(self, part: FilePart) -> bool:
        """Whether the part comes soon enough."""
        return part.file == self._file and 0 <= part.offset - self.position <= MAX_SKIP

    async def receive(self, most: int) -> memoryview:
        """Read at least one byte.

        Raises:
            HttpError: There are no more.
        """
        if not self._rest:
            self._rest = memoryview(await self._response.receive(self._end - self.position))
            if not self._rest:
                raise HttpError("The server ended its answer too early.")
        data, self._rest = self._rest[:most], self._rest[most:]
        self.position += len(data)
        return data

    async def aclose(self) -> None:
        """Close the connection."""
        await self._response.aclose()


@contextmanager
def _deadline(length: int) -> Iterator[trio.CancelScope]:
    try:
        with trio.fail_after(BODY_SECONDS + length / MIN_RATE) as scope:
            yield scope
    except trio.TooSlowError:
        raise HttpError("The server sends too slowly.") from None


def _not_there(response: HttpResponse) -> str:
    if response.head.status in (200, 206):
        return "It has another file of this name."
    return f"It does not have the file (HTTP status {response.head.status})."
