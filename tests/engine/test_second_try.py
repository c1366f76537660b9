"""An onion that never comes to the rendezvous is reached by other circuits, not waited for."""

import errno
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.engine.helpers import MemoryPeerStream, stream_pair
from tor_control.onion_address import OnionKey
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.core.magnet import Magnet
from torrent_onion.engine.second_try import SECOND_TRY_SECONDS, first_to_answer
from torrent_onion.engine.session import open_session
from torrent_onion.engine.settings import Settings
from torrent_onion.engine.torrent_spec import TorrentSpec

Autojump = trio.testing.MockClock
ONION = PeerAddress("pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion", 6881)
PLAIN = PeerAddress("198.51.100.1", 6881)
LINK = Magnet(info_hashes=InfoHashes(v1=bytes(20), v2=None))
AFTER = 15.0
TOR_GIVES_UP = 120.0


class Attempt:
    """Takes so long and then answers, or fails."""

    def __init__(self, seconds: float, error: OSError | None = None) -> None:
        self._seconds = seconds
        self._error = error
        self.began: float | None = None
        self.was_cancelled = False
        self.theirs, self.ours = stream_pair()

    async def __call__(self) -> MemoryPeerStream:
        self.began = trio.current_time()
        try:
            await trio.sleep(self._seconds)
        except trio.Cancelled:
            self.was_cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return self.ours

    async def is_closed(self) -> bool:
        with trio.move_on_after(1):
            return await self.theirs.receive_into(memoryview(bytearray(1))) == 0
        return False


async def uncancelled(attempt: Attempt) -> MemoryPeerStream:
    streams = []
    with trio.CancelScope(shield=True):
        streams.append(await attempt())
    return streams[0]


async def reach(first: Attempt, second: Attempt) -> object:
    return await first_to_answer(first, lambda: second, after=AFTER)


class TestRace:
    async def test_no_second_try_where_none_is_wanted(self, autojump_clock: Autojump) -> None:
        first, second = Attempt(30), Attempt(0)
        taken = await first_to_answer(first, lambda: None, after=AFTER)
        assert taken is first.ours
        assert second.began is None

    async def test_who_answers_in_time_is_alone(self, autojump_clock: Autojump) -> None:
        first, second = Attempt(14), Attempt(0)
        assert await reach(first, second) is first.ours
        assert second.began is None

    async def test_who_fails_in_time_is_believed(self, autojump_clock: Autojump) -> None:
        first, second = Attempt(14, ConnectionRefusedError()), Attempt(0)
        with pytest.raises(ConnectionRefusedError):
            await reach(first, second)
        assert second.began is None

    async def test_who_hangs_is_overtaken(self, autojump_clock: Autojump) -> None:
        start = trio.current_time()
        first, second = Attempt(TOR_GIVES_UP), Attempt(3)
        assert await reach(first, second) is second.ours
        assert trio.current_time() == start + AFTER + 3
        assert first.was_cancelled
        assert not await second.is_closed()

    async def test_the_first_may_still_win(self, autojump_clock: Autojump) -> None:
        first, second = Attempt(16), Attempt(3)
        assert await reach(first, second) is first.ours
        assert second.was_cancelled

    async def test_one_that_fails_leaves_it_to_the_other(self, autojump_clock: Autojump) -> None:
        assert await reach(Attempt(16, OSError()), late := Attempt(30)) is late.ours
        assert await reach(late := Attempt(30), Attempt(3, OSError())) is late.ours

    async def test_both_fail(self, autojump_clock: Autojump) -> None:
        refused, lost = ConnectionRefusedError(), OSError(errno.ENETDOWN, "no network")
        with pytest.raises(OSError, match="no network"):  # which says nothing about the peer
            await reach(Attempt(20, refused), Attempt(30, lost))

    async def test_of_two_that_come_one_is_closed(self, autojump_clock: Autojump) -> None:
        first, second = Attempt(AFTER + 3), Attempt(3)
        taken = await first_to_answer(
            partial(uncancelled, first), lambda: partial(uncancelled, second), after=AFTER
        )
        [left] = [each for each in (first, second) if each.ours is not taken]
        assert not left.was_cancelled
        assert await left.is_closed()

    @pytest.mark.parametrize("at", [1, AFTER + 1])
    async def test_cancelling_ends_both(self, autojump_clock: Autojump, at: float) -> None:
        first, second = Attempt(TOR_GIVES_UP), Attempt(TOR_GIVES_UP)
        with trio.move_on_after(at):
            await reach(first, second)
        assert first.was_cancelled
        assert second.was_cancelled == (at > AFTER)

    async def test_what_came_just_before_a_cancel_is_closed(self, autojump_clock: Autojump) -> None:
        answered = Attempt(0)
        taken: list[object] = []
        with trio.CancelScope() as scope:

            async def last_moment() -> MemoryPeerStream:
                stream = await answered()
                scope.cancel()
                return stream

            taken.append(await first_to_answer(last_moment, lambda: None, after=AFTER))
        assert taken or await answered.is_closed()


