"""The beat on which all connections to one onion are read."""

import random

import pytest

from torrent_onion.policy.read_beat import BEAT_SECONDS, ReadBeat


def place(beat: ReadBeat, moment: float) -> float:
    """Where a moment lies between two beats, 0 to 1."""
    return round((moment / BEAT_SECONDS - beat.phase) % 1, 4) % 1


def test_connections_that_were_read_at_different_moments_meet() -> None:
    beat = ReadBeat(phase=random.Random(1).random())
    moments = [now + beat.pause(now, BEAT_SECONDS) for now in (100.01, 100.05, 100.07)]
    following = [at + beat.pause(at + 1e-6, BEAT_SECONDS) for at in moments]
    assert {place(beat, at) for at in moments + following} == {0.0}


@pytest.mark.parametrize(("share", "parts"), [(1.0, 1), (0.7, 2), (0.5, 2), (0.3, 4), (0.1, 16)])
def test_a_fast_connection_is_read_more_often_and_with_the_others(share: float, parts: int) -> None:
    beat = ReadBeat(0.3)
    now, met = 50.0, 0
    for _ in range(parts):
        now += beat.pause(now + 1e-6, share * BEAT_SECONDS) + 1e-6
        met += place(beat, now) < 0.001
    assert met == 1


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("now", [0.0, 0.15, 7.0, 1e6 + 0.1])
@pytest.mark.parametrize("gather", [0.01, 0.03, BEAT_SECONDS])
def test_nobody_waits_longer_than_alone(phase: float, now: float, gather: float) -> None:
    assert 0 < ReadBeat(phase).pause(now, gather) <= gather
