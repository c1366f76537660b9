"""The plan against simulated peers, on a clock of our own."""

from math import exp, inf, sqrt
from random import Random
from statistics import mean

import pytest

from torrent_onion.core.identity import PeerAddress
from torrent_onion.policy.circuit_plan import (
    ENOUGH,
    LEAVE_SECONDS,
    LITTLE_LEFT,
    LITTLE_SECONDS,
    MAX_CIRCUITS,
    PATIENCE_SECONDS,
    REFUSED_SECONDS,
    TRIAL_AFTER_SECONDS,
    TRIAL_AGAIN_SECONDS,
    TRIAL_SECONDS,
    CircuitPlan,
    Decision,
    Sample,
)

PEER = PeerAddress("198.51.100.1", 6881)
STEP = 0.25
CONNECT = 0.5


class World:
    """A peer with a total rate, over circuits that each carry a part of it at most."""

    def __init__(self, most: int, *, total: float, each: float) -> None:
        self.plan = CircuitPlan(most)
        self.now = self.began = 100.0
        self.total = total
        self.each = each
        self.slow: set[int] = set()
        self.received: dict[int, float] = {}
        self.busy = True
        self.left = inf
        self.connect_seconds = CONNECT
        self.step = STEP
        self.refuses = False
        self._next_key = 1
        self._opening: list[float] = []
        self.opened = 0
        self.connect()

    def connect(self) -> None:
        key = self._next_key
        self._next_key += 1
        self.plan.connected(PEER, key, self.now)
        self.received[key] = 0.0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / self.step)):
            self.now += self.step
            for key, rate in self.rates().items():
                self.received[key] += self.step * rate
            for _ in [at for at in self._opening if at <= self.now]:
                self._arrive()
            self._opening = [at for at in self._opening if at > self.now]
            self._obey()

    def rates(self) -> dict[int, float]:
        share = min(self.each, self.total / max(1, len(self.received)))
        return {key: share / 100 if key in self.slow else share for key in self.received}

    def _arrive(self) -> None:
        self.connect()
        if self.refuses:
            key = max(self.received)
            del self.received[key]
            self.plan.closed(PEER, key, self.now)

    def _obey(self) -> None:
        samples = {
            key: Sample(PEER, int(received), busy=self.busy)
            for key, received in self.received.items()
        }
        decision = self.plan.decide(self.now, samples, left=self.left)
        for address in decision.open:
            assert address == PEER
            self.opened += 1
            self._opening.append(self.now + self.connect_seconds)
        for key in decision.close:
            del self.received[key]
            self.plan.closed(PEER, key, self.now)

    @property
    def circuits(self) -> int:
        return len(self.received)


class NoisyWorld(World):
    """What a circuit carries doubles and halves within seconds, as over Tor."""

    SIGMA = 0.6
    SECONDS = 1.0  # for which a rate stays about what it is

    def __init__(self, seed: int, most: int, *, total: float, each: float) -> None:
        self.rng = Random(seed)
        self.levels: dict[int, float] = {}
        super().__init__(most, total=total, each=each)

    def rates(self) -> dict[int, float]:
        kept = exp(-self.step / self.SECONDS)
        for key in self.received:
            news = sqrt(1 - kept**2) * self.rng.gauss(0, 1)
            self.levels[key] = kept * self.levels.get(key, 0.0) + news
        rates = {
            key: self.each * exp(self.SIGMA * self.levels[key] - self.SIGMA**2 / 2)
            for key in self.received
        }
        share = min(1.0, self.total / sum(rates.values()))
        return {key: rate * share for key, rate in rates.items()}


@pytest.mark.parametrize(("total", "circuits", "worst"), [(100e6, 4, 0.3), (2e6, 1, 0.6)])
def test_noise_neither_ends_circuits_that_help_nor_keeps_those_that_do_not(
    total: float, circuits: int, worst: float
) -> None:
    means = []
    for seed in range(20):
        world = NoisyWorld(seed, 4, total=total, each=4e6)
        world.step = 0.1  # as the engine asks
        counts = []
        for _ in range(300):
            world.run(1)
            counts.append(world.circuits)
        means.append(mean(counts))
    assert means == pytest.approx([circuits] * len(means), abs=worst)


