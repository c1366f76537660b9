"""Building torrents, with libtorrent as the yardstick."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import libtorrent
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from torrent_onion.core.metainfo import (
    FileEntry,
    Metainfo,
    TorrentFormat,
    parse_info,
    parse_metainfo,
)
from torrent_onion.core.metainfo_build import (
    MAX_V2_DEPTH,
    FileToShare,
    build_info,
    choose_piece_length,
    plan_files,
)
from torrent_onion.errors import LocalError, MetainfoError, PathError

KIB = 1024
MIB = 1024 * KIB
V1, V2, HYBRID = TorrentFormat.V1, TorrentFormat.V2, TorrentFormat.HYBRID
MakeTorrent = Callable[..., Metainfo]
Contents = Mapping[tuple[str, ...], bytes]

LIBTORRENT_FLAGS = {
    V1: libtorrent.create_torrent.v1_only,
    V2: libtorrent.create_torrent.v2_only,
    HYBRID: 0,
}

names = st.text(st.sampled_from("aB.- é\U0001f600z"), min_size=1, max_size=3).filter(
    lambda name: name.strip(".") != ""
)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)
# Lengths around the edges of blocks and pieces say more than others.
lengths = st.sampled_from([0, 1, 100, 16384, 16385, 32768, 40000, 65536, 70000])


@st.composite
def trees(draw: st.DrawFn) -> dict[tuple[str, ...], bytes]:
    found: dict[tuple[str, ...], bytes] = {}
    for path in draw(st.lists(paths, min_size=1, max_size=6, unique=True)):
        if not any(path[: len(other)] == other or other[: len(path)] == path for other in found):
            seed = len(found) + 1
            found[path] = (seed.to_bytes(2, "big") * 40_000)[: draw(lengths)]
    assume(any(found.values()))
    return found


def is_in_order_for_libtorrent(contents: Contents) -> bool:
    """Whether libtorrent 2.1 lists these files in the order of the file tree.

    It sorts whole paths ("b.x" before "b/z"); BEP 52 sorts folder by folder ("b" before "b.x").
    Where the two differ it makes hybrid torrents that it refuses to load itself.
    """
    return sorted("/".join(path).encode() for path in contents) == [
        "/".join(path).encode()
        for path in sorted(contents, key=lambda path: [part.encode() for part in path])
    ]


def libtorrents_own(
    folder: Path, name: str, contents: Contents, torrent_format: TorrentFormat, piece_length: int
) -> dict[bytes, Any]:
    for path, data in contents.items():
        file = folder.joinpath(name, *path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    ordered = sorted(contents, key=lambda path: [part.encode() for part in path])
    files = [
        libtorrent.create_file_entry("/".join((name, *path)), len(contents[path]))
        for path in ordered
    ]
    torrent = libtorrent.create_torrent(files, piece_length, LIBTORRENT_FLAGS[torrent_format])
    libtorrent.set_piece_hashes(torrent, str(folder), lambda _: None)
    made: dict[bytes, Any] = torrent.generate()
    return made


@pytest.fixture
def scratch() -> Iterator[Callable[[], Path]]:
    """Fresh folders, one for every example."""
    root = Path(tempfile.mkdtemp())
    yield lambda: Path(tempfile.mkdtemp(dir=root))
    shutil.rmtree(root)


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(trees(), st.sampled_from([V1, V2, HYBRID]), st.sampled_from([16 * KIB, 32 * KIB]))
def test_info_hashes_equal_libtorrents(
    make_torrent: MakeTorrent,
    scratch: Callable[[], Path],
    contents: Contents,
    torrent_format: TorrentFormat,
    piece_length: int,
) -> None:
    assume(torrent_format is not HYBRID or is_in_order_for_libtorrent(contents))
    assume(torrent_format is not V2 or list(contents) != [("top",)])
    ours = make_torrent("top", contents, torrent_format, piece_length=piece_length)
    theirs = libtorrents_own(scratch(), "top", contents, torrent_format, piece_length)
    assert ours.info.raw == libtorrent.bencode(theirs[b"info"])
    assert dict(ours.piece_layers) == theirs.get(b"piece layers", {})


@pytest.mark.parametrize("torrent_format", [V1, V2, HYBRID])
@pytest.mark.parametrize("length", [1, 16384, 16385, 100_000])
def test_a_single_file_equals_libtorrents(
    make_torrent: MakeTorrent, tmp_path: Path, torrent_format: TorrentFormat, length: int
) -> None:
    data = bytes(length - 1) + b"x"
    ours = make_torrent("file.bin", {("file.bin",): data}, torrent_format, is_single_file=True)
    (tmp_path / "file.bin").write_bytes(data)
    torrent = libtorrent.create_torrent(
        [libtorrent.create_file_entry("file.bin", length)],
        16 * KIB,
        LIBTORRENT_FLAGS[torrent_format],
    )
    libtorrent.set_piece_hashes(torrent, str(tmp_path), lambda _: None)
    assert ours.info.raw == libtorrent.bencode(torrent.generate()[b"info"])
    assert ours.info.is_single_file


@pytest.mark.parametrize("torrent_format", [V1, V2, HYBRID])
def test_private_equals_libtorrents(
    make_torrent: MakeTorrent, tmp_path: Path, torrent_format: TorrentFormat
) -> None:
    contents: Contents = {("a",): b"1", ("b",): b"2"}
    ours = make_torrent("top", contents, torrent_format, private=True)
    assert ours.info.private
    theirs = libtorrents_own(tmp_path, "top", contents, torrent_format, 16 * KIB)
    theirs[b"info"][b"private"] = 1
    assert ours.info.raw == libtorrent.bencode(theirs[b"info"])


@settings(max_examples=examples(60))
@given(trees(), st.sampled_from([V1, V2, HYBRID]), st.sampled_from([16 * KIB, 32 * KIB]))
def test_libtorrent_reads_what_we_write(
    make_torrent: MakeTorrent, contents: Contents, torrent_format: TorrentFormat, piece_length: int
) -> None:
    ours = make_torrent("top", contents, torrent_format, piece_length=piece_length)
    theirs = libtorrent.load_torrent_buffer(ours.encode()).ti
    assert theirs is not None
    hashes = theirs.info_hashes()
    assert hashes.has_v1() == (ours.info.info_hashes.v1 is not None)
    assert hashes.has_v2() == (ours.info.info_hashes.v2 is not None)
    if ours.info.info_hashes.v1:
        assert hashes.v1.to_bytes() == ours.info.info_hashes.v1
    if ours.info.info_hashes.v2:
        assert hashes.v2.to_bytes() == ours.info.info_hashes.v2
    assert theirs.num_pieces() == ours.info.layout.num_pieces


@settings(max_examples=examples(60))
@given(trees(), st.sampled_from([V1, V2, HYBRID]), st.sampled_from([16 * KIB, 64 * KIB]))
def test_what_is_built_is_read_again(
    make_torrent: MakeTorrent, contents: Contents, torrent_format: TorrentFormat, piece_length: int
) -> None:
    built = make_torrent("top", contents, torrent_format, piece_length=piece_length)
    read = parse_metainfo(built.encode())
    assert read == built
    assert read.extra_keys == ()
    data_files = [entry for entry in read.info.files if not entry.is_pad]
    assert {entry.path: entry.length for entry in data_files} == {
        path: len(data) for path, data in contents.items()
    }
    assert read.info.total_length == sum(map(len, contents.values()))


def test_the_order_is_folder_by_folder() -> None:
    """Where it differs from libtorrent's, BEP 52 decides."""
    files = [FileToShare(path, 1) for path in [("b.x",), ("b", "z"), ("b0",), ("B",)]]
    plan = plan_files("top", files, 16 * KIB, V1)
    assert [entry.path for entry in plan] == [("B",), ("b", "z"), ("b.x",), ("b0",)]


