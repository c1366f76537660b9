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
from torrent_onion.cli.json_ui import JsonUi
from torrent_onion.cli.limit_options import LimitOptions
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


async def test_a_key_is_held_while_it_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Of two sharers of one onion nobody reaches the first."""

    async def make_torrent(*_: Any) -> None:
        await trio.sleep(10)
        raise TorrentOnionError("it has ended")

    class OpenTor:
        async def __aenter__(self) -> None:
            await trio.sleep_forever()

        async def __aexit__(self, *_: object) -> None:
            """Never entered."""

    monkeypatch.setattr(seeding, "make_torrent", make_torrent)
    monkeypatch.setattr(seeding, "open_tor_for", lambda *_: OpenTor())
    content = Content(path=tmp_path / "x", torrent_file=None, force=False, options=ContentOptions())
    sharing = seeding.Sharing(key=tmp_path / "key", super_seed=False, limits=LimitOptions())
    endings: list[str] = []

    async def seed(after: float) -> None:
        await trio.sleep(after)
        try:
            ui = JsonUi(StringIO(), StringIO())
            await seeding.seed([content], sharing, TorConfig(state=tmp_path), ui)
        except TorrentOnionError as error:
            endings.append(str(error))
        except BaseExceptionGroup as group:
            endings.append(str(first_error(group)))

    async with trio.open_nursery() as nursery:
        for after in (0, 1, 20):
            nursery.start_soon(seed, after)
    in_use = f"{tmp_path / 'key'} is in use by another torrent-onion; name another key."
    assert endings == [in_use, "it has ended", "it has ended"]