@pytest.mark.parametrize("gap", [3.0, 6.0, 20.0, 60.0])
@pytest.mark.parametrize("when", [1.0, 10.0, TRIAL_AFTER_SECONDS, TRIAL_AFTER_SECONDS + 3])
def test_a_process_that_was_stopped_judges_no_circuit_by_that(gap: float, when: float) -> None:
    world = World(4, total=100e6, each=4e6)
    world.run(when)
    world.step = gap
    world.run(gap)
    world.step = STEP
    world.run(TRIAL_AFTER_SECONDS + TRIAL_SECONDS + 2)
    assert world.circuits == 4
    assert world.opened <= 4, "and one for a trial"


class BurstingWorld(World):
    """The first circuit brings at once what had piled up."""

    burst_at = 0.0  # seconds after the first circuit

    def rates(self) -> dict[int, float]:
        is_burst = self.burst_at < self.now - self.began <= self.burst_at + 2 * STEP
        burst = 3 if is_burst and len(self.received) == 1 else 1
        return {key: rate * burst for key, rate in super().rates().items()}


@pytest.mark.parametrize("burst_at", [0.0, 0.5, 1.0, 1.25])
def test_a_burst_is_not_what_later_circuits_are_measured_by(burst_at: float) -> None:
    world = BurstingWorld(4, total=10e6, each=4e6)
    world.connect_seconds, world.burst_at = 1.5, burst_at
    world.run(PATIENCE_SECONDS + 4)
    assert world.circuits == 4


@pytest.mark.parametrize("most", range(1, MAX_CIRCUITS + 1))
def test_circuits_are_added_while_each_brings_more(most: int) -> None:
    world = World(most, total=100e6, each=4e6)
    world.run(30)
    assert world.circuits == most


def test_four_are_there_as_soon_as_they_can_be_made() -> None:
    world = World(4, total=100e6, each=4e6)
    world.run(CONNECT + 2 * STEP)
    assert world.circuits == 4


@pytest.mark.parametrize("left", [LITTLE_LEFT, 2 * LITTLE_SECONDS * 4e6])
def test_nothing_is_made_for_the_little_that_is_left(left: float) -> None:
    world = World(8, total=100e6, each=4e6)
    world.left = left
    world.run(20)
    assert world.circuits == (1 if left == LITTLE_LEFT else 4)


@pytest.mark.parametrize(("total", "needed"), [(9e6, 2), (10e6, 3)])
def test_a_circuit_that_others_can_stand_in_for_is_found_by_trial(
    total: float, needed: int
) -> None:
    """Of the 10 MB/s two circuits carry only nine: the third is worth its while."""
    world = World(4, total=total, each=4.5e6)
    world.run(TRIAL_AFTER_SECONDS)
    assert world.circuits == 4
    world.run(4 * TRIAL_SECONDS)
    assert world.circuits == needed
    world.run(LEAVE_SECONDS / 2)
    assert world.circuits == needed


def test_a_trial_that_cost_goodput_is_ended_and_not_soon_tried_again() -> None:
    world = World(4, total=100e6, each=4e6)
    world.run(TRIAL_AFTER_SECONDS + TRIAL_SECONDS + 4 * CONNECT)
    assert world.opened == 4
    world.run(TRIAL_AGAIN_SECONDS - 60)
    assert (world.opened, world.circuits) == (4, 4)


def test_a_peer_that_is_itself_the_bottleneck_keeps_one() -> None:
    world = World(4, total=2e6, each=4e6)
    world.run(8)
    assert world.circuits == 1
    assert world.opened == 3
    world.run(12 + LEAVE_SECONDS)  # from now on one at a time
    assert world.opened == 4


@pytest.mark.parametrize(("total", "needed"), [(9e6, 2), (10e6, 3)])
def test_no_more_than_help_are_kept(total: float, needed: int) -> None:
    world = World(8, total=total, each=4.5e6)
    world.run(40)
    assert world.circuits == needed


def test_a_peer_that_closes_extra_ones_is_left_alone_for_longer_and_longer() -> None:
    world = World(4, total=100e6, each=4e6)
    world.refuses = True
    world.run(REFUSED_SECONDS - 1)
    assert world.opened == 3
    world.run(20 * REFUSED_SECONDS)
    assert world.opened <= 7
    assert world.circuits == 1


