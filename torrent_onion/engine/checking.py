"""Check what is on disk against a torrent's hashes, on all cores."""

from collections.abc import Callable

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.engine.disk_threads import DiskThreads
from torrent_onion.engine.parallel import for_each_batch
from torrent_onion.engine.storage import Storage

Progress = Callable[[int, int], None]
"""``progress(bytes done, bytes in all)``, called in the event loop."""


def no_progress(_done: int, _total: int) -> None:
    """For those who do not look."""


_BATCH_BYTES = 16 << 20
"""Bytes checked for each hop to a thread: enough to hide the hop, few enough for progress."""


async def check_pieces(
    storage: Storage,
    info: Info,
    threads: DiskThreads,
    progress: Progress,
    *,
    only: Bitfield | None = None,
) -> Bitfield:
    """Hash pieces on disk.

    Args:
        storage: Where they are.
        info: The torrent.
        threads: Where to hash.
        progress: Called with bytes of files that are done, and those in all.
        only: Pieces to look at; None looks at all.

    Returns:
        Those pieces that are there and right. Missing files are no error.

    Raises:
        StorageError: The disk cannot be read.

    Cancelling waits for the pieces that are being hashed; nothing on disk is changed.
    """
    layout = info.layout
    have = Bitfield(layout.num_pieces)
    wanted = range(layout.num_pieces) if only is None else list(only.indices())
    lengths = [info.data_length(index) for index in wanted]
    total = sum(lengths)
    checked = 0

    def check(places: range, buffer: memoryview) -> list[int]:
        return [wanted[place] for place in places if storage.check_now(wanted[place], buffer)]

    def done(places: range, good: list[int]) -> None:
        nonlocal checked
        for index in good:
            have.set(index)
        checked += sum(lengths[place] for place in places)
        progress(checked, total)

    batch = max(1, _BATCH_BYTES // layout.piece_length)
    await for_each_batch(threads, len(wanted), batch, check, done)
    return have
