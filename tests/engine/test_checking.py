"""The check of what is on disk, at the start of `get` and in `verify`."""

import random
import threading
from pathlib import Path

import pytest

from torrent_onion.engine import checking, parallel
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.verification import PieceVerifier
from torrent_onion.engine.verifying import check_data

PIECE = 16384
PIECES = 16


async def test_all_cores_check_at_once_and_progress_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_WORKERS", 3)
    monkeypatch.setattr(checking, "_BATCH_BYTES", PIECE)
    content = tmp_path / "file"
    content.write_bytes(random.Random(1).randbytes(PIECE * PIECES))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    together = threading.Barrier(3)
    real = PieceVerifier.__call__
    first = iter(range(3))

    def verify(self: PieceVerifier, index: int, parts: object) -> bool:
        if next(first, None) is not None:
            together.wait(10)  # broken, and so an error, unless three are in here at once
        return real(self, index, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(PieceVerifier, "__call__", verify)
    told: list[tuple[int, int]] = []
    found = await check_data(metainfo, content, progress=lambda *each: told.append(each))
    assert (found.bad, found.missing) == ((), ())
    assert told == [(PIECE * n, PIECE * PIECES) for n in range(1, PIECES + 1)]