def test_pad_files_stand_after_every_file_that_needs_one() -> None:
    files = [
        FileToShare(("a",), 100),
        FileToShare(("b",), 16 * KIB),
        FileToShare(("c",), 0),
        FileToShare(("d",), 20_000),
    ]
    assert plan_files("top", files, 16 * KIB, HYBRID) == (
        FileEntry(("a",), 100),
        FileEntry((".pad", "16284"), 16284, is_pad=True),
        FileEntry(("b",), 16384),
        FileEntry(("c",), 0),
        FileEntry(("d",), 20_000),
        FileEntry((".pad", "12768"), 12768, is_pad=True),
    )
    for torrent_format in (V1, V2):
        plan = plan_files("top", files, 16 * KIB, torrent_format)
        assert not any(entry.is_pad for entry in plan)


def test_one_file_needs_no_pad() -> None:
    assert len(plan_files("top", [FileToShare(("a",), 100)], 16 * KIB, HYBRID)) == 1


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "/", "a\0", "\udc80"])
def test_names_that_cannot_be_in_a_torrent(bad: str) -> None:
    with pytest.raises(PathError):
        plan_files("top", [FileToShare((bad,), 1)], 16 * KIB, V1)
    with pytest.raises(PathError):
        plan_files(bad, [FileToShare(("a",), 1)], 16 * KIB, V1)


@pytest.mark.parametrize(
    "conflict",
    [[("a",), ("a",)], [("a",), ("a", "b")], [("a", "b"), ("a",)], [()], [("a", "b", "c"), ("a",)]],
)
def test_paths_in_each_others_way(conflict: list[tuple[str, ...]]) -> None:
    with pytest.raises(PathError, match="same path"):
        plan_files("top", [FileToShare(path, 1) for path in conflict], 16 * KIB, V1)


@pytest.mark.parametrize("files", [[], [FileToShare(("a",), 0)]])
def test_nothing_to_share(files: list[FileToShare]) -> None:
    with pytest.raises(PathError, match="nothing to share"):
        plan_files("top", files, 16 * KIB, V1)


