"""What `seed` does at the same time."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tor_control.config import TorConfig
from torrent_onion.cli import seeding
from torrent_onion.cli.content_options import ContentOptions
from torrent_onion.cli.creating import Content
from torrent_onion.cli.limit_options import LimitOptions
from torrent_onion.cli.ui import JsonUi
from torrent_onion.engine.parallel import first_error
from torrent_onion.errors import TorrentOnionError


async def test_tor_is_opened_while_files_are_hashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    hashing, opening = trio.Event(), trio.Event()

    async def make_torrent(*_: Any) -> None:
        hashing.set()
        await opening.wait()

    class OpenTor:
        async def __aenter__(self) -> None:
            opening.set()
            await hashing.wait()
            raise TorrentOnionError("both went on at once")

        async def __aexit__(self, *_: object) -> None:
            """Never entered."""

    monkeypatch.setattr(seeding, "make_torrent", make_torrent)
    monkeypatch.setattr(seeding, "open_tor_for", lambda *_: OpenTor())
    content = Content(path=tmp_path / "x", torrent_file=None, force=False, options=ContentOptions())
    sharing = seeding.Sharing(key=None, super_seed=False, limits=LimitOptions())
    ui = JsonUi(StringIO(), StringIO())
    with trio.fail_after(1), pytest.raises(BaseExceptionGroup) as raised:
        await seeding.seed([content], sharing, TorConfig(state=tmp_path), ui)
    assert str(first_error(raised.value)) == "both went on at once"
