"""One web seed: a peer for the piece picker that is asked over HTTP (BEP 19).

- It takes runs of pieces that nobody was asked for, two at a time, so that one comes while the next
  is being asked for; what a run holds follows how fast the server has been.
- Data is verified like any peer's. A seed that sent bad data is never asked again.
- A file that the server lacks is not asked for again. Whatever else fails is tried again after a
  while that doubles, over another circuit; meanwhile the picker does not count on the seed.
"""

import logging
from collections.abc import Sequence
from random import Random
from typing import Protocol

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.engine.parallel import first_error
from torrent_onion.engine.source_statistics import WebSeedStatistics
from torrent_onion.engine.transport import NETWORK_DOWN_PAUSE, is_network_down, new_isolation
from torrent_onion.engine.web_seed_reader import (
    BusyError,
    FileNotThereError,
    TooFarError,
    WebSeedReader,
)
from torrent_onion.policy import piece_sets
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.policy.piece_picker import PiecePicker
from torrent_onion.policy.rate import RateMeter
from torrent_onion.policy.web_seed_plan import contiguous, next_run, run_length
from torrent_onion.protocol.http import HttpError, HttpUrl
from torrent_onion.protocol.web_seed import FilePart, file_parts

log = logging.getLogger(__name__)

FIRST_RETRY = 10.0
"""Seconds until a web seed is asked again after a failure; doubles."""
MAX_RETRY = 30 * 60.0
RETRY_JITTER = 0.25
MAX_LACKING = 16
"""Files that a web seed may lack before it is the wrong one altogether."""
IDLE_SECONDS = 2.0
"""How often we look whether there is something to ask for, when there was nothing."""
LAST_BLOCKS = 32
"""Blocks asked for at a time when no whole piece is left: what others are slow with."""

_ZEROS = memoryview(bytes(1 << 16))


class WebSeedDownloads(Protocol):
    """What is asked of the taking side of a torrent."""

    @property
    def picker(self) -> PiecePicker:
        """What is missing."""

    def source_block_received(
        self, key: PeerKey, block: Block, data: memoryview, now: float
    ) -> None:
        """Take a block from a source that is no peer; whether it was asked for is checked."""

    async def admit(self, size: int) -> None:
        """Pause while limits, or pieces that wait for the disk, let no more bytes in."""

    def ask_everybody(self) -> None:
        """Let peers be asked for what is not asked of this source any more."""


class _GiveUpError(Exception):
    """This web seed is of no use."""


