from hypothesis import given
from hypothesis import strategies as st

from tor_control.control_port import HsDescEvent
from tor_control.control_text import parse_arguments, parse_hs_desc, parse_version


def test_words_and_pairs_are_told_apart() -> None:
    arguments = parse_arguments(
        r'WARN BOOTSTRAP PROGRESS=14 TAG=handshake SUMMARY="Hand \"shaking\"" HOSTADDR="1.2.3.4:5"'
    )
    assert arguments.words == ("WARN", "BOOTSTRAP")
    assert arguments.word(1) == "BOOTSTRAP"
    assert arguments.word(2) == ""
    assert arguments.fields["PROGRESS"] == "14"
    assert arguments.fields["SUMMARY"] == 'Hand "shaking"'
    assert arguments.fields["HOSTADDR"] == "1.2.3.4:5"


def test_empty_values_and_unfinished_quotes() -> None:
    assert parse_arguments('A= B="" C="x').fields == {"A": "", "B": "", "C": '"x'}
    assert parse_arguments("").words == ()


@given(st.text())
def test_nothing_raises(text: str) -> None:
    parse_arguments(text)
    parse_hs_desc(text)
    parse_version(text)


def test_hs_desc_events() -> None:
    address = "a" * 56
    assert parse_hs_desc(f"UPLOADED {address} UNKNOWN $FP~nick") == HsDescEvent("UPLOADED", address)
    assert parse_hs_desc(f"FAILED {address} NO_AUTH $FP REASON=UPLOAD_REJECTED") == HsDescEvent(
        "FAILED", address, "UPLOAD_REJECTED"
    )
    assert parse_hs_desc(f"UPLOAD {address} UNKNOWN $FP mG4g/f+X HSDIR_INDEX=0A") == HsDescEvent(
        "UPLOAD", address, descriptor="mG4g/f+X"
    )


def test_versions() -> None:
    assert parse_version("0.4.9.11") == (0, 4, 9, 11)
    assert parse_version("0.4.7.0-alpha-dev (git-abc)") == (0, 4, 7, 0)
    assert parse_version("unknown") == ()
