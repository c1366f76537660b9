from collections.abc import Callable
from hashlib import sha1, sha256
from typing import Any

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core import metainfo as metainfo_module
from torrent_onion.core.bencoding import BencodeLimits, encode
from torrent_onion.core.identity import InfoHashes
from torrent_onion.core.metainfo import (
    MAX_EXTRA_KEYS,
    MAX_TRACKERS,
    FileEntry,
    Info,
    Metainfo,
    TorrentFormat,
    make_layout,
    parse_info,
    parse_metainfo,
)
from torrent_onion.core.piece_layout import FileSpan
from torrent_onion.errors import MetainfoError

MakeTorrent = Callable[..., Metainfo]
PIECE = 16384
CONTENTS = {("a",): b"x" * 20_000, ("b", "c"): b"yy", ("d",): b""}


def v1_info(**changes: Any) -> dict[bytes, Any]:
    info = {b"length": 5, b"name": b"n", b"piece length": PIECE, b"pieces": b"h" * 20}
    return info | {key.replace("_", " ").encode(): value for key, value in changes.items()}


def parsed(info: dict[bytes, Any] | None = None, **around: Any) -> Metainfo:
    top = {key.replace("_", "-").encode(): value for key, value in around.items()}
    return parse_metainfo(encode({b"info": info or v1_info(), **top}))


def test_version_1(make_torrent: MakeTorrent) -> None:
    info = make_torrent("top", CONTENTS, TorrentFormat.V1).info
    assert info.format is TorrentFormat.V1
    assert info.name == "top"
    assert info.files == (
        FileEntry(("a",), 20_000),
        FileEntry(("b", "c"), 2),
        FileEntry(("d",), 0),
    )
    assert not info.is_single_file
    assert not info.private
    assert info.total_length == 20_002
    assert info.info_hashes == InfoHashes(v1=sha1(info.raw).digest(), v2=None)
    assert info.layout.num_pieces == 2
    assert info.layout.spans(1, 0, 3618) == [FileSpan(0, PIECE, 3616), FileSpan(1, 0, 2)]
    assert info.piece_hash(1) == sha1(b"x" * 3616 + b"yy").digest()


def test_version_2(make_torrent: MakeTorrent) -> None:
    made = make_torrent("top", CONTENTS, TorrentFormat.V2)
    info = made.info
    assert info.format is TorrentFormat.V2
    assert info.info_hashes == InfoHashes(v1=None, v2=sha256(info.raw).digest())
    assert info.piece_hashes == b""
    assert info.layout.num_pieces == 3
    assert info.layout.piece_size(1) == 20_000 - PIECE
    assert info.layout.spans(2, 0, 2) == [FileSpan(1, 0, 2)]
    assert [entry.pieces_root for entry in info.files] == [
        next(iter(made.piece_layers)),
        sha256(b"yy").digest(),
        None,
    ]
    with pytest.raises(IndexError):
        info.piece_hash(0)


def test_hybrid(make_torrent: MakeTorrent) -> None:
    info = make_torrent("top", CONTENTS, TorrentFormat.HYBRID).info
    assert info.format is TorrentFormat.HYBRID
    assert info.info_hashes == InfoHashes(v1=sha1(info.raw).digest(), v2=sha256(info.raw).digest())
    assert [entry.is_pad for entry in info.files] == [False, True, False, True, False]
    assert info.total_length == 20_002
    assert info.layout.num_pieces == 3
    # For peers of version 1 the padding is data.
    assert info.layout.piece_size(1) == PIECE
    assert info.piece_hash(2) == sha1(b"yy" + bytes(PIECE - 2)).digest()


@pytest.mark.parametrize("index", [-1, 1, 100])
def test_hashes_of_pieces_that_do_not_exist(index: int) -> None:
    info = parsed().info
    assert info.piece_hash(0) == b"h" * 20
    with pytest.raises(IndexError):
        info.piece_hash(index)


def test_one_file_has_the_name_of_the_torrent(make_torrent: MakeTorrent) -> None:
    for torrent_format in TorrentFormat:
        made = make_torrent("f", {("f",): b"x"}, torrent_format, is_single_file=True)
        assert made.info.is_single_file
        assert made.info.files[0].path == ("f",)


def test_a_lone_file_of_version_2_with_another_name_is_in_a_folder() -> None:
    leaf = {b"length": 5, b"pieces root": b"r" * 32}
    info: dict[bytes, Any] = {
        b"file tree": {b"other": {b"": leaf}},
        b"meta version": 2,
        b"name": b"n",
        b"piece length": PIECE,
    }
    assert not parse_info(encode(info)).is_single_file


