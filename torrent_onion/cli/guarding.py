"""What this process gives up, and when (``tor_control/guard.py`` does it).

Before there is a thread: :func:`given_up`. When Tor is connected, and before a byte from strangers
is read: :func:`arm`, and :func:`tell_layers`. At the end: :func:`report_refusals`.
"""

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tor_control.config import TorConfig
from tor_control.endpoints import UnixEndpoint, parse_environment
from tor_control.errors import InvalidEndpoint, TorLaunchFailed
from tor_control.events import Connected
from tor_control.guard import GUARD, LayerStatus
from tor_control.keeper_process import KeeperProcess
from tor_control.tor_slot import has_room_for_sockets, make_socket_folder, make_state_folder
from torrent_onion.cli.ui import Ui

_log = logging.getLogger(__name__)

_MAY_LAUNCH = frozenset({"auto", "launch"})


@contextmanager
def given_up(config: TorConfig, folders: Collection[Path]) -> Iterator[TorConfig]:
    """Start the keeper, then give up writing anywhere but where this command has to.

    Call it before there is a thread or an event loop: threads that run already keep their rights.

    Args:
        config: What the user chose.
        folders: Where the command writes; those that are not there are left out.

    Yields:
        The same with the keeper, which ends with the block, and a folder for sockets.

    Raises:
        TorLaunchFailed: The keeper cannot be started, or there is no folder for sockets.
    """
    if os.name != "posix":
        yield config
        return
    may_launch = config.where in _MAY_LAUNCH
    if may_launch:
        with suppress(TorLaunchFailed):  # told when it is needed, for a tor may run already
            make_state_folder(config.state)
    with KeeperProcess() as keeper:
        sockets = None
        if (may_launch and not has_room_for_sockets(config.state)) or _attaches_to_unix(config):
            sockets = make_socket_folder(config.environment)
            keeper.will_remove(sockets)
        writable = [*folders, config.state, *([sockets] if sockets else [])]
        GUARD.confine_writes([folder for folder in writable if folder.is_dir()])
        yield replace(config, keeper=keeper, sockets=sockets)


def _attaches_to_unix(config: TorConfig) -> bool:
    """Whether the tor that is named has a Unix socket; then it may reach one of ours as well."""
    if config.where.startswith("unix:"):
        return True
    try:
        named = parse_environment(config.environment).control
    except InvalidEndpoint:  # told when Tor is opened
        return False
    return config.where == "auto" and isinstance(named, UnixEndpoint)


def arm(event: Connected) -> None:
    """Close every way but the one to this Tor."""
    GUARD.arm(event.endpoints, listens_on_loopback=event.listens_on_loopback)


def tell_layers(ui: Ui) -> None:
    """Say what holds every other way closed."""
    layers = GUARD.statistics().layers
    ui.guard(
        {
            "layers": [
                {"layer": one.layer.name.lower(), "active": one.active, "reason": one.reason}
                for one in layers
            ]
        },
        f"Guard: {in_words(layers)}.",
    )


def active_layers() -> str:
    """What is on, and what is not, for people."""
    return in_words(GUARD.statistics().layers)


def in_words(layers: Collection[LayerStatus]) -> str:
    """The layers that are on, with what they leave open; then those that are not, and why."""
    active = ", ".join(_with_reason(one) for one in layers if one.active)
    missing = ", ".join(_with_reason(one) for one in layers if not one.active)
    return f"{active}; not on: {missing}" if missing else active


def _with_reason(status: LayerStatus) -> str:
    name = status.layer.value
    if not status.reason:
        return name
    return f"{name[:-1]}; {status.reason})" if name.endswith(")") else f"{name} ({status.reason})"


def report_refusals(ui: Ui) -> None:
    """Say how often the guard had to refuse; that is a bug, so anything but 0 is for people."""
    refused = GUARD.statistics().refused
    _log.info("the guard refused %d calls", refused)
    if refused:
        ui.warn(
            f"The guard stopped this program {refused} times from going around Tor. Nothing has "
            "leaked, but this is a bug: please report it with what -vv prints."
        )
