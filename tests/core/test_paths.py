import ntpath
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torrent_onion.core.metainfo import FileEntry
from torrent_onion.core.paths import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    MAX_TOP_BYTES,
    safe_name,
    safe_paths,
)
from torrent_onion.errors import PathError

RIGHT_TO_LEFT = "\u202e"

# Every name is one component; what it must become.
NASTY_NAMES = {
    # Out of the folder.
    "": "_",
    ".": "_",
    "..": "._",
    "...": ".._",
    ". .": ". _",
    "/": "_",
    "//": "__",
    "\\": "_",
    "/etc/passwd": "_etc_passwd",
    "../../etc/passwd": ".._.._etc_passwd",
    "..\\..\\windows": ".._.._windows",
    "a/b": "a_b",
    "a\\b": "a_b",
    "a/..": "a_._",
    "\\\\server\\share": "__server_share",
    "\\\\?\\C:\\x": "__?_C__x",
    # Drives and streams.
    "C:": "C_",
    "C:\\autoexec.bat": "C__autoexec.bat",
    "c:file": "c_file",
    "file.txt:stream": "file.txt_stream",
    "file.txt::$DATA": "file.txt__$DATA",
    # Devices.
    "CON": "_CON",
    "con": "_con",
    "Con.txt": "_Con.txt",
    "con.tar.gz": "_con.tar.gz",
    "con .txt": "_con .txt",
    "PRN": "_PRN",
    "AUX": "_AUX",
    "aux.c": "_aux.c",
    "NUL": "_NUL",
    "nul.": "nul_",
    "CLOCK$": "_CLOCK$",
    "CONIN$": "_CONIN$",
    "CONOUT$.log": "_CONOUT$.log",
    "COM1": "_COM1",
    "com9.txt": "_com9.txt",
    "com0": "_com0",
    "COM¹": "_COM¹",
    "LPT1": "_LPT1",
    "lpt³.x": "_lpt³.x",
    # What is no device.
    "console": "console",
    "COM10": "COM10",
    "com": "com",
    "xcon": "xcon",
    "con-fig": "con-fig",
    # Characters that are not seen, or change what is seen.
    "a\0b": "a_b",
    "a\nb": "a_b",
    "a\r\nb": "a__b",
    "a\tb": "a_b",
    "\x1b[2J": "_[2J",
    "a\x7fb": "a_b",
    "a\x85b": "a_b",
    "a\x9bb": "a_b",
    f"photo{RIGHT_TO_LEFT}gpj.exe": "photo_gpj.exe",
    "a\u200eb": "a_b",
    "a\u200fb": "a_b",
    "a\u061cb": "a_b",
    "a\u2066b\u2069": "a_b_",
    "a\u2028b": "a_b",
    "a\u2029b": "a_b",
    "\ufeffa": "_a",
    "a\ud800b": "a_b",
    # Endings that Windows takes away.
    "a.": "a_",
    "a..": "a._",
    "a ": "a_",
    "a. ": "a._",
    "a.txt ": "a.txt_",
    " ": "_",
    "   ": "  _",
    # What stays as it is.
    "a": "a",
    " a": " a",
    ".a": ".a",
    "..a": "..a",
    "-rf": "-rf",
    "~": "~",
    "$HOME": "$HOME",
    "`id`": "`id`",
    "a b.txt": "a b.txt",
    'what? "is" <this> | *.txt': 'what? "is" <this> | *.txt',
    "%2e%2e%2f": "%2e%2e%2f",
    "Grüße.txt": "Grüße.txt",
    "Ελληνικά.txt": "Ελληνικά.txt",
    "日本語.txt": "日本語.txt",
    "עברית.txt": "עברית.txt",
    "العربية.txt": "العربية.txt",
    "می\u200cخواهم.txt": "می\u200cخواهم.txt",
    "👩\u200d👩\u200d👧.png": "👩\u200d👩\u200d👧.png",
    unicodedata.normalize("NFD", "é.txt"): unicodedata.normalize("NFD", "é.txt"),
    "�": "�",
}


def files(*paths: tuple[str, ...]) -> list[FileEntry]:
    return [FileEntry(path, 1) for path in paths]


