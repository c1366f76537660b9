"""A private tor of our own: find the program, give it a folder, start it, start it again.

Three rules. Only the keeper starts anything, for this process may have given that up. Tor listens
on Unix sockets in a folder of our own, under the same paths for as long as we run: the guard lets
through these and nothing else. And it belongs to us twice over: it ends when its control connection
does (TAKEOWNERSHIP), and when we do.
"""

import os
import shutil
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
from tor_control.keeper_process import KeeperProcess
from tor_control.listener import remove_left_listeners
from tor_control.tor_slot import TorSlot, has_room_for_sockets, make_socket_folder, take_slot
from tor_control.torrc import Torrc

USUAL_FOLDERS = ("/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin")
"""Where tor often is although PATH does not say so."""

CONTROL_SOCKET = "control"
SOCKS_SOCKET = "socks"

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


async def find_tor(
    binary: str | None, environment: Mapping[str, str], process: KeeperProcess
) -> TorProgram:
    """Find the tor program and ask for its version.

    Args:
        binary: What the user named: a path, or a name on PATH.
        environment: Has PATH.
        process: Asks it.

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
    answer = await trio.to_thread.run_sync(process.ask_version, path, abandon_on_cancel=True)
    if answer is None:
        raise TorLaunchFailed(f"{path} is no Tor that works; correct --tor-binary or reinstall it.")
    version = parse_version(answer)
    if version < MINIMUM_VERSION:
        raise TorTooOld(
            f"{path} has version {'.'.join(map(str, version))}, which is too old; "
            "install 0.4.7 or newer, or name another with --tor-binary."
        )
    return TorProgram(path, version)


class LaunchedTor:
    """A tor of our own; made by :func:`launch_tor`.

    Args:
        keeper: Starts it.
        slot: Its folder.
        sockets: The folder of its control and SOCKS sockets, which is ours alone.
    """

    is_launched = True

    def __init__(self, keeper: Keeper, slot: TorSlot, sockets: Path) -> None:
        self._keeper = keeper
        self._slot = slot
        self.sockets = sockets
        self.control = UnixEndpoint(str(sockets / CONTROL_SOCKET))
        self.socks = UnixEndpoint(str(sockets / SOCKS_SOCKET))

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
        run = await self._keeper.start()
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
        credentials = Credentials(cookie_file=str(self._slot.cookie))
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
    config: TorConfig,
    program: TorProgram,
    process: KeeperProcess,
    stack: AsyncExitStack,
    nursery: trio.Nursery,
) -> LaunchedTor:
    """Prepare everything for a tor of our own; :meth:`LaunchedTor.connect` starts it.

    Args:
        config: What the user chose.
        program: The tor to start.
        process: Starts it.
        stack: Ends the keeper, and tor with it, when it is unwound.
        nursery: Where the keeper's reports are read.

    Raises:
        TorLaunchFailed: The folder, the user's lines or the keeper cannot be used.
    """
    extra = _read_extra(config.extra_torrc)
    slot = await take_slot(config.state)
    stack.callback(slot.release)
    remove_left_listeners(slot.folder)
    sockets = config.sockets or _socket_folder(config, slot, process)
    torrc = Torrc(
        control=sockets / CONTROL_SOCKET,
        socks=sockets / SOCKS_SOCKET,
        cookie=slot.cookie,
        pid_file=slot.pid_file,
        owner=os.getpid(),
        onion_only=config.onion_only,
        allow_private_addresses=config.allow_private_addresses,
        extra=extra,
    )
    process.prepare(
        [
            *(program.path, "-f", "-", "--defaults-torrc", os.devnull),
            *("--DataDirectory", str(slot.data)),  # here, so that a stale tor can be recognised
        ],
        torrc=torrc.text(),
        log=slot.log,
    )
    keeper = Keeper(process)
    stack.push_async_callback(_end, keeper, slot)
    nursery.start_soon(keeper.read_reports)
    return LaunchedTor(keeper, slot, sockets)


def _socket_folder(config: TorConfig, slot: TorSlot, process: KeeperProcess) -> Path:
    if has_room_for_sockets(config.state):
        return slot.folder
    folder = make_socket_folder(config.environment)
    process.will_remove(folder)
    return folder


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
