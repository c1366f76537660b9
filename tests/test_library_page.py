"""The code in docs/library.md runs as it stands, but for Tor, which is played by memory."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.engine.helpers import MemoryNetwork
from tor_control.config import TorConfig
from torrent_onion.core.magnet import Magnet
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec

PAGE = Path(__file__).parents[1] / "docs" / "library.md"


async def test_the_page_fetches_a_torrent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = MemoryNetwork()

    @asynccontextmanager
    async def open_tor(config: TorConfig) -> AsyncIterator[object]:
        assert config.state == tmp_path / "state"
        await trio.lowlevel.checkpoint()
        yield SimpleNamespace(dial=network.dial)

    monkeypatch.setattr("tor_control.controller.open_tor", open_tor)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    page: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), page)
    content = tmp_path / "notes.txt"
    content.write_bytes(b"x" * 100_000)
    metainfo = (await create_torrent(content)).metainfo
    address, listener = network.listen(1)
    with trio.fail_after(30):
        async with open_session(dial=network.dial) as session:
            session.add(TorrentSpec(metainfo, tmp_path, shared_path=content), listener=listener)
            link = Magnet(metainfo.info.info_hashes, peers=(address,)).to_uri()
            path = await page["fetch"](link, tmp_path / "get", tmp_path / "state")
    assert path.read_bytes() == content.read_bytes()
    assert "complete: 100000 bytes" in capsys.readouterr().out