def placed(*paths: tuple[str, ...]) -> list[str]:
    return [str(path) for path in safe_paths("top", files(*paths), is_single_file=False)]


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_names(name: str) -> None:
    assert safe_name(name) == NASTY_NAMES[name]


def test_the_table_is_of_every_rule() -> None:
    assert len(NASTY_NAMES) > 80


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("a" * 300, "aaa", "~"),
        ("a" * 300 + ".txt", "aaa", ".txt"),
        ("é" * 200 + ".tar.gz", "ééé", ".gz"),
        ("👩" * 80, "👩", ""),
        ("." + "a" * 300, ".aaa", ""),
        ("a." + "b" * 300, "a.bbb", ""),
        ("a" * 256 + ".", "aaa", ""),
        ("." * 300, "...", "._"),
    ],
)
def test_long_names_are_cut_and_keep_their_ending(name: str, start: str, end: str) -> None:
    safe = safe_name(name)
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert len(safe.encode()) > MAX_NAME_BYTES - 4
    assert safe.startswith(start)
    assert safe.endswith(end) or end == "~"
    assert "~" in safe


def test_names_of_just_the_most_bytes_stay() -> None:
    for name in ("a" * 255, "é" * 127, "a" * 251 + ".txt"):
        assert safe_name(name) == name


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert safe_name("a" * 300 + "1.txt") != safe_name("a" * 300 + "2.txt")


# Names made of what the rules look at.
tricky = st.text(
    st.sampled_from("aA./\\: \0\n~_-cCoOnN1é\u0301\u202e\u200d\ud800:*")
    | st.characters(codec=None),
    max_size=12,
)
long_or_short = tricky | st.builds(lambda text, times: text * times, tricky, st.integers(1, 60))


@given(long_or_short)
@example("CON")
def test_every_name_becomes_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert PurePosixPath(safe).parts == (safe,)
    windows = PureWindowsPath(safe)
    assert windows.parts == (safe,)
    assert not windows.drive
    assert safe.partition(".")[0].strip(" ").upper() not in DEVICES
    assert not safe.endswith((".", " "))
    assert ntpath.basename(safe) == safe
    assert not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in safe
    )
    assert not any(unicodedata.bidirectional(character) in BIDI_CONTROLS for character in safe)
    assert safe_name(safe) == safe


DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
DEVICES |= {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"}
BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_a_single_file_has_no_folder() -> None:
    assert safe_paths("a.txt", files(("a.txt",)), is_single_file=True) == [PurePosixPath("a.txt")]
    assert safe_paths("..", files(("..",)), is_single_file=True) == [PurePosixPath("__")]
    assert safe_paths("x", files(("x",)), is_single_file=False) == [PurePosixPath("x/x")]


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("Good name", "Good name"),
        ("", "_"),
        ("..", "__"),
        ("/", "_"),
        ("/etc", "_etc"),
        (".profile", "_profile"),
        (".ssh", "_ssh"),
        ("CON", "_CON"),
    ],
)
def test_names_of_the_top_folder(name: str, top: str) -> None:
    assert safe_paths(name, files(("a",)), is_single_file=False) == [PurePosixPath(top, "a")]


def test_the_top_name_leaves_room_for_a_suffix() -> None:
    (path,) = safe_paths("a" * 255 + ".txt", files(("x",)), is_single_file=True)
    assert len(str(path)) == MAX_TOP_BYTES
    assert path.suffix == ".txt"


