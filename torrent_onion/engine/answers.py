"""What one peer has asked of us and waits for: blocks, metadata, hashes.

Requests are kept in order, and are bounded by number. The writer takes them from the head, as many
as one send should carry; the disk is read only for those that have come so far.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.bandwidth import is_limited, take_from_all
from torrent_onion.engine.read_cache import Window
from torrent_onion.errors import ProtocolError
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol import extensions
from torrent_onion.protocol.hash_messages import HashRequest
from torrent_onion.protocol.peer_wire import PeerWire

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

MAX_BATCH = 256 << 10
"""Payload bytes gathered for one send: several blocks a system call, and cancels still count."""

MAX_UPLOAD_QUEUE = extensions.REQQ + 64
"""Requests of one peer that wait for an answer: what we say we take, and some that crossed."""

MAX_METADATA_REQUESTS = 256
"""Requests of one peer for metadata that wait for an answer of 16 KiB; clients keep a few."""

MAX_HASH_REQUESTS = 1024
"""Hash requests of one peer that wait for an answer; 48 bytes each, 16 KiB the answer."""


class Answers:
    """The requests of one connection.

    Args:
        torrent: Whose bytes are asked for.
        key: The connection.
        wire: Where answers are queued.
        count: Told of blocks that are queued, of their size together, and when.

    Attributes:
        blocks: Those asked for and not queued yet, the oldest first.
    """

    def __init__(
        self,
        torrent: "Torrent",
        key: PeerKey,
        wire: PeerWire,
        count: Callable[[Sequence[Block], int, float], None],
    ) -> None:
        self.blocks: OrderedDict[Block, None] = OrderedDict()
        self._hashes: deque[HashRequest] = deque()
        self._metadata: deque[int] = deque()
        self._torrent = torrent
        self._key = key
        self._wire = wire
        self._count = count
        self._paid = 0  # bytes that the limits have let pass and that were cancelled meanwhile

    def add_metadata_request(self, piece: int) -> None:
        """Keep a request for a part of the metadata, or reject it where there are too many."""
        if len(self._metadata) < MAX_METADATA_REQUESTS:
            self._metadata.append(piece)
        else:
            self._wire.send_extended(extensions.MetadataReject(piece))

    def add_hash_request(self, request: HashRequest) -> None:
        """Keep a request for hashes.

        Raises:
            ProtocolError: There are too many.
        """
        if len(self._hashes) >= MAX_HASH_REQUESTS:
            raise ProtocolError("the peer asks for more hashes than it waits for")
        self._hashes.append(request)

    async def queue(self) -> None:
        """Queue answers in the wire, up to what one send should carry.

        Raises:
            StorageError: The data cannot be read.

        Cancelling may lose a request for hashes: the connection is over then.
        """
        wire = self._wire
        while self._metadata and wire.bytes_queued < MAX_BATCH:
            wire.send_extended(self._torrent.metadata.reply(self._metadata.popleft()))
        while self._hashes and wire.bytes_queued < MAX_BATCH:
            request, now = self._hashes.popleft(), trio.current_time()
            wire.send(await self._torrent.metadata.answer(self._key, request, now))
        while self.blocks and wire.bytes_queued < MAX_BATCH:
            block = next(iter(self.blocks))
            window = self._torrent.open_storage.cached(*block)
            limited = is_limited(self._torrent.upload_limits)
            if wire.bytes_queued and (window is None or limited):
                return  # what is ready is sent before we wait for the disk or for a limit
            if window is None:
                window = await self._torrent.open_storage.read(*block)
            if limited:
                await self._queue_paid(block, window)
            else:
                self._queue_run(window, MAX_BATCH - wire.bytes_queued)

    async def _queue_paid(self, block: Block, window: Window) -> None:
        """Queue the head when the limits let it pass, unless it was cancelled while it waited.

        What was let pass then counts for the next one: else a peer could wait with a byte and have
        a whole block for it, or cancel again and again and use up what others might be sent.
        """
        await take_from_all(self._torrent.upload_limits, max(0, block.length - self._paid))
        self._paid = max(self._paid, block.length)
        if next(iter(self.blocks), None) == block:
            self._paid -= block.length
            self._queue_run(window, 1)

    def _queue_run(self, window: Window, room: int) -> None:
        """Queue blocks from the head, while there is room for a byte and they lie in a window."""
        blocks, send_piece = self.blocks, self._wire.send_piece
        piece, start, data = window
        size = len(data)
        run: list[Block] = []
        queued = 0
        for block in blocks:
            its_piece, begin, length = block
            offset = begin - start
            if queued >= room or its_piece != piece or offset < 0 or offset + length > size:
                break
            send_piece(piece, begin, data[offset : offset + length])
            run.append(block)
            queued += length
        for block in run:
            del blocks[block]
        if run:
            self._count(run, queued, trio.current_time())
