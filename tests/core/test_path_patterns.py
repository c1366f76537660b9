import pytest

from torrent_onion.core.path_patterns import fits


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        (("a.txt",), "*.txt", True),
        (("sub", "a.txt"), "*.txt", True),
        (("sub", "deep", "a.txt"), "sub/*.txt", True),
        (("sub", "deep", "a.txt"), "sub", True),
        (("sub", "deep", "a.txt"), "deep/", True),
        (("sub", "deep", "a.txt"), "sub/deep", True),
        (("sub", "a.txt"), "a.txt", True),
        (("sub", "a.txt"), "other/*", False),
        (("sub", "a.txt"), "*.TXT", False),
        (("sub", "a.txt"), "su", False),
        (("a[1].txt",), "a[[]1].txt", True),
    ],
)
def test_a_pattern_fits_a_path_a_folder_above_it_or_a_name(
    path: tuple[str, ...], pattern: str, expected: bool
) -> None:
    assert fits(path, [pattern]) is expected
    assert fits(path, ["nothing", pattern]) is expected


def test_no_pattern_chooses_nothing() -> None:
    assert not fits(("a",), [])
