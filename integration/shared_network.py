"""One private Tor network for many tests, in a thread with a trio of its own."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import trio

from tor_control.private_network import PrivateNetwork, private_network


@contextmanager
def network_in_thread(directory: Path, *, relays: int = 5) -> Iterator[PrivateNetwork]:
    """Bring up a network, and end it with the block.

    Should this process be killed, the network ends all the same.

    Raises:
        PrivateNetworkFailed: It did not come up; the text says why.
    """
    live: Future[tuple[PrivateNetwork, trio.lowlevel.TrioToken, trio.Event]] = Future()

    async def serve() -> None:
        async with private_network(directory, relays=relays, on_progress=lambda _: None) as network:
            over = trio.Event()
            live.set_result((network, trio.lowlevel.current_trio_token(), over))
            await over.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except Exception as error:
            if live.done():
                raise
            live.set_exception(error)

    thread = threading.Thread(target=run, name="private network")
    thread.start()
    try:
        network, token, over = live.result()
        try:
            yield network
        finally:
            token.run_sync_soon(over.set)
    finally:
        thread.join()