def test_dials_that_fail_count_as_refusals() -> None:
    plan = CircuitPlan(2)
    plan.connected(PEER, 1, 0.0)
    samples = {1: Sample(PEER, 10**6, busy=True)}
    assert plan.decide(1.0, samples).open == (PEER,)
    plan.failed(PEER, 2.0)
    now, received = 2.0, 10**6
    while now < 2.0 + REFUSED_SECONDS - STEP:
        now, received = now + STEP, received + 10**6
        assert plan.decide(now, {1: Sample(PEER, received, busy=True)}).open == ()
    samples = {1: Sample(PEER, received + 10**6, busy=True)}
    assert plan.decide(now + STEP, samples).open == (PEER,)


def test_who_has_nothing_to_do_gets_no_more() -> None:
    world = World(4, total=100e6, each=4e6)
    world.busy = False
    world.run(20)
    assert world.opened == 0


def test_a_slow_circuit_is_replaced() -> None:
    world = World(3, total=100e6, each=4e6)
    world.run(10)
    assert world.circuits == 3
    slow = min(world.received)
    world.slow.add(slow)
    world.run(30)
    assert slow not in world.received
    assert world.circuits == 3


def test_a_peer_that_goes_while_others_are_opening_is_forgotten_when_they_fail() -> None:
    plan = CircuitPlan(4)
    plan.connected(PEER, 1, 0.0)
    opening = plan.decide(1.0, {1: Sample(PEER, 10**6, busy=True)}).open
    plan.closed(PEER, 1, 2.0)
    for _ in opening:
        plan.failed(PEER, 3.0)
    assert opening
    assert not plan._peers


def test_a_peer_that_is_gone_is_forgotten() -> None:
    plan = CircuitPlan(4)
    plan.connected(PEER, 1, 0.0)
    plan.closed(PEER, 1, 5.0)
    plan.closed(PEER, 1, 5.0)
    plan.failed(PEER, 6.0)
    assert plan.decide(7.0, {}).open == ()


@pytest.mark.parametrize("most", [0, MAX_CIRCUITS + 1])
def test_numbers_beyond_reason_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match="circuits"):
        CircuitPlan(most)


def test_a_peer_that_goes_while_one_more_circuit_is_opening() -> None:
    world = World(4, total=1e6, each=1e5)
    address, now = PEER, world.now
    opened = False
    while not opened:
        now += STEP
        world.received[1] += STEP * 1e5
        decision = world.plan.decide(now, {1: Sample(address, int(world.received[1]), busy=True)})
        opened = bool(decision.open)
    world.plan.closed(address, 1, now)
    assert world.plan.decide(now + STEP, {}) == Decision()


@pytest.mark.parametrize(("peers", "opened"), [(1, 3), (2, 2), (4, 0), (20, 0)])
def test_who_has_several_peers_needs_fewer_circuits_to_each(peers: int, opened: int) -> None:
    plan = CircuitPlan(4)
    addresses = [PeerAddress(f"198.51.100.{number + 1}", 6881) for number in range(peers)]
    for key, address in enumerate(addresses):
        plan.connected(address, key, 0.0)
    samples = {key: Sample(address, 10**6, busy=True) for key, address in enumerate(addresses)}
    assert len(plan.decide(0.5, samples).open) == opened


def test_circuits_to_all_peers_have_a_bound() -> None:
    plan, received, now = CircuitPlan(8), dict.fromkeys(range(5), 0), 0.0
    addresses = {key: PeerAddress(f"198.51.100.{key + 1}", 6881) for key in received}
    for key, address in addresses.items():
        plan.connected(address, key, now)
    for _ in range(80):  # each circuit brings as much as the others, so that all seem to help
        now += STEP
        received = {key: bytes_ + 10**6 for key, bytes_ in received.items()}
        samples = {key: Sample(addresses[key], got, busy=True) for key, got in received.items()}
        for address in plan.decide(now, samples).open:
            key = len(addresses)
            addresses[key], received[key] = address, 0
            plan.connected(address, key, now)
    assert ENOUGH <= len(addresses) <= ENOUGH + 1
