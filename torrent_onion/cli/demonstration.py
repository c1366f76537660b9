"""``demo``: the whole way of a folder, on this machine alone and with real tor processes.

A private Tor network, one process that shares a folder of samples, another that fetches it, and a
comparison byte for byte. Nothing is left behind.
"""

import tempfile
from pathlib import Path

import trio

from tor_control.private_network import private_network
from torrent_onion.cli import text
from torrent_onion.cli.child import run_child
from torrent_onion.cli.samples import differences, write_samples
from torrent_onion.cli.ui import Ui
from torrent_onion.errors import LocalError

_WORDS_WIDTH = 60
_PATIENCE = "45"
"""Seconds without any data after which the getter gives up."""


async def demo(binary: str | None, verbose: int, ui: Ui) -> None:
    """Run the demo and say how long each step took.

    Args:
        binary: The tor program; None looks on PATH.
        verbose: How much its processes say on stderr.
        ui: Where the steps are told.

    Raises:
        TorError: Tor is missing, or the private network did not come up.
        LocalError: A step failed.
    """
    steps = _Steps(ui)
    with tempfile.TemporaryDirectory(prefix="torrent-onion-demo-") as folder:
        await _share_and_fetch(Path(folder), binary or "tor", verbose, steps)
    steps.all_done()


class _Steps:
    """Says what is being done, then how long it took."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._began = self._since = trio.current_time()

    def doing(self, words: str) -> None:
        """What is going on, until it is done."""
        self._ui.tor(words, None)

    def took(self) -> float:
        """Seconds since the last step was done."""
        return trio.current_time() - self._since

    def done(self, words: str) -> None:
        """A step is done."""
        self._tell(words, self.took())
        self._since = trio.current_time()

    def all_done(self) -> None:
        """Everything is, the removal included."""
        self.done("Ended all processes and removed all files")
        self._tell("In all", trio.current_time() - self._began)

    def _tell(self, words: str, seconds: float) -> None:
        line = f"{words:<{_WORDS_WIDTH}} {seconds:5.1f} s"
        self._ui.result("step", {"step": words, "seconds": round(seconds, 3)}, line)


async def _share_and_fetch(folder: Path, binary: str, verbose: int, steps: _Steps) -> None:
    shared = folder / "documents"
    files, total = write_samples(shared)
    steps.done(f"Wrote {text.count(files, 'sample document')}, {text.size(total)}")
    async with private_network(
        folder / "network", on_progress=steps.doing, binary=binary
    ) as network:
        steps.done(f"Started a private Tor network of {text.count(network.relays, 'relay')}")
        tor = ("--tor", "launch", "--tor-binary", binary, "--torrc", str(network.torrc))
        seed = ("seed", str(shared), "--state", str(folder / "a"), *tor)
        async with run_child(*seed, verbose=verbose) as seeder:
            steps.doing("hashing, and publishing an onion service")
            magnet = (await seeder.wait_for("ready"))["magnet"]
            steps.done("Shared them: hashed, and published an onion service")
            where = folder / "fetched"
            get = ("get", magnet, "--dir", str(where), "--timeout", _PATIENCE)
            state = ("--state", str(folder / "b"))
            async with run_child(*get, *state, *tor, verbose=verbose) as getter:
                steps.doing("starting another tor")
                await getter.wait_for("progress")
                steps.done("Started another process, with a tor of its own")
                steps.doing("fetching through the onion service")
                fetched = Path((await getter.wait_for("complete"))["path"])
                seconds = steps.took()
                steps.done(f"Fetched them there by the magnet link, {text.rate(total / seconds)}")
                _compare(shared, fetched)
                steps.done(f"Compared byte for byte: all {files} files are equal")


def _compare(shared: Path, fetched: Path) -> None:
    different = differences(shared, fetched)
    if different:
        raise LocalError(
            f"{text.count(len(different), 'file')} came out different, {different[0]} for one. "
            "This is a bug; please report it."
        )