def test_the_deepest_folders(make_torrent: MakeTorrent) -> None:
    deepest = tuple("abcdefghijklmnopqrstuvwxyzABCDEF"[:MAX_V2_DEPTH])
    for torrent_format in (V1, V2, HYBRID):
        built = make_torrent("top", {deepest: b"x"}, torrent_format)
        assert parse_metainfo(built.encode()).info.files[0].path == deepest
    too_deep = [FileToShare((*deepest, "x"), 1)]
    assert plan_files("top", too_deep, 16 * KIB, V1)
    for torrent_format in (V2, HYBRID):
        with pytest.raises(PathError, match="folders inside each other"):
            plan_files("top", too_deep, 16 * KIB, torrent_format)


def test_a_folder_that_looks_like_its_only_file(make_torrent: MakeTorrent) -> None:
    contents = {("top",): b"x"}
    with pytest.raises(PathError, match="another format"):
        make_torrent("top", contents, V2)
    for torrent_format in (V1, HYBRID):
        assert not make_torrent("top", contents, torrent_format).info.is_single_file


def test_a_folder_with_one_file_stays_a_folder(make_torrent: MakeTorrent) -> None:
    for torrent_format in (V1, V2, HYBRID):
        assert not make_torrent("top", {("a",): b"x"}, torrent_format).info.is_single_file


def test_identical_files_share_a_piece_layer(make_torrent: MakeTorrent) -> None:
    built = make_torrent("top", {("a",): bytes(40_000), ("b",): bytes(40_000)}, HYBRID)
    assert len(built.piece_layers) == 1
    assert parse_metainfo(built.encode()) == built


def test_hashes_that_do_not_fit_are_refused() -> None:
    plan = plan_files("top", [FileToShare(("a",), 40_000)], 16 * KIB, V1)
    with pytest.raises(MetainfoError, match="one hash for each piece"):
        build_info(
            "top",
            plan,
            piece_length=16 * KIB,
            torrent_format=V1,
            is_single_file=False,
            piece_hashes=bytes(40),
        )
    with pytest.raises(MetainfoError, match="pieces root"):
        build_info("top", plan, piece_length=16 * KIB, torrent_format=V2, is_single_file=False)


@pytest.mark.parametrize(
    "piece_length", [-16 * KIB, 0, 1, 8 * KIB, 16 * KIB + 1, 128 * MIB + 16 * KIB]
)
@pytest.mark.parametrize("torrent_format", [V1, V2, HYBRID])
def test_piece_lengths_that_are_not_allowed(
    piece_length: int, torrent_format: TorrentFormat
) -> None:
    with pytest.raises(LocalError, match="multiple of 16 KiB"):
        plan_files("top", [FileToShare(("a",), 1)], piece_length, torrent_format)


def test_piece_lengths_of_version_2_are_powers_of_two(make_torrent: MakeTorrent) -> None:
    made = make_torrent("top", {("a",): b"x"}, V1, piece_length=48 * KIB)
    assert made.info.piece_length == 48 * KIB
    for torrent_format in (V2, HYBRID):
        with pytest.raises(LocalError, match="16, 32, 64 KiB"):
            plan_files("top", [FileToShare(("a",), 1)], 48 * KIB, torrent_format)


def test_too_many_pieces_are_refused_before_anything_is_hashed() -> None:
    files = [FileToShare(("a",), (16 * KIB << 21) - 5), FileToShare(("b",), 6)]
    with pytest.raises(LocalError, match="larger piece size"):
        plan_files("top", files, 16 * KIB, V2)
    assert plan_files("top", files, 32 * KIB, V2)


@pytest.mark.parametrize(
    ("total", "length"),
    [
        (0, 16 * KIB),
        (1, 16 * KIB),
        (2000 * 16 * KIB, 16 * KIB),
        (2000 * 16 * KIB + 1, 32 * KIB),
        (64 * MIB, 64 * KIB),
        (1000 * MIB, 512 * KIB),
        (4096 * MIB, 4 * MIB),
        (2000 * 16 * MIB, 16 * MIB),
        (10**15, 16 * MIB),
    ],
)
def test_chosen_piece_length(total: int, length: int) -> None:
    assert choose_piece_length([total], V1) == length


@pytest.mark.parametrize("torrent_format", [V2, HYBRID])
def test_small_files_are_not_padded_to_many_times_their_length(
    torrent_format: TorrentFormat,
) -> None:
    assert choose_piece_length([100_000] * 20_000, torrent_format) == 128 * KIB
    assert choose_piece_length([100_000] * 20_000, V1) == MIB
    assert choose_piece_length([4096 * MIB], torrent_format) == 4 * MIB


def test_nothing_identifies_the_maker(make_torrent: MakeTorrent) -> None:
    built = make_torrent("top", {("a",): b"x", ("b",): b"y"}, HYBRID)
    keys = {b"attr", b"file tree", b"files", b"length", b"meta version", b"name", b"path"}
    keys |= {b"piece length", b"pieces", b"pieces root"}
    names = {b"", b"a", b"b"}
    assert _keys(libtorrent.bdecode(built.info.raw)) <= keys | names
    written: Any = libtorrent.bdecode(built.encode())
    assert set(written) == {b"info", b"piece layers"}
    assert parse_info(built.info.raw) == built.info


def _keys(value: Any) -> set[bytes]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()
