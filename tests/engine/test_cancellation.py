"""A transfer cancelled at every step leaves nothing running and nothing wrong on disk."""

import random
from pathlib import Path

import trio
from trio.lowlevel import Task

from tests.engine.helpers import MemoryNetwork, tree
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec

PIECE = 16384


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when trio is about to run the n-th step of any task."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left = step
        self._scope = scope

    def before_task_step(self, task: Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()

    @property
    def fired(self) -> bool:
        return self._left <= 0


async def run_cancelled(network: MemoryNetwork, spec: TorrentSpec, step: int) -> bool:
    """Fetch, cancelled at a step. Returns whether the fetch was still going on."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            async with open_session(dial=network.dial) as session:
                await session.add(spec).wait_complete()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    assert trio.lowlevel.current_statistics().tasks_living <= tasks_before + SEEDER_TASKS
    return instrument.fired


SEEDER_TASKS = 4
"""The seeder may still be taking leave of the connection: its session, reader and writer."""


async def seed_and_sweep(network: MemoryNetwork, tmp_path: Path, *, magnet: bool) -> int:
    content = tmp_path / "seed" / "content"
    content.mkdir(parents=True)
    for name, size in (("one", 2 * PIECE + 5), ("two", 100), ("none", 0)):
        (content / name).write_bytes(random.Random(name).randbytes(size))
    metainfo = (await create_torrent(content, piece_length=PIECE)).metainfo
    address, listener = network.listen(1)
    cancelled = 0
    async with open_session(dial=network.dial) as session:
        await session.add(
            TorrentSpec(metainfo, content.parent, shared_path=content), listener=listener
        ).wait_complete()
        with trio.fail_after(100):
            while await sweep_step(network, tmp_path, metainfo, address, cancelled + 1, magnet):
                cancelled += 1
    return cancelled


async def sweep_step(
    network: MemoryNetwork,
    tmp_path: Path,
    metainfo: Metainfo,
    address: PeerAddress,
    step: int,
    magnet: bool,
) -> bool:
    source = Magnet(info_hashes=metainfo.info.info_hashes) if magnet else metainfo
    folder = tmp_path / f"get {step}"
    folder.mkdir()
    spec = TorrentSpec(source, folder, peers=(address,))
    was_cancelled = await run_cancelled(network, spec, step)
    await run_cancelled(network, spec, 10**9)
    assert tree(folder / "content") == tree(tmp_path / "seed" / "content")
    assert [path.name for path in folder.iterdir()] == ["content"]
    return was_cancelled


async def test_cancelled_at_every_step(network: MemoryNetwork, tmp_path: Path) -> None:
    assert await seed_and_sweep(network, tmp_path, magnet=False) > 30


async def test_a_magnet_link_cancelled_at_every_step(
    network: MemoryNetwork, tmp_path: Path
) -> None:
    assert await seed_and_sweep(network, tmp_path, magnet=True) > 30
