"""``seed``: hash, publish an onion service, print the link, serve until Ctrl-C."""

from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import trio

from tor_control.config import TorConfig
from tor_control.onion_service import random_port
from torrent_onion.cli.creating import Content, make_torrent
from torrent_onion.cli.lasting_key import open_key
from torrent_onion.cli.limit_options import LimitOptions
from torrent_onion.cli.tor_session import open_tor_for, publish_onion
from torrent_onion.cli.transfer import announce_ready, goals, serve, settings
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent import TorrentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How something is shared.

    Args:
        key: The file with the key of a lasting address; None: a new one for this run.
        super_seed: Give out one copy as fast as possible (BEP 16).
        limits: How fast, and until when.
    """

    key: Path | None
    super_seed: bool
    limits: LimitOptions


async def seed(content: Content, sharing: Sharing, config: TorConfig, ui: Ui) -> None:
    """Share the path until a goal is reached, or this is cancelled.

    Hashing and the way into the Tor network take time, so both go on at once.

    Raises:
        TorError: Tor cannot be had, or the onion service cannot be published.
        LocalError: The path cannot be read, or changed while it was shared.
    """
    lasting = open_key(sharing.key, random_port(SystemRandom())) if sharing.key else None
    hashed = _Hashed()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hash, content, hashed, ui)
        async with open_tor_for(config, ui) as tor:
            metainfo = await hashed.wait()
            async with (
                publish_onion(tor, ui, lasting) as onion,
                open_session(dial=tor.dial, settings=settings(sharing.limits)) as session,
            ):
                own = PeerAddress.of(onion.address, onion.port)
                spec = TorrentSpec(
                    metainfo,
                    folder=content.path.parent,
                    shared_path=content.path,
                    own_address=own,
                    sign=onion.sign,
                    super_seed=sharing.super_seed,
                    goals=goals(sharing.limits),
                )
                torrent = session.add(spec, listener=onion.listener)
                await torrent.wait_complete()
                announce_ready(ui, torrent, own, torrent_file=content.torrent_file)
                await serve(torrent, ui)


class _Hashed:
    """The metainfo, once it is there."""

    def __init__(self) -> None:
        self._known = trio.Event()
        self._metainfo: Metainfo | None = None

    def set(self, metainfo: Metainfo) -> None:
        self._metainfo = metainfo
        self._known.set()

    async def wait(self) -> Metainfo:
        await self._known.wait()
        if self._metainfo is None:
            raise RuntimeError("set() comes before the event")
        return self._metainfo


async def _hash(content: Content, hashed: _Hashed, ui: Ui) -> None:
    hashed.set(await make_torrent(content, ui))