class WebSeed:
    """One web seed of one torrent.

    Args:
        key: Its number among the torrent's peers.
        url: As the torrent has it.
        info: The torrent.
        downloads: Says what to ask for, and takes the blocks.
        http: Asks.
        rng: For jitter, and where to begin.
    """

    def __init__(
        self,
        key: PeerKey,
        url: HttpUrl,
        info: Info,
        *,
        downloads: WebSeedDownloads,
        http: HttpClient,
        rng: Random,
    ) -> None:
        self._key = key
        self._url = url
        self._info = info
        self._downloads = downloads
        self._picker = downloads.picker
        self._http = http
        self._rng = rng
        self._scope = trio.CancelScope()
        self._has_ranges = trio.Event()
        self._lacking: dict[int, str] = {}
        self._pieces = piece_sets.all_pieces(info.layout.num_pieces)
        self._after: int | None = None
        self._rate = 0.0
        self._failures = 0
        self._sends_whole_files = False
        self._is_active = False
        self._error: str | None = None
        self._downloaded = 0
        self._meter = RateMeter()

    def ban(self) -> None:
        """End it: it sent bad data."""
        self._error = "It sent wrong data and is not asked again."
        self._scope.cancel()

    def statistics(self) -> WebSeedStatistics:
        """One moment of it."""
        return WebSeedStatistics(
            url=str(self._url),
            error=self._error,
            is_active=self._is_active,
            downloaded=self._downloaded,
            download_rate=self._meter.rate(trio.current_time()),
        )

    async def run(self) -> None:
        """Fetch until cancelled, banned, or found to be of no use."""
        with self._scope:
            while True:
                pause = 0.0
                try:
                    await self._fetch()
                except _GiveUpError as error:
                    self._error = str(error)
                    return
                except FileNotThereError as error:
                    self._note_missing(error)
                    if len(self._lacking) > MAX_LACKING or not self._pieces:
                        return
                except (HttpError, OSError) as error:
                    log.debug("a web seed failed: %s", error)
                    self._error = str(error) or "The server cannot be reached."
                    pause = self._pause(error)
                await trio.sleep(pause)

    async def _fetch(self) -> None:
        """Take part as a peer does, until something goes wrong."""
        self._picker.add_peer(self._key, self._bitfield())
        self._is_active = True
        isolation = new_isolation()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._work, isolation)
                nursery.start_soon(self._work_too, isolation)
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        finally:
            self._is_active = False
            self._picker.remove_peer(self._key)
            self._downloads.ask_everybody()

    async def _work_too(self, isolation: str) -> None:
        """Be the second to ask, at servers that send what they are asked for."""
        await self._has_ranges.wait()
        await self._work(isolation)

    async def _work(self, isolation: str) -> None:
        reader = WebSeedReader(self._http, self._url, self._info, isolation, self._downloads.admit)
        if self._sends_whole_files:
            reader.has_ranges = False
        try:
            while True:
                runs = self._choose()
                if not runs:
                    await trio.sleep(IDLE_SECONDS)
                for blocks in runs:
                    await self._fetch_run(reader, blocks)
        finally:
            await reader.aclose()

    # What.

    def _choose(self) -> list[list[Block]]:
        """Choose what to ask for next: runs without gaps, noted in the picker as asked for."""
        layout, picker = self._info.layout, self._picker
        open_pieces = picker.open_pieces & self._pieces
        if not open_pieces:
            return list(contiguous(layout, picker.pick(self._key, LAST_BLOCKS)))
        run = next_run(
            open_pieces,
            after=self._after,
            most=run_length(self._rate, layout.piece_length),
            in_order=picker.sequential or self._sends_whole_files,
            rng=self._rng,
        )
        blocks: list[Block] = []
        for index in run:
            picked = picker.pick(self._key, layout.num_blocks(index), allowed=(index,))
            blocks += picked
            if len(picked) < layout.num_blocks(index):
                break
            self._after = index + 1
        return list(contiguous(layout, blocks))

    async def _fetch_run(self, reader: WebSeedReader, blocks: list[Block]) -> None:
        start = trio.current_time()
        incoming = _Incoming(self, blocks)
        try:
            for part in file_parts(self._info, blocks):
                if not await self._read(reader, part, incoming):
                    return
        except TooFarError:
            self._begin_whole_files(blocks)
            return
        if reader.has_ranges:
            self._has_ranges.set()
        self._failures = 0
        self._error = next(iter(self._lacking.values()), None)
        seconds = trio.current_time() - start
        self._rate = sum(block.length for block in blocks) / max(seconds, 1.0)

    async def _read(self, reader: WebSeedReader, part: FilePart, incoming: "_Incoming") -> bool:
        if not part.is_pad:
            return await reader.read(part, incoming.take)
        left = part.length
        while left and incoming.take(_ZEROS[:left]):
            left -= min(left, len(_ZEROS))
        return not left

    def received(self, block: Block, data: memoryview) -> None:
        """Hand on a block that came."""
        now = trio.current_time()
        self._downloaded += len(data)
        self._meter.add(now, len(data))
        self._downloads.source_block_received(self._key, block, data, now)

    def is_wanted(self, blocks: Sequence[Block]) -> bool:
        """Whether any of these blocks is still to come from here, and not from others by now."""
        return any(self._picker.is_requested(self._key, block) for block in blocks)

    # What goes wrong.

    def _begin_whole_files(self, blocks: list[Block]) -> None:
        """The server does not send parts: begin at the beginning, if that was not done already."""
        if self._sends_whole_files:
            raise _GiveUpError(
                "It sends whole files only, and what is missing is too deep inside them."
            )
        self._sends_whole_files = True
        self._after = None
        for block in blocks:
            self._picker.request_dropped(self._key, block)
        self._downloads.ask_everybody()

    def _note_missing(self, error: FileNotThereError) -> None:
        self._error = self._lacking[error.file] = str(error)
        pieces = piece_sets.pieces_in(self._info.layout.pieces_of_file(error.file))
        self._pieces ^= self._pieces & pieces

    def _bitfield(self) -> Bitfield:
        bitfield = Bitfield.full(self._info.layout.num_pieces)
        for file in self._lacking:
            for index in self._info.layout.pieces_of_file(file):
                bitfield.clear(index)
        return bitfield

    def _pause(self, error: Exception) -> float:
        if is_network_down(error):
            return NETWORK_DOWN_PAUSE
        wait = min(FIRST_RETRY * 2.0**self._failures, MAX_RETRY)
        if isinstance(error, BusyError) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        self._failures += wait < MAX_RETRY
        return wait * self._rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)


class _Incoming:
    """Cuts what comes into the blocks that were asked for."""

    def __init__(self, seed: WebSeed, blocks: list[Block]) -> None:
        self._seed = seed
        self._blocks = blocks
        self._next = 0
        self._begun = bytearray()

    def take(self, data: memoryview) -> bool:
        """Take data; say whether any of what follows is still wanted."""
        while data:
            block = self._blocks[self._next]
            room = block.length - len(self._begun)
            part, data = data[:room], data[room:]
            if len(part) < block.length:
                self._begun += part
                if len(self._begun) < block.length:
                    return True
                part, self._begun = memoryview(self._begun), bytearray()
            self._next += 1
            self._seed.received(block, part)
        rest = self._blocks[self._next :]
        return not rest or self._seed.is_wanted(rest)
