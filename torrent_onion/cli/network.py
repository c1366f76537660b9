"""``private-network``: run a whole Tor network on this machine until Ctrl-C."""

from pathlib import Path

import trio

from tor_control.private_network import private_network
from torrent_onion.cli import text
from torrent_onion.cli.ui import Ui


async def serve(folder: Path, relays: int, binary: str | None, ui: Ui) -> None:
    """Bring the network up, print where its torrc is, and keep it up until cancelled.

    Raises:
        TorError: Tor is missing, or the network did not come up.
    """

    def progress(words: str) -> None:
        ui.tor(words, None)

    async with private_network(
        folder, relays=relays, on_progress=progress, binary=binary or "tor"
    ) as network:
        torrc = str(network.torrc)
        ui.note(f"Ready: {text.count(network.relays, 'relay')}. Name this file with --torrc:")
        ui.result("ready", {"torrc": torrc, "relays": network.relays}, text.printable(torrc))
        ui.note("Ctrl-C ends the network and removes it.")
        await trio.sleep_forever()