def test_the_hash_is_of_the_bytes_received() -> None:
    unsorted = b"d4:name1:n6:lengthi5e12:piece lengthi16384e6:pieces20:" + b"h" * 20 + b"e"
    info = parse_metainfo(b"d4:info" + unsorted + b"e").info
    assert info.raw == unsorted
    assert info.info_hashes.v1 == sha1(unsorted).digest()
    theirs = libtorrent.load_torrent_buffer(b"d4:info" + unsorted + b"e").ti
    assert theirs is not None
    assert theirs.info_hashes().v1.to_bytes() == info.info_hashes.v1


def test_every_kind_of_buffer() -> None:
    raw = encode(v1_info())
    for kind in (bytearray, memoryview):
        info = parse_info(kind(raw))
        assert type(info.raw) is bytes
        assert info == parse_info(raw)


def test_names_prefer_utf8_and_bad_bytes_are_marked() -> None:
    info = parsed(
        {
            b"files": [
                {b"length": 5, b"path": [b"\xe9"], b"path.utf-8": ["é".encode()]},
                {b"length": 5, b"path": [b"\xe9", b"ok"]},
            ],
            b"name": b"\xe8",
            b"name.utf-8": "è".encode(),
            b"piece length": PIECE,
            b"pieces": b"h" * 20,
        }
    ).info
    assert info.name == "è"
    assert [entry.path for entry in info.files] == [("é",), ("�", "ok")]


def test_attributes() -> None:
    info = parsed(
        {
            b"files": [
                {b"length": 5, b"path": [b"run"], b"attr": b"x"},
                {b"length": 5, b"path": [b"dark"], b"attr": b"hq"},
                {b"path": [b"link"], b"attr": b"l", b"symlink path": [b"a", b"b"]},
                {b"length": 3, b"path": [b"no link"], b"attr": b"l"},
                {b"length": 4, b"attr": b"p"},
            ],
            b"name": b"n",
            b"piece length": PIECE,
            b"pieces": b"h" * 20,
        }
    ).info
    assert info.files == (
        FileEntry(("run",), 5, executable=True),
        FileEntry(("dark",), 5, hidden=True),
        FileEntry(("link",), 0, symlink=("a", "b")),
        FileEntry(("no link",), 3),
        FileEntry((".pad", "4"), 4, is_pad=True),
    )
    assert info.total_length == 13


@pytest.mark.parametrize(("value", "private"), [(0, False), (1, True), (2, True), (b"1", True)])
def test_private(value: Any, private: bool) -> None:
    assert parsed(v1_info(private=value)).info.private is private


@pytest.mark.parametrize(
    ("around", "tiers"),
    [
        ({}, ()),
        ({"announce": b"http://a"}, (("http://a",),)),
        ({"announce": b" http://a\n"}, (("http://a",),)),
        ({"announce": b""}, ()),
        ({"announce": b"http://a", "announce_list": []}, (("http://a",),)),
        ({"announce": b"http://a", "announce_list": [[b""], b"x"]}, (("http://a",),)),
        ({"announce": b"http://a", "announce_list": [[b"http://b"]]}, (("http://b",),)),
        (
            {"announce_list": [[b"http://b", 1, b"http://c"], [], [b"http://d"]]},
            (("http://b", "http://c"), ("http://d",)),
        ),
    ],
)
def test_trackers(around: dict[str, Any], tiers: tuple[tuple[str, ...], ...]) -> None:
    assert parsed(**around).trackers == tiers


def test_trackers_are_limited() -> None:
    tiers = [[b"http://%d.%d" % (tier, n) for n in range(30)] for tier in range(30)]
    trackers = parsed(announce_list=tiers).trackers
    assert sum(map(len, trackers)) == MAX_TRACKERS
    assert len(trackers) == 4


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        (b"http://a/", ("http://a/",)),
        (b"", ()),
        ([b"http://a/", b"http://b/", b"http://a/", 3], ("http://a/", "http://b/")),
        ({}, ()),
        (7, ()),
    ],
)
def test_web_seeds(value: Any, urls: tuple[str, ...]) -> None:
    assert parsed(url_list=value).web_seeds == urls


