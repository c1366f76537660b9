"""Slow connections are read on a common beat, fast ones as their bytes come."""

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from torrent_onion.core.magnet import parse_magnet
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.engine.beat import BEAT_SECONDS, Beat
from torrent_onion.engine.peer import FAST_RATE, Peer
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.protocol.peer_wire import PeerWire


async def test_all_wake_at_one_moment(autojump_clock: trio.testing.MockClock) -> None:
    beat, woken = Beat(), []

    async def wait_from(start: float) -> None:
        await trio.sleep(start)
        await beat.wait()
        woken.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for share in (0, 0.3, 0.9):
            nursery.start_soon(wait_from, share * BEAT_SECONDS)
    assert woken == pytest.approx([began + BEAT_SECONDS] * 3)


async def test_a_beat_can_be_skipped(autojump_clock: trio.testing.MockClock) -> None:
    beat, began = Beat(), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(beat.wait)
        await trio.testing.wait_all_tasks_blocked()
        beat.skip()
    assert trio.current_time() == began


async def test_who_is_cancelled_leaves_nobody_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    beat, leader = Beat(), trio.CancelScope()

    async def lead() -> None:
        with leader:
            await beat.wait()

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(beat.wait)
            await trio.testing.wait_all_tasks_blocked()
            leader.cancel()
        await beat.wait()


@pytest.mark.parametrize(
    ("rate", "outstanding", "waits"),
    [
        (FAST_RATE / 2, 10, True),
        (FAST_RATE * 2, 10, False),
        (FAST_RATE / 2, 0, False),
        (0.0, 10, False),
        (BLOCK_SIZE * 10 / BEAT_SECONDS, 10, False),  # slow, and nearer than a beat
    ],
)
async def test_who_is_read_on_the_beat(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    rate: float,
    outstanding: int,
    waits: bool,
) -> None:
    magnet = parse_magnet("magnet:?xt=urn:btih:" + "ab" * 20)
    torrent = Torrent(TorrentSpec(magnet, tmp_path), Settings(), random.Random(1))
    peer = Peer(torrent, 1, PeerWire(), None)
    blocks = [Block(0, number * BLOCK_SIZE, BLOCK_SIZE) for number in range(20)]
    if rate:
        peer.requests.requests_sent(blocks[:10], 0.0)
        for block in blocks[:10]:
            peer.requests.block_arrived(block, 10 * BLOCK_SIZE / rate)
    peer.requests.requests_sent(blocks[10 : 10 + outstanding], 0.0)
    before = trio.current_time()
    await peer.ready_for_more()
    assert trio.current_time() - before == pytest.approx(BEAT_SECONDS if waits else 0.0)
