"""``seed``: hash, publish an onion service, print the link, serve until Ctrl-C."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom

import trio

from tor_control.config import TorConfig
from tor_control.controller import Tor
from tor_control.key_file import LastingAddress
from tor_control.onion_service import random_port
from torrent_onion.cli.creating import Content, make_torrent
from torrent_onion.cli.lasting_key import open_key
from torrent_onion.cli.limit_options import LimitOptions
from torrent_onion.cli.parts import parts_of, run_each
from torrent_onion.cli.tor_session import open_tor_for, publish_onion
from torrent_onion.cli.transfer import announce_ready, goals, serve, settings
from torrent_onion.cli.ui import Ui
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo
from torrent_onion.engine.session import Session, open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import TorrentOnionError


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


async def seed(contents: Sequence[Content], sharing: Sharing, config: TorConfig, ui: Ui) -> None:
    """Share until a goal is reached, or this is cancelled.

    Hashing and the way into the Tor network take time, so both go on at once.

    Args:
        contents: What to share, each by an onion of its own.
        sharing: How.
        config: Which Tor.
        ui: Where to report.

    Raises:
        TorError: Tor cannot be had, or the onion service cannot be published.
        LocalError: The path cannot be read, or changed while it was shared.
        SeveralFailed: One of several could not be shared.
    """
    uis = parts_of(ui, [content.path.name for content in contents])
    in_turn = trio.Lock()  # two that read the disk at once are slower than one after the other
    with open_key(sharing.key, random_port(SystemRandom())) as lasting:
        async with trio.open_nursery() as nursery:
            hashed = [_Hashed(content, is_alone=len(contents) == 1) for content in contents]
            for one, part in zip(hashed, uis, strict=True):
                nursery.start_soon(one.make, in_turn, part)
            async with (
                open_tor_for(config, ui) as tor,
                open_session(dial=tor.dial, settings=settings(sharing.limits)) as session,
            ):
                serving = _Serving(tor, session, sharing, lasting)
                await run_each([partial(serving.serve, one) for one in hashed], uis)


@dataclass(frozen=True, slots=True)
class _Serving:
    """What all that is shared by one command has in common."""

    tor: Tor
    session: Session
    sharing: Sharing
    lasting: LastingAddress | None

    async def serve(self, hashed: "_Hashed", ui: Ui) -> None:
        """Serve one of them by an onion of its own, once it is hashed."""
        metainfo, content = await hashed.wait(), hashed.content
        async with publish_onion(self.tor, ui, self.lasting) as onion:
            own = PeerAddress.of(onion.address, onion.port)
            spec = TorrentSpec(
                metainfo,
                folder=content.path.parent,
                shared_path=content.path,
                own_address=own,
                sign=onion.sign,
                super_seed=self.sharing.super_seed,
                goals=goals(self.sharing.limits),
            )
            torrent = self.session.add(spec, listener=onion.listener)
            await torrent.wait_complete()
            announce_ready(ui, torrent, own, torrent_file=content.torrent_file)
            await serve(torrent, ui)


class _Hashed:
    """The metainfo of one content, once it is there."""

    def __init__(self, content: Content, *, is_alone: bool) -> None:
        self.content = content
        self._is_alone = is_alone
        self._known = trio.Event()
        self._outcome: Metainfo | TorrentOnionError | None = None

    async def make(self, in_turn: trio.Lock, ui: Ui) -> None:
        """Hash it.

        Raises:
            TorrentOnionError: It is alone and cannot be shared; one of several tells who waits.
        """
        try:
            async with in_turn:
                self._outcome = await make_torrent(self.content, ui)
        except TorrentOnionError as error:
            if self._is_alone:
                raise
            self._outcome = error
        self._known.set()

    async def wait(self) -> Metainfo:
        """Wait until it is hashed.

        Raises:
            TorrentOnionError: It cannot be shared.
        """
        await self._known.wait()
        if isinstance(self._outcome, TorrentOnionError):
            raise self._outcome
        if self._outcome is None:
            raise RuntimeError("the outcome comes before the event")
        return self._outcome