def test_what_could_identify_somebody_is_listed() -> None:
    info = v1_info(source=b"x", publisher=b"y")
    del info[b"length"]
    info[b"files"] = [
        {b"length": 5, b"path": [b"a"], b"mtime": 1, b"sha1": b"s"},
        {b"length": 5, b"path": [b"b"], b"mtime": 1, b"\xff": 1},
    ]
    top: dict[bytes, Any] = {
        b"info": info,
        b"created by": b"me",
        b"creation date": 1,
        b"comment": b"hello",
    }
    metainfo = parse_metainfo(encode(top))
    assert metainfo.comment == "hello"
    assert metainfo.extra_keys == (
        "created by",
        "creation date",
        "info.files.mtime",
        "info.files.sha1",
        "info.files.�",
        "info.publisher",
        "info.source",
    )


def test_keys_in_a_file_tree_are_listed_too() -> None:
    leaf = {b"length": 5, b"pieces root": b"r" * 32, b"mtime": 1}
    info: dict[bytes, Any] = {
        b"file tree": {b"d": {b"n": {b"": leaf}}},
        b"meta version": 2,
        b"name": b"n",
        b"piece length": PIECE,
    }
    assert parse_info(encode(info)).extra_keys == ("info.files.mtime",)


def test_extra_keys_are_limited() -> None:
    info = v1_info() | {b"%03d" % n: n for n in range(200)}
    assert len(parse_info(encode(info)).extra_keys) == MAX_EXTRA_KEYS


def test_what_is_written_holds_nothing_more() -> None:
    read = parse_metainfo(
        encode(
            {
                b"announce": b"http://a",
                b"created by": b"me",
                b"creation date": 1,
                b"encoding": b"UTF-8",
                b"info": v1_info(source=b"x"),
                b"nodes": [[b"127.0.0.1", 1]],
            }
        )
    )
    assert read.encode() == b"d8:announce8:http://a4:info" + read.info.raw + b"e"


def test_all_that_can_be_written(make_torrent: MakeTorrent) -> None:
    made = make_torrent("top", CONTENTS, TorrentFormat.HYBRID)
    full = Metainfo(
        info=made.info,
        trackers=(("http://a", "http://b"), ("http://c",)),
        web_seeds=("http://d/",),
        piece_layers=made.piece_layers,
        comment="ü",
    )
    assert parse_metainfo(full.encode()) == full
    written: Any = libtorrent.bdecode(full.encode())
    assert written.keys() == {
        b"announce",
        b"announce-list",
        b"comment",
        b"info",
        b"piece layers",
        b"url-list",
    }


def test_version_2_always_has_its_piece_layers(make_torrent: MakeTorrent) -> None:
    made = make_torrent("top", {("a",): b"x", ("b",): b"y"}, TorrentFormat.V2)
    written: Any = libtorrent.bdecode(made.encode())
    assert written[b"piece layers"] == {}


tracker_tiers = st.lists(
    st.lists(st.sampled_from(["http://a/x", "https://b", "udp://ü"]), min_size=1, max_size=3).map(
        tuple
    ),
    max_size=3,
).map(tuple)


@given(tracker_tiers, st.none() | st.text(min_size=1).map(str.strip).filter(bool))
def test_round_trip(tiers: tuple[tuple[str, ...], ...], comment: str | None) -> None:
    metainfo = Metainfo(info=parsed().info, trackers=tiers, comment=comment)
    assert parse_metainfo(metainfo.encode()) == metainfo


def test_a_layout_follows_the_format() -> None:
    files = (FileEntry(("a",), 1), FileEntry(("b",), 1))
    assert make_layout(files, PIECE, TorrentFormat.V1).num_pieces == 1
    assert make_layout(files, PIECE, TorrentFormat.HYBRID).num_pieces == 1
    assert make_layout(files, PIECE, TorrentFormat.V2).num_pieces == 2


def test_repr_names_the_torrent_and_no_more(make_torrent: MakeTorrent) -> None:
    made = make_torrent("top", CONTENTS, TorrentFormat.HYBRID)
    assert len(repr(made)) < 600
    assert isinstance(made.info, Info)


def test_an_info_dictionary_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metainfo_module, "INFO_LIMITS", BencodeLimits(max_bytes=50))
    with pytest.raises(MetainfoError, match="more than 50 bytes"):
        parsed()
    with pytest.raises(MetainfoError, match="longer than 50 bytes"):
        parse_info(encode(v1_info()))


def test_a_hundred_thousand_files() -> None:
    files = [{b"length": n % 7, b"path": [b"d%d" % (n // 100), b"f%d" % n]} for n in range(100_000)]
    total = sum(n % 7 for n in range(100_000))
    info: dict[bytes, Any] = {b"files": files, b"name": b"n", b"piece length": PIECE}
    info[b"pieces"] = bytes(20 * -(-total // PIECE))
    read = parse_info(encode(info))
    assert len(read.files) == 100_000
    assert read.total_length == total
