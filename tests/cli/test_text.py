import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.cli import text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5_000_000_000_000, "5.0 TB"),
        (3e18, "3000.0 PB"),
    ],
)
def test_size(number: float, words: str) -> None:
    assert text.size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


def test_percent_says_100_only_when_all_is_done() -> None:
    assert text.percent(999_999, 1_000_000) == "99%"
    assert text.percent(1_000_000, 1_000_000) == "100%"
    assert text.percent(0, 0) == "100%"


def test_time_left_is_unknown_without_a_rate_or_a_total() -> None:
    assert text.time_left(0, 1000, 0.0) is None
    assert text.time_left(0, 0, 1000.0) is None
    assert text.time_left(500, 1000, 10.0) == "50 s"


def test_count() -> None:
    assert text.count(1, "file") == "1 file"
    assert text.count(2000, "file") == "2,000 files"
    assert text.count(2, "entry", "entries") == "2 entries"


def test_names_in_any_script_stay_as_they_are() -> None:
    # The Persian word needs its zero-width non-joiner.
    for name in ("protokół", "γράμμα", "信", "رسالة", "می\u200cخواهم", "किताब", "a\u00a0b"):
        assert text.printable(name) == name


@pytest.mark.parametrize(
    "character",
    ["\x1b", "\n", "\r", "\x9b", "\x7f", "\u202e", "\u2066", "\ufeff", "\udcff", "\u2028"],
)
def test_what_could_steer_a_terminal_is_replaced(character: str) -> None:
    assert text.printable(f"a{character}b") == "a\ufffdb"


@given(st.text())
def test_printable_text_is_one_line_without_escapes(value: str) -> None:
    shown = text.printable(value)
    assert len(shown) == len(value)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    shown.encode()