class World:
    """Dials hang, but one."""

    def __init__(self, answers: Callable[[int], bool]) -> None:
        self._answers = answers
        self.dialled: list[tuple[float, str]] = []
        self.reached = trio.Event()
        self.under_way = self.most_under_way = 0

    async def dial(self, _host: str, _port: int, isolation: str) -> MemoryPeerStream:
        self.dialled.append((trio.current_time(), isolation))
        if not self._answers(len(self.dialled)):
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                await trio.sleep(TOR_GIVES_UP)
            finally:
                self.under_way -= 1
            raise TimeoutError
        self.reached.set()
        return stream_pair()[1]


async def look_for(
    world: World,
    folder: Path,
    address: PeerAddress,
    source: str,
    wait: Callable[[], Awaitable[None]],
) -> None:
    async with open_session(dial=world.dial) as session:
        torrent = session.add(TorrentSpec(LINK, folder))
        torrent.add_candidates([address], source)
        await wait()


async def test_whom_the_user_named_is_dialled_again_by_other_circuits(
    tmp_path: Path, autojump_clock: Autojump
) -> None:
    world = World(lambda number: number == 2)
    await look_for(world, tmp_path, ONION, "user", world.reached.wait)
    (began, token), (again, other) = world.dialled
    assert again - began == pytest.approx(SECOND_TRY_SECONDS, abs=0.1)
    assert token != other


@pytest.mark.parametrize(("address", "source"), [(PLAIN, "user"), (ONION, "tracker:1")])
async def test_others_are_not_dialled_twice_at_once(
    tmp_path: Path, autojump_clock: Autojump, address: PeerAddress, source: str
) -> None:
    world = World(lambda _: False)

    async def until_tor_gives_up() -> None:
        await trio.sleep(TOR_GIVES_UP - 1)

    await look_for(world, tmp_path, address, source, until_tor_gives_up)
    assert len(world.dialled) == 1


@pytest.mark.parametrize(("address", "tokens"), [(PLAIN, 1), (ONION, 2)])
async def test_a_later_try_does_not_wait_on_the_same_circuits(
    tmp_path: Path, autojump_clock: Autojump, address: PeerAddress, tokens: int
) -> None:
    world = World(lambda number: number == 2)
    await look_for(world, tmp_path, address, "tracker:1", world.reached.wait)
    assert len({token for _, token in world.dialled}) == tokens


async def test_second_tries_take_no_more_than_there_is(
    tmp_path: Path, autojump_clock: Autojump
) -> None:
    world = World(lambda _: False)
    keys = [OnionKey.from_seed(number.to_bytes(32, "big")) for number in range(30)]
    onions = tuple(PeerAddress(key.address, 6881) for key in keys)
    most = Settings().max_dials_alone
    async with open_session(dial=world.dial) as session:
        session.add(TorrentSpec(LINK, tmp_path, peers=onions))
        for _ in range(100):
            await trio.sleep(5.3)
            assert session._budget._total == world.under_way
    assert most // 2 < world.most_under_way <= most
    assert session._budget._total == 0


async def test_a_second_try_counts_as_a_dial(tmp_path: Path, autojump_clock: Autojump) -> None:
    world = World(lambda number: number == 3)
    async with open_session(dial=world.dial) as session:
        session.add(TorrentSpec(LINK, tmp_path, peers=(ONION,)))
        counts = []
        for _ in range(3):
            await trio.sleep(10)
            counts.append(session._budget._total)
        await world.reached.wait()
        await trio.sleep(1)
        assert session._budget._total == world.under_way == 0
    assert counts == [1, 2, 2]
