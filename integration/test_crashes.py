"""`get` that is killed with -9 at random moments, and started again until it is through."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.running_tor import running_tor
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork

MIB = 1 << 20
PIECE = 64 << 10
LONGEST_LIFE = 2.0
"""Seconds after it has reached Tor: enough for some pieces, rarely for the last."""
EARLY_DEATHS = 0.1
"""The share of those that die before they have reached Tor."""
RATE = 2 * MIB
"""Bytes a second, so that it takes many lives."""
UNDER_WAY = MIB
"""Bytes that a kill may cost: pieces that are not whole yet, and blocks on their way."""


def progress(process: Cli, *states: str) -> list[dict[str, Any]]:
    events = (event for event in process.events if event["event"] == "progress")
    return [event for event in events if event["state"] in states]


@dataclass
class Download:
    """One `get` in its many lives.

    Attributes:
        rng: When it dies.
        done: Bytes that any life said were verified and on disk.
    """

    rng: random.Random
    done: int = 0

    def live_and_die(self, process: Cli) -> None:
        if self.rng.random() < EARLY_DEATHS:
            time.sleep(self.rng.uniform(0, 1))
        else:
            process.wait_event("progress")
            time.sleep(self.rng.uniform(0, LONGEST_LIFE))
        process.kill()
        self._judge(process)

    def live_on(self, process: Cli) -> Path:
        path = process.complete()
        assert process.wait() == 0
        self._judge(process)
        return path

    def _judge(self, process: Cli) -> None:
        """What was verified once is there for all later lives."""
        told = [event["done"] for event in progress(process, "downloading", "seeding")]
        assert not told or told[0] >= self.done, f"{self.done} bytes were verified before: {told}"
        self.done = max([self.done, *told])


@pytest.mark.parametrize(
    ("rounds", "big"),
    [
        (25, 12 * MIB),
        pytest.param(200, 256 * MIB, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ],
    ids=["short", "long"],
)
def test_killed_at_random_moments(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: Callable[..., Path],
    tmp_path: Path,
    rounds: int,
    big: int,
) -> None:
    """Two of them at once: no verified piece is fetched twice, and a kill costs little else."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"random seed {seed}")
    downloads = [Download(random.Random(seed + number)) for number in range(2)]
    folders = [tmp_path / f"get {number}" for number in range(len(downloads))]
    content = content_tree(big=big)
    total = sum(path.stat().st_size for path in content.rglob("*") if path.is_file())
    lines = "ControlPort unix:{folder}/control\nSocksPort unix:{folder}/socks\n"
    with running_tor(tor_network, tmp_path / "tor", lines) as tor:
        place = f"unix:{tor.folder}/control"
        seeder = start_cli("seed", str(content), "--piece-size", str(PIECE), tor=place)
        link = seeder.wait_event("ready")["magnet"]

        def start() -> list[Cli]:
            get = ("get", link, "--max-down", str(RATE))
            return [start_cli(*get, "--dir", str(folder), tor=place) for folder in folders]

        with ThreadPoolExecutor(len(downloads)) as threads:
            for _ in range(rounds):
                list(threads.map(Download.live_and_die, downloads, start()))
            killed_at = [download.done / total for download in downloads]
            for path in threads.map(Download.live_on, downloads, start()):
                assert_same_tree(content, path)
        time.sleep(2)  # for the seeder's next progress event
        uploaded = progress(seeder, "seeding")[-1]["uploaded"]
    wasted = (uploaded - len(downloads) * total) / (rounds * len(downloads))
    print(f"killed for the last time at {killed_at}; a kill cost {wasted:,.0f} bytes")
    assert wasted <= UNDER_WAY
