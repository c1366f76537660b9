import click
import pytest
from click.testing import CliRunner

from torrent_onion.cli.limit_options import LimitOptions, limit_options


def limits_of(*arguments: str) -> LimitOptions | None:
    """What a command gets; None if it is refused."""
    seen: list[LimitOptions] = []

    @click.command("act")
    @limit_options
    def act(limits: LimitOptions) -> None:
        seen.append(limits)

    result = CliRunner().invoke(act, arguments)
    assert result.exit_code == (0 if seen else 2)
    return seen[0] if seen else None


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1000", 1000),
        ("500k", 500_000),
        ("2M", 2_000_000),
        ("1.5 MB/s", 1_500_000),
        ("1g", 10**9),
    ],
)
def test_rates_have_units(text: str, rate: float) -> None:
    assert limits_of("--max-up", text) == LimitOptions(max_up=rate)
    assert limits_of("--max-down", text) == LimitOptions(max_down=rate)


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "1kk", "k", "inf", "1e3", "2t"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    assert limits_of(f"--max-up={text}") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("0.5h", 1800)],
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert limits_of("--until", text) == LimitOptions(until=seconds)


@pytest.mark.parametrize("text", ["", "0s", "2", "soon", "30m1h", "-1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert limits_of(f"--until={text}") is None


def test_connections_are_counted_and_never_too_few_to_meet_anybody() -> None:
    assert limits_of("--max-connections", "40") == LimitOptions(max_connections=40)
    assert limits_of("--max-connections", "3") is None


def test_goals() -> None:
    goals = limits_of("--until-ratio", "1.5", "--until-copies", "2")
    assert goals == LimitOptions(until_ratio=1.5, until_copies=2)
    assert goals.has_goal
    assert not LimitOptions(max_up=1).has_goal
    assert limits_of("--until-ratio", "0") is None
    assert limits_of("--until-copies", "0") is None
