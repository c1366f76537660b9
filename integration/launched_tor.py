"""A tor of our own without the rest of ``open_tor()``: it need not reach any network."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tor_control.config import TorConfig
from tor_control.control_connection import ControlConnection
from tor_control.keeper_process import KeeperProcess
from tor_control.launch import LaunchedTor, find_tor, launch_tor
from tor_control.nursery import open_plain_nursery


@asynccontextmanager
async def launched(config: TorConfig) -> AsyncIterator[LaunchedTor]:
    async with AsyncExitStack() as stack, open_plain_nursery() as nursery:
        process = stack.enter_context(KeeperProcess())
        program = await find_tor(config.binary, config.environment, process)
        yield await launch_tor(config, program, process, stack, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(config: TorConfig) -> AsyncIterator[tuple[LaunchedTor, ControlConnection]]:
    async with launched(config) as tor, await tor.connect() as connection:
        yield tor, connection
