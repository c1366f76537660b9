"""Which tor is used. The order is written in the docstring of ``controller.open_tor()``."""

import os
from contextlib import AsyncExitStack

import trio

from tor_control.attach import System, attach_to_first, attach_tor, detect_system, usual_places
from tor_control.config import TorConfig
from tor_control.control_connection import ControlConnection
from tor_control.endpoints import TorEnvironment, parse_endpoint, parse_environment
from tor_control.errors import TorError, TorLaunchFailed, TorNotFound, TorTooOld
from tor_control.keeper_process import KeeperProcess
from tor_control.supervisor import Source

AUTO = "auto"
LAUNCH = "launch"


async def find_source(
    config: TorConfig, stack: AsyncExitStack, nursery: trio.Nursery
) -> tuple[Source, ControlConnection]:
    """Attach or launch, as `config.where` says.

    Args:
        config: What the user chose.
        stack: Ends what was started, when it is unwound.
        nursery: For what has to run as long as tor does.

    Returns:
        Where connections come from, and the first one, which the caller closes.

    Raises:
        TorError: There is no tor; the class and the text say why.
    """
    environment = parse_environment(config.environment)
    system = detect_system()
    if config.where not in {AUTO, LAUNCH}:
        return await attach_tor(parse_endpoint(config.where), environment, config.sockets)
    if config.where == LAUNCH or _wants_our_own(config):
        return await _launch(config, system, stack, nursery)
    if environment.control is not None:
        return await attach_tor(environment.control, environment, config.sockets)
    if system is not System.OTHER:
        return await attach_to_first(usual_places(system), environment, config.sockets)
    return await _launch_or_attach(config, environment, stack, nursery)


def _wants_our_own(config: TorConfig) -> bool:
    return config.binary is not None or config.extra_torrc is not None or config.onion_only


async def _launch_or_attach(
    config: TorConfig, environment: TorEnvironment, stack: AsyncExitStack, nursery: trio.Nursery
) -> tuple[Source, ControlConnection]:
    await trio.lowlevel.checkpoint()
    try:
        return await _launch(config, System.OTHER, stack, nursery)
    except (TorNotFound, TorTooOld) as error:
        unusable: TorError = error
    try:
        return await attach_to_first(usual_places(System.OTHER), environment, config.sockets)
    except TorNotFound:
        raise unusable from None


async def _launch(
    config: TorConfig, system: System, stack: AsyncExitStack, nursery: trio.Nursery
) -> tuple[Source, ControlConnection]:
    if system is not System.OTHER:
        raise TorLaunchFailed(
            f"On {system.value} there is a Tor already, and one inside the other harms you; "
            "leave out --tor launch and the options for it."
        )
    if os.name != "posix":
        raise TorNotFound(
            "On this system no Tor can be launched; start Tor Browser, and leave it open."
        )
    from tor_control.launch import (  # noqa: PLC0415 - it needs a POSIX system
        find_tor,
        launch_tor,
    )

    process = config.keeper or stack.enter_context(KeeperProcess())
    program = await find_tor(config.binary, config.environment, process)
    source = await launch_tor(config, program, process, stack, nursery)
    return source, await source.connect()
