import os
import signal

import pytest
import trio

from torrent_onion.cli.exit_codes import Interrupted
from torrent_onion.cli.runner import TIME_TO_END, run_until_signal


def never() -> None:
    raise AssertionError("the process was ended at once")


def silent() -> None:
    """For tests where nobody looks."""


async def test_a_command_that_ends_by_itself_is_over() -> None:
    done: list[bool] = []

    async def command() -> None:
        await trio.lowlevel.checkpoint()
        done.append(True)

    await run_until_signal(command, silent, never)
    assert done


async def test_the_errors_of_a_command_come_out() -> None:
    async def command() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    with pytest.RaisesGroup(KeyError):
        await run_until_signal(command, silent, never)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_cancels_and_lets_things_be_put_away(
    number: signal.Signals, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    put_away: list[float] = []
    heard: list[float] = []
    before = trio.current_time()

    async def command() -> None:
        os.kill(os.getpid(), number)
        try:
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(TIME_TO_END - 0.1)
                put_away.append(trio.current_time() - before)

    with pytest.raises(Interrupted):
        await run_until_signal(command, lambda: heard.append(trio.current_time()), never)
    assert heard == [before]
    assert put_away == [pytest.approx(TIME_TO_END - 0.1)]


async def test_what_goes_wrong_on_the_way_out_is_still_an_interruption() -> None:
    async def command() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("x")

    with pytest.raises(Interrupted):
        await run_until_signal(command, silent, never)


class Ended(BaseException):
    """Stands for os._exit()."""


def end() -> None:
    raise Ended


async def test_what_takes_too_long_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    before = trio.current_time()

    async def command() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    with pytest.RaisesGroup(Ended):
        await run_until_signal(command, silent, end)
    assert trio.current_time() - before >= TIME_TO_END


async def test_the_second_signal_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    ended_at: list[float] = []
    before = trio.current_time()

    def end_now() -> None:
        ended_at.append(trio.current_time() - before)
        raise Ended

    async def command() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep(1)

    with pytest.RaisesGroup(Ended):
        await run_until_signal(command, silent, end_now)
    assert ended_at == [pytest.approx(1, abs=0.1)]
