"""What the user chose about Tor: one frozen value that ``open_tor()`` is given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tor_control.keeper_process import KeeperProcess

MINIMUM_VERSION = (0, 4, 7)
"""The oldest tor with congestion control (proposal 324), without which an onion is slow."""

STALL_AFTER = 120.0
"""Seconds without progress of the bootstrap until we give up; slow bridges pause for a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorConfig:
    """Which tor is used, and how.

    Args:
        where: ``auto``, ``launch``, ``tcp:HOST:PORT`` or ``unix:PATH`` (a control endpoint).
        binary: The tor program to launch; None looks for one.
        extra_torrc: A file with the user's own lines for a launched tor.
        state: The folder that is kept between runs; tor's own is ``tor/N`` in it.
        allow_private_addresses: Dial private addresses too. Only for tests on a private network.
        onion_only: A launched tor refuses everything but onion services.
        keeper: What starts tor, where this process may not start anything any more; it stays the
            caller's. None starts one.
        sockets: A folder for sockets that only we can enter, where those in `state` cannot be:
            their paths would be too long, or tor is not ours. Who gives it removes it.
        stall_after: Seconds without progress of the bootstrap until ``BootstrapStalled``.
        environment: Where the ``TOR_*`` variables are looked up.
    """

    where: str = "auto"
    binary: str | None = None
    extra_torrc: Path | None = None
    state: Path
    allow_private_addresses: bool = False
    onion_only: bool = False
    keeper: "KeeperProcess | None" = None
    sockets: Path | None = None
    stall_after: float = STALL_AFTER
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