def test_good_names_are_kept() -> None:
    assert placed(("a", "b.txt"), ("a", "c", "d"), (".hidden",)) == [
        "top/a/b.txt",
        "top/a/c/d",
        "top/.hidden",
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # The same, for everybody or for some file systems.
        ([("a.txt",), ("a.txt",), ("a.txt",)], ["a.txt", "a (2).txt", "a (3).txt"]),
        ([("A.txt",), ("a.TXT",)], ["A.txt", "a (2).TXT"]),
        ([("STRASSE",), ("straße",)], ["STRASSE", "straße (2)"]),
        ([("é",), ("e\u0301",)], ["é", "e\u0301 (2)"]),
        ([("É",), ("e\u0301",)], ["É", "e\u0301 (2)"]),
        ([("ab",), ("a\u200cb",)], ["ab", "a\u200cb (2)"]),
        ([("Makefile",), ("makefile",)], ["Makefile", "makefile (2)"]),
        # The same only once they are safe.
        ([("a_b",), ("a/b",), ("a\\b",)], ["a_b", "a_b (2)", "a_b (3)"]),
        ([("_",), ("",), (".",)], ["_", "_ (2)", "_ (3)"]),
        ([("_con",), ("con",)], ["_con", "_con (2)"]),
        # A name that was made is taken, too.
        ([("a",), ("a",), ("a (2)",)], ["a", "a (2)", "a (2) (2)"]),
        ([("a (2)",), ("a",), ("a",)], ["a (2)", "a", "a (3)"]),
        # Files and folders.
        ([("a",), ("a", "b")], ["a", "a (2)/b"]),
        ([("a", "b"), ("a",)], ["a/b", "a (2)"]),
        ([("a", "b"), ("A",)], ["a/b", "A (2)"]),
        ([("a", "b"), ("A", "b"), ("a", "c")], ["a/b", "A (2)/b", "a/c"]),
        ([("a", "x"), ("A", "y"), ("A", "z")], ["a/x", "A (2)/y", "A (2)/z"]),
        ([("..", "x"), ("._", "x")], ["._/x", "._ (2)/x"]),
        # In different folders nothing collides.
        ([("a", "x"), ("b", "x")], ["a/x", "b/x"]),
        # What would lead out.
        ([("..", "..", "etc", "passwd")], ["._/._/etc/passwd"]),
        ([("", "etc", "passwd")], ["_/etc/passwd"]),
        ([("/etc/passwd",)], ["_etc_passwd"]),
        ([("C:", "Windows")], ["C_/Windows"]),
        # A dot that is no ending.
        ([(".a",), (".A",)], [".a", ".A (2)"]),
        ([("a.b c d e f g h i j",), ("A.b c d e f g h i j",)], None),
    ],
)
def test_collisions(paths: list[tuple[str, ...]], expected: list[str] | None) -> None:
    found = placed(*paths)
    if expected is None:
        expected = ["a.b c d e f g h i j", "A.b c d e f g h i j (2)"]
    assert found == [f"top/{path}" for path in expected]


def test_long_names_that_collide_stay_short_enough() -> None:
    name = "a" * 251 + ".txt"
    one, other = placed((name,), (name.upper(),))
    assert one == f"top/{name}"
    assert other.endswith(" (2).TXT")
    assert len(other.removeprefix("top/")) == MAX_NAME_BYTES


def test_pad_files_take_no_names() -> None:
    entries = [
        FileEntry((".pad", "5"), 5, is_pad=True),
        FileEntry((".pad", "5"), 5, is_pad=True),
        FileEntry(("..", "..", "x"), 7, is_pad=True),
        FileEntry((".pad", "5"), 5),
    ]
    assert [str(path) for path in safe_paths("top", entries, is_single_file=False)] == [
        "top/.pad/5",
        "top/.pad/5",
        "top/.pad/7",
        "top/.pad/5",
    ]


def test_a_path_that_no_system_takes() -> None:
    deep = tuple("a" * 200 for _ in range(MAX_PATH_BYTES // 201 - 1))
    assert placed(deep)
    with pytest.raises(PathError, match="longer than file systems"):
        placed((*deep, "b" * 255))


def test_many_equal_names() -> None:
    found = placed(*[("a",)] * 20_000)
    assert len(set(found)) == 20_000


paths = st.lists(st.lists(long_or_short, min_size=1, max_size=3).map(tuple), max_size=8)


@given(tricky, paths)
def test_no_two_files_meet_and_none_leaves(name: str, torrent_paths: list[tuple[str, ...]]) -> None:
    found = safe_paths(name, files(*torrent_paths), is_single_file=False)
    assert found == safe_paths(name, files(*torrent_paths), is_single_file=False)
    keys = [unicodedata.normalize("NFC", str(path)).casefold() for path in found]
    assert len(set(keys)) == len(keys)
    for path, key in zip(found, keys, strict=True):
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.parts[0] == found[0].parts[0]
        assert len(path.parts) >= 2
        # Nobody's file is somebody else's folder.
        assert not any(other.startswith(key + "/") for other in keys)
