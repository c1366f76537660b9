"""A private tor of our own: find the program, give it a folder, start it, start it again.

Three rules. Nothing but tor and the keeper is ever started, and after :func:`launch_tor` has
returned only the keeper starts anything. Tor listens on Unix sockets in a folder of our own, under
the same paths for as long as we run, so that a guard can let through these and nothing else. And it
belongs to us twice over: it ends when its control connection does (TAKEOWNERSHIP), and when we do.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from tor_control.config import MINIMUM_VERSION, TorConfig
from tor_control.control_connection import ControlConnection, Credentials, open_control
from tor_control.control_text import parse_version
from tor_control.endpoints import UnixEndpoint
from tor_control.errors import (
    AuthenticationFailed,
    ControlFailed,
    TorLaunchFailed,
    TorLost,
    TorNotFound,
    TorTooOld,
)
from tor_control.keeper_client import Keeper, TorRun
from tor_control.tor_slot import TorSlot, choose_socket_folder, take_slot
from tor_control.torrc import Torrc

USUAL_FOLDERS = ("/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin")
"""Where tor often is although PATH does not say so."""

VERSION_TIMEOUT = 10.0
"""Seconds for ``tor --version``."""

CONTROL_TIMEOUT = 30.0
"""Seconds until a tor that has started must let us in; it takes a tenth of one."""

CONTROL_POLL = 0.02
"""Seconds between two attempts at a control socket that is not there yet."""


@dataclass(frozen=True, slots=True)
class TorProgram:
    """A tor that could be launched.

    Args:
        path: Where it is.
        version: As numbers.
    """

    path: str
    version: tuple[int, ...]


async def find_tor(binary: str | None, environment: Mapping[str, str]) -> TorProgram:
    """Find the tor program and ask for its version.

    Args:
        binary: What the user named: a path, or a name on PATH.
        environment: Has PATH.

    Raises:
        TorNotFound: There is none.
        TorTooOld: It is older than ``MINIMUM_VERSION``.
        TorLaunchFailed: It is no tor, or does not run.
    """
    places = os.pathsep.join([environment.get("PATH", os.defpath), *USUAL_FOLDERS])
    path = shutil.which(binary or "tor", path=places)
    if path is None:
        if binary is None:
            raise TorNotFound
        raise TorNotFound(f"There is no program {binary}; correct --tor-binary or leave it out.")
    version = await _ask_version(path)
    if version < MINIMUM_VERSION:
        raise TorTooOld(
            f"{path} has version {'.'.join(map(str, version))}, which is too old; "
            "install 0.4.7 or newer, or name another with --tor-binary."
        )
    return TorProgram(path, version)


async def _ask_version(path: str) -> tuple[int, ...]:
    failure = TorLaunchFailed(f"{path} is no Tor that works; correct --tor-binary or reinstall it.")
    with trio.move_on_after(VERSION_TIMEOUT):
        try:
            result = await trio.run_process(
                [path, "--version"],
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError as error:
            raise failure from error
        prefix = "Tor version "
        for line in result.stdout.decode("utf-8", "replace").splitlines():
            if line.startswith(prefix):
                return parse_version(line.removeprefix(prefix))
    raise failure


class LaunchedTor:
    """A tor of our own; made by :func:`launch_tor`.

    Args:
        keeper: Starts it.
        slot: Its folder.
        torrc: Its configuration.
    """

    is_launched = True

    def __init__(self, keeper: Keeper, slot: TorSlot, torrc: Torrc) -> None:
        self._keeper = keeper
        self._slot = slot
        self._torrc = torrc
        self.control = UnixEndpoint(str(torrc.control))
        self.socks = UnixEndpoint(str(torrc.socks))

    @property
    def run(self) -> TorRun | None:
        """The tor that was started last."""
        return self._keeper.run

    async def connect(self) -> ControlConnection:
        """Start tor, again if it was started before, and log in.

        Raises:
            TorLaunchFailed: It did not start, with its reason where it gave one.
            AuthenticationFailed: Its cookie cannot be read.
        """
        run = await self._keeper.start(self._torrc.text())
        async with AsyncExitStack() as stack:
            connection = await self._log_in(run)
            stack.push_async_callback(connection.aclose)
            try:
                await connection.command("TAKEOWNERSHIP")
            except TorLost as error:
                raise self._failure() from error
            stack.pop_all()
        return connection

    async def _log_in(self, run: TorRun) -> ControlConnection:
        credentials = Credentials(cookie_file=str(self._torrc.cookie))
        with trio.move_on_after(CONTROL_TIMEOUT):
            while not run.ended.is_set():
                await trio.sleep(CONTROL_POLL)
                try:
                    return await open_control(self.control, credentials)
                except AuthenticationFailed:
                    raise
                except ControlFailed:
                    continue
            await trio.lowlevel.checkpoint()
        raise self._failure()

    def _failure(self) -> TorLaunchFailed:
        reason = self._slot.reason()
        if reason is None:
            return TorLaunchFailed()
        return TorLaunchFailed(
            f"Tor could not be started ({reason}); correct that, or see {self._slot.log} for more."
        )


async def launch_tor(
    config: TorConfig, program: TorProgram, stack: AsyncExitStack, nursery: trio.Nursery
) -> LaunchedTor:
    """Prepare everything for a tor of our own; :meth:`LaunchedTor.connect` starts it.

    Args:
        config: What the user chose.
        program: The tor to start.
        stack: Ends the keeper, and tor with it, when it is unwound.
        nursery: Where the keeper's reports are read.

    Raises:
        TorLaunchFailed: The folder, the user's lines or the keeper cannot be used.
    """
    extra = _read_extra(config.extra_torrc)
    slot = await take_slot(config.state)
    stack.callback(slot.release)
    folder, is_temporary = choose_socket_folder(slot, config.environment)
    torrc = Torrc(
        control=folder / "control",
        socks=folder / "socks",
        cookie=slot.cookie,
        pid_file=slot.pid_file,
        owner=os.getpid(),
        onion_only=config.onion_only,
        allow_private_addresses=config.allow_private_addresses,
        extra=extra,
    )
    keeper = await Keeper.open(
        [
            *(program.path, "-f", "-", "--defaults-torrc", os.devnull),
            *("--DataDirectory", str(slot.data)),  # here, so that a stale tor can be recognised
        ],
        log=slot.log,
        socket_folder=folder if is_temporary else None,
    )
    stack.push_async_callback(_end, keeper, slot)
    nursery.start_soon(keeper.read_reports)
    return LaunchedTor(keeper, slot, torrc)


async def _end(keeper: Keeper, slot: TorSlot) -> None:
    """End tor; also when somebody has killed the keeper, which then cannot do it."""
    await keeper.aclose()
    with trio.CancelScope(shield=True):
        await slot.end_stale_tor()


def _read_extra(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise TorLaunchFailed(
            f"The file {path} cannot be read ({error.strerror}); correct --torrc."
        ) from error
