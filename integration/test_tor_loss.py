"""Tor is lost, in every way, and comes back: on a private network, through onion services."""

import os
import signal
import socket
import stat
from pathlib import Path

import pytest
import trio

from integration.tor_traffic import NOTICED, PATIENCE, Events, exchange, traffic_stops
from tor_control import supervisor
from tor_control.config import TorConfig
from tor_control.control_connection import Credentials, open_control
from tor_control.controller import open_tor
from tor_control.endpoints import UnixEndpoint
from tor_control.errors import DialCut, TorLost
from tor_control.events import Bootstrap, Connected, Lost, Restored
from tor_control.private_network import PrivateNetwork


@pytest.fixture
def config(tor_network: PrivateNetwork, tmp_path: Path) -> TorConfig:
    return TorConfig(where="launch", state=tmp_path / "state", extra_torrc=tor_network.torrc)


async def tor_pid(config: TorConfig) -> int:
    return int(await trio.Path(config.state / "tor/1/tor.pid").read_text())


async def test_it_carries_traffic(config: TorConfig) -> None:
    events = Events()
    async with open_tor(config, events) as tor:
        assert tor.is_launched
        assert all(isinstance(endpoint, UnixEndpoint) for endpoint in tor.endpoints)
        assert isinstance(events.seen[0], Connected)
        assert events.seen[0].version == tor.version
        assert Bootstrap(100, "Done") in events.seen
        async with tor.publish() as service:
            assert tor.statistics().onion_services == 1
            await exchange(tor, service)
            assert tor.statistics().dialer.opened == 1
        assert tor.statistics().onion_services == 0
    assert events.count(Lost) == 0


async def test_a_killed_tor_comes_back_with_its_onions(config: TorConfig) -> None:
    events = Events()
    async with open_tor(config, events) as tor, tor.publish() as one, tor.publish() as two:
        endpoints = tor.endpoints
        stream, _ = await exchange(tor, one)
        async with traffic_stops(stream):
            os.kill(await tor_pid(config), signal.SIGKILL)
            with trio.fail_after(NOTICED):
                await events.wait(Lost)
        assert not tor.statistics().is_up
        with pytest.raises(DialCut):
            await tor.dial(one.address, one.port, "token")
        await events.wait(Restored)
        assert tor.statistics().is_up
        await exchange(tor, one)
        await exchange(tor, two)
        assert tor.endpoints == endpoints
        os.kill(await tor_pid(config), signal.SIGKILL)
        await events.wait(Restored, 2)
        await exchange(tor, two)
        assert tor.statistics().losses == 2


async def test_a_frozen_tor_is_replaced(config: TorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SILENCE_GRACE", 0.5)
    events = Events()
    async with open_tor(config, events) as tor, tor.publish() as service:
        stream, _ = await exchange(tor, service)
        pid = await tor_pid(config)
        async with traffic_stops(stream):
            os.kill(pid, signal.SIGSTOP)
            with trio.fail_after(NOTICED):
                await events.wait(Lost)
        await events.wait(Restored)
        assert await tor_pid(config) != pid
        await exchange(tor, service)


async def test_a_tor_that_was_frozen_for_a_moment_is_kept(config: TorConfig) -> None:
    events = Events()
    async with open_tor(config, events) as tor, tor.publish() as service:
        pid = await tor_pid(config)
        os.kill(pid, signal.SIGSTOP)
        await events.wait(Lost)
        os.kill(pid, signal.SIGCONT)
        await events.wait(Restored)
        assert await tor_pid(config) == pid
        await exchange(tor, service)


async def test_a_cut_control_connection_is_the_loss_of_tor(config: TorConfig) -> None:
    """Tor cannot be watched without it; and a tor of ours ends with it, so another is started."""
    events = Events()
    async with open_tor(config, events) as tor, tor.publish() as service:
        stream, _ = await exchange(tor, service)
        pid = await tor_pid(config)
        async with traffic_stops(stream):
            [cut] = connections_to(config.state / "tor/1/control")
            with socket.socket(fileno=os.dup(cut)) as control:
                control.shutdown(socket.SHUT_RDWR)
            with trio.fail_after(NOTICED):
                await events.wait(Lost)
        await events.wait(Restored)
        assert await tor_pid(config) != pid
        await exchange(tor, service)


def connections_to(path: Path) -> list[int]:
    """Our descriptors of connections to a Unix socket."""
    return [number for number in range(3, 256) if is_connected_to(number, path)]


def is_connected_to(descriptor: int, path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as one:
            return bool(one.getpeername() == str(path))
    except OSError:  # it is closed, or a socket that listens
        return False


async def test_a_disabled_network_is_waited_for(config: TorConfig) -> None:
    events = Events()
    async with open_tor(config, events) as tor, tor.publish() as service:
        stream, _ = await exchange(tor, service)
        slot = config.state / "tor/1"
        other = await open_control(
            UnixEndpoint(str(slot / "control")), Credentials(cookie_file=str(slot / "cookie"))
        )
        async with other:
            async with traffic_stops(stream):
                await other.command("SETCONF DisableNetwork=1")
                with trio.fail_after(NOTICED):
                    await events.wait(Lost)
            await other.command("SETCONF DisableNetwork=0")
            await events.wait(Restored)
            await exchange(tor, service)


async def test_a_service_in_the_making_waits_for_tor(config: TorConfig) -> None:
    events = Events()
    async with open_tor(config, events) as tor:
        os.kill(await tor_pid(config), signal.SIGKILL)
        await events.wait(Lost)
        with trio.fail_after(PATIENCE):
            async with tor.publish() as service:
                await exchange(tor, service)


async def test_a_tor_that_cannot_come_back_is_fatal(config: TorConfig) -> None:
    async def use() -> None:
        async with open_tor(config):
            # A folder in the place of its control socket: tor cannot listen there any more.
            os.kill(await tor_pid(config), signal.SIGKILL)
            control = config.state / "tor/1/control"
            control.unlink()
            (control / "x").mkdir(parents=True)
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE), pytest.raises(TorLost, match="did not start again"):
        await use()


async def test_an_error_of_the_caller_comes_out_as_it_is(config: TorConfig) -> None:
    async def use() -> None:
        async with open_tor(config):
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await use()


async def test_leaving_is_quick_even_if_tor_is_frozen(config: TorConfig) -> None:
    with trio.CancelScope() as scope:
        async with open_tor(config) as tor, tor.publish():
            os.kill(await tor_pid(config), signal.SIGSTOP)
            began_at = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert trio.current_time() - began_at < 4.5
