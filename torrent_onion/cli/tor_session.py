"""Open Tor for a command, and say what it does in the meantime."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from platformdirs import user_state_path

from tor_control.controller import Tor, TorConfig, open_tor
from tor_control.events import Bootstrap, Connected, Lost, Restored, TorEvent, Warning_
from tor_control.key_file import LastingAddress
from tor_control.onion_service import OnionService
from torrent_onion.cli import guarding
from torrent_onion.cli.options import TorOptions
from torrent_onion.cli.ui import ALL, Ui

T = TypeVar("T")


@asynccontextmanager
async def open_tor_and_read(
    config: TorConfig, ui: Ui, read: Callable[[], T]
) -> AsyncIterator[tuple[Tor, T]]:
    """Open Tor and report its events; read what comes from strangers as soon as that is safe.

    Args:
        config: What the user chose.
        ui: Where to.
        read: Called once the guard is armed, while Tor is still on its way into the network. What
            it raises ends everything.

    Yields:
        Tor, in its network, and what was read.

    Raises:
        TorError: There is no tor, or it does not reach its network.
    """
    have_read: list[T] = []

    def on_event(event: TorEvent) -> None:
        show_tor_event(ui, event)
        if isinstance(event, Connected):
            guarding.arm(event)
            guarding.tell_layers(ui)
            have_read.append(read())

    try:
        async with open_tor(config, on_event) as tor:
            yield tor, have_read[0]
    finally:
        guarding.report_refusals(ui)


@asynccontextmanager
async def open_tor_for(config: TorConfig, ui: Ui) -> AsyncIterator[Tor]:
    """Open Tor, arm the guard, and report Tor's events.

    Raises:
        TorError: There is no tor, or it does not reach its network.
    """
    async with open_tor_and_read(config, ui, lambda: None) as (tor, _):
        yield tor


@asynccontextmanager
async def publish_onion(
    tor: Tor, ui: Ui, lasting: LastingAddress | None = None
) -> AsyncIterator[OnionService]:
    """Publish an onion service for one torrent; the block begins when its descriptor is up.

    Args:
        tor: Where.
        ui: Hears of it.
        lasting: Its address; None takes a new one.

    Raises:
        PublishFailed: It could not be published.
    """
    ui.tor("Publishing the onion service", None)
    key, port = (lasting.key, lasting.port) if lasting else (None, None)
    async with tor.publish(key=key, port=port) as onion:
        yield onion


def tor_config(options: TorOptions) -> TorConfig:
    """The options in the words of ``tor_control``."""
    return TorConfig(
        where=options.where,
        binary=options.binary,
        extra_torrc=options.torrc,
        state=options.state or state_folder(),
        allow_private_addresses=options.allow_private_addresses,
        onion_only=options.onion_only,
    )


def state_folder() -> Path:
    """Where this user's programs keep what they need between runs."""
    return user_state_path("torrent-onion", appauthor=False)


def show_tor_event(ui: Ui, event: TorEvent) -> None:
    """Tell people and programs what happens to Tor."""
    match event:
        case Connected(version=version, is_launched=is_launched, place=place):
            done = "Started Tor" if is_launched else f"Using the Tor at {place}, version"
            ui.note(f"{done} {version}.")
        case Bootstrap(percent=percent, summary=summary):
            ui.tor(summary, percent)
        case Warning_(text=words):
            ui.warn(words)
        case Lost(reason=reason):
            ui.tor("lost", 0)
            ui.warn(reason)
        case Restored():
            ui.tor("restored", ALL)
