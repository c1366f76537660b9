"""A corpus of odd and broken torrents, each with what must come of it.

``ACCEPTED`` are odd but can be downloaded; ``REFUSED`` come with words of the reason.
Each is a small change of one of the sound torrents (version 1, version 2, hybrid, one file), made
on the decoded dictionary or on its bytes.
"""

import copy
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import encode
from torrent_onion.core.metainfo import TorrentFormat, parse_info, parse_metainfo
from torrent_onion.errors import MetainfoError

PIECE = 16384
ONE = sha256(b"one").digest()
TWO = sha256(b"two").digest()
LAYER = ONE + TWO
BIG_ROOT = sha256(LAYER).digest()
"""Root of a file of two pieces whose hashes are ONE and TWO."""

V1_TORRENT: dict[bytes, Any] = {
    b"announce": b"http://tracker.example/announce",
    b"info": {
        b"files": [
            {b"length": 20_000, b"path": [b"big"]},
            {b"length": 5, b"path": [b"folder", b"small"]},
        ],
        b"name": b"top",
        b"piece length": PIECE,
        b"pieces": bytes(range(40)),
    },
}
V2_TORRENT: dict[bytes, Any] = {
    b"info": {
        b"file tree": {
            b"big": {b"": {b"length": 20_000, b"pieces root": BIG_ROOT}},
            b"folder": {b"small": {b"": {b"length": 5, b"pieces root": ONE}}},
        },
        b"meta version": 2,
        b"name": b"top",
        b"piece length": PIECE,
    },
    b"piece layers": {BIG_ROOT: LAYER},
}
PAD: dict[bytes, Any] = {b"attr": b"p", b"length": 12_768, b"path": [b".pad", b"12768"]}
HYBRID_TORRENT: dict[bytes, Any] = {
    b"info": {
        **V2_TORRENT[b"info"],
        b"files": [
            {b"length": 20_000, b"path": [b"big"]},
            PAD,
            {b"length": 5, b"path": [b"folder", b"small"]},
        ],
        b"pieces": bytes(range(60)),
    },
    b"piece layers": {BIG_ROOT: LAYER},
}
SINGLE_TORRENT: dict[bytes, Any] = {
    b"info": {b"length": 5, b"name": b"file", b"piece length": PIECE, b"pieces": bytes(20)}
}
REMOVED = object()


def changed(torrent: dict[bytes, Any], *changes: tuple[Any, ...]) -> bytes:
    """Encode a torrent with other values: each change is a path of keys and the value to put."""
    torrent = copy.deepcopy(torrent)
    for *path, last, value in changes:
        place: Any = torrent
        for key in path:
            place = place[key]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return encode(torrent)


def v1(*changes: tuple[Any, ...]) -> bytes:
    return changed(V1_TORRENT, *((b"info", *change) for change in changes))


def v2(*changes: tuple[Any, ...]) -> bytes:
    return changed(V2_TORRENT, *((b"info", *change) for change in changes))


def hybrid(*changes: tuple[Any, ...]) -> bytes:
    return changed(HYBRID_TORRENT, *((b"info", *change) for change in changes))


def single(*changes: tuple[Any, ...]) -> bytes:
    return changed(SINGLE_TORRENT, *((b"info", *change) for change in changes))


def v2_single(*changes: tuple[Any, ...]) -> bytes:
    tree = {b"top": {b"": {b"length": 5, b"pieces root": ONE}}}
    return v2((b"file tree", tree), *changes)


def spliced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


SOUND_V1, SOUND_V2, SOUND_HYBRID = v1(), v2(), hybrid()

ACCEPTED: dict[str, bytes] = {
    "version 1": SOUND_V1,
    "version 2": SOUND_V2,
    "hybrid": SOUND_HYBRID,
    "one file": single(),
    "one file of version 2": v2_single(),
    "no trackers": changed(V1_TORRENT, (b"announce", REMOVED)),
    "unknown keys everywhere": changed(
        V1_TORRENT,
        (b"creation date", 1),
        (b"info", b"source", b"x"),
        (b"info", b"files", 0, b"mtime", 1),
    ),
    "keys out of order in version 1": spliced(
        spliced(SOUND_V1, b"4:name3:top", b""), b"d5:files", b"d4:name3:top5:files"
    ),
    "keys out of order around the info": b"d8:url-list0:" + SOUND_V1[1:],
    "an end of line after it": SOUND_V1 + b"\n",
    "odd UTF-8": v1((b"name", b"\xff\xfe"), (b"files", 0, b"path", [b"caf\xe9"])),
    "path.utf-8 and name.utf-8": v1(
        (b"name.utf-8", "ü".encode()), (b"files", 0, b"path.utf-8", ["ö".encode()])
    ),
    "path.utf-8 that is no path": v1((b"files", 0, b"path.utf-8", [])),
    "an empty file": v1((b"files", 1, b"length", 0)),
    "an empty file of version 2 without root": v2(
        (b"file tree", b"folder", b"small", b"", {b"length": 0})
    ),
    "an empty folder in the file tree": v2((b"file tree", b"empty", {})),
    "pieces of 32 MiB": v1((b"piece length", 1 << 25), (b"pieces", bytes(20))),
    "pieces of 128 MiB": v1((b"piece length", 1 << 27), (b"pieces", bytes(20))),
    "pieces whose length is no power of two": v1((b"piece length", 15_000)),
    "pieces of a few bytes": single((b"piece length", 3), (b"pieces", bytes(40))),
    "an empty name": v1((b"name", b"")),
    "empty parts of a path": v1((b"files", 0, b"path", [b"", b"a", b""])),
    "names that lead elsewhere": v1((b"files", 0, b"path", [b"..", b"..", b"etc", b"passwd"])),
    "the same path twice": v1((b"files", 1, b"path", [b"big"])),
    "a path that is a file and a folder": v1((b"files", 1, b"path", [b"big", b"small"])),
    "files and length": v1((b"length", 7)),
    "meta version 1": v1((b"meta version", 1)),
    "meta version that is no number": v1((b"meta version", b"2")),
    "a pad file without a path": v1(
        (b"files", 1, {b"attr": b"p", b"length": 5}),
    ),
    "a pad file of BitComet": v1((b"files", 1, b"path", [b"_____padding_file_0_x____"])),
    "a symbolic link": v1((b"files", 1, {b"attr": b"l", b"path": [b"link"], b"length": 0})),
    "a symbolic link with its target": v1(
        (
            b"files",
            [
                {b"length": 20_000, b"path": [b"big"]},
                {b"attr": b"l", b"path": [b"link"], b"symlink path": [b"big"]},
            ],
        )
    ),
    "attributes nobody knows": v1((b"files", 1, b"attr", b"zxh")),
    "attributes that are no string": v1((b"files", 1, b"attr", 1)),
    "trackers that are none": changed(V1_TORRENT, (b"announce", 5), (b"announce-list", b"x")),
    "tiers that are none": changed(V1_TORRENT, (b"announce-list", [b"x", [], [1, b""], {}])),
    "web seeds that are none": changed(V1_TORRENT, (b"url-list", [1, b"", [b"x"]])),
    "a comment that is none": changed(V1_TORRENT, (b"comment", [1])),
    "a hybrid without pad after the last file": SOUND_HYBRID,
    "a hybrid with pad after the last file": hybrid(
        (
            b"files",
            [
                *HYBRID_TORRENT[b"info"][b"files"],
                {b"attr": b"p", b"length": PIECE - 5, b"path": [b".pad", b"16379"]},
            ],
        )
    ),
    "a hybrid whose pad is in two parts": hybrid(
        (
            b"files",
            [
                {b"length": 20_000, b"path": [b"big"]},
                {b"attr": b"p", b"length": 12_000, b"path": [b".pad", b"12000"]},
                {b"attr": b"p", b"length": 768, b"path": [b".pad", b"768"]},
                {b"length": 5, b"path": [b"folder", b"small"]},
            ],
        ),
    ),
    "a hybrid without a list of version 1": hybrid((b"files", REMOVED)),
    "a hybrid without hashes of version 1": hybrid((b"pieces", REMOVED)),
    "a piece layer nobody needs": changed(V2_TORRENT, (b"piece layers", b"x" * 32, b"y")),
    "an empty piece layer where none is needed": changed(
        {**V2_TORRENT, b"info": {**V2_TORRENT[b"info"], b"piece length": 32_768}},
        (b"piece layers", {}),
    ),
}

DAMAGED = "no torrent, or a damaged one"
REFUSED: dict[str, tuple[bytes, str]] = {
    # What is no bencoding at all.
    "nothing": (b"", DAMAGED),
    "a web page": (b"<!doctype html>", DAMAGED),
    "a list": (b"le", "not a bencoded dictionary"),
    "a number": (b"i1e", "not a bencoded dictionary"),
    "cut off": (SOUND_V1[:-1], DAMAGED),
    "cut off in the middle": (SOUND_V1[:100], DAMAGED),
    "data after it": (SOUND_V1 + b"x", "more data follows"),
    "two torrents": (SOUND_V1 * 2, "more data follows"),
    "a key twice": (spliced(SOUND_V1, b"4:name", b"4:name3:abc4:name"), "comes twice"),
    "info twice": (b"d4:infode" + SOUND_V1[1:], "comes twice"),
    "a key that is no string": (b"di1ei2ee", DAMAGED),
    "a negative length of a string": (spliced(SOUND_V1, b"3:top", b"-3:top"), "no value"),
    "a string longer than the file": (spliced(SOUND_V1, b"3:top", b"999999:top"), "cut off"),
    "a length with a leading zero": (spliced(SOUND_V1, b"3:top", b"03:top"), "wrong length"),
    "a number with a leading zero": (spliced(SOUND_V1, b"i5e", b"i05e"), "wrong integer"),
    "minus zero": (spliced(SOUND_V1, b"i5e", b"i-0e"), "wrong integer"),
    "a number with a plus": (spliced(SOUND_V1, b"i5e", b"i+5e"), "wrong integer"),
    "a number with an underscore": (spliced(SOUND_V1, b"i20000e", b"i20_000e"), "wrong integer"),
    "a number of 65 bits": (spliced(SOUND_V1, b"i5e", b"i18446744073709551616e"), "integer"),
    "a number of thousands of digits": (
        spliced(SOUND_V1, b"i5e", b"i" + b"9" * 5000 + b"e"),
        "wrong integer",
    ),
    "very deep": (b"d1:a" + b"l" * 100_000, "32 levels"),
    "what other parsers loop on": (b"d0:i0e-6:e", DAMAGED),
    # The dictionary as a whole.
    "no info": (b"d8:announce1:xe", "no info dictionary"),
    "info that is a list": (changed(V1_TORRENT, (b"info", [])), "no info dictionary"),
    "info that is a string": (changed(V1_TORRENT, (b"info", b"de")), "no info dictionary"),
    "an empty info": (changed(V1_TORRENT, (b"info", {})), "no possible length"),
    "a magnet link for info": (b"d10:magnet-uri8:magnet:?e", "no info dictionary"),
    # Version, name, pieces.
    "a newer version": (v2((b"meta version", 3)), "version 3"),
    "a newer version, otherwise broken": (v2((b"meta version", 9), (b"name", 1)), "version 9"),
    "a file tree without version": (v2((b"meta version", REMOVED)), "does not say its version"),
    "a file tree with version 1": (v2((b"meta version", 1)), "does not say its version"),
    "no name": (v1((b"name", REMOVED)), "no name"),
    "a name that is a number": (v1((b"name", 5)), "no name"),
    "a name that is a list": (v2((b"name", [b"a"])), "no name"),
    "no piece length": (v1((b"piece length", REMOVED)), "no possible length"),
    "pieces of no bytes": (v1((b"piece length", 0)), "no possible length"),
    "pieces of negative length": (v1((b"piece length", -PIECE)), "no possible length"),
    "pieces of more than 128 MiB": (v1((b"piece length", (1 << 27) + 1)), "no possible length"),
    "pieces of 2**63 - 1 bytes": (v1((b"piece length", 2**63 - 1)), "no possible length"),
    "a piece length that is a string": (v1((b"piece length", b"16384")), "no possible length"),
    "pieces too small for version 2": (v2((b"piece length", 8192)), "version 2 allows"),
    "pieces of 48 KiB in version 2": (v2((b"piece length", 49_152)), "version 2 allows"),
    "pieces of 48 KiB in a hybrid": (hybrid((b"piece length", 49_152)), "version 2 allows"),
    "no hashes": (v1((b"pieces", REMOVED)), "one hash for each piece"),
    "hashes that are a list": (v1((b"pieces", [bytes(20)] * 2)), "one hash for each piece"),
    "no whole hashes": (v1((b"pieces", bytes(41))), "one hash for each piece"),
    "a hash too few": (v1((b"pieces", bytes(20))), "one hash for each piece"),
    "a hash too many": (v1((b"pieces", bytes(60))), "one hash for each piece"),
    "a hybrid with a hash too few": (hybrid((b"pieces", bytes(40))), "one hash for each piece"),
    "empty hashes": (v1((b"pieces", b"")), "one hash for each piece"),
    "more pieces than anybody can hold": (
        v1((b"files", 0, b"length", PIECE << 21)),
        "more than 2,097,152 pieces",
    ),
    "more pieces by many files of version 2": (
        v2(
            (b"file tree", b"big", b"", b"length", (PIECE << 21) - 5),
        ),
        "more than 2,097,152 pieces",
    ),
    # Files of version 1.
    "no files": (v1((b"files", REMOVED)), "no possible length"),
    "an empty list of files": (v1((b"files", [])), "lists no files"),
    "files that are a dictionary": (v1((b"files", {})), "lists no files"),
    "files that are a number": (v1((b"files", 1)), "lists no files"),
    "a file that is a string": (v1((b"files", 0, b"x")), "no dictionary"),
    "a file without length": (v1((b"files", 0, b"length", REMOVED)), "no possible length"),
    "a file of negative length": (v1((b"files", 0, b"length", -1)), "no possible length"),
    "a file whose length is a string": (v1((b"files", 0, b"length", b"5")), "no possible length"),
    "a file of 2**63 - 1 bytes": (v1((b"files", 0, b"length", 2**63 - 1)), "no possible length"),
    "files whose sum is beyond 64 bits": (
        v1((b"files", [{b"length": 1 << 48, b"path": [b"%d" % n]} for n in range(33_000)])),
        "more than 2,097,152 pieces",
    ),
    "a file without path": (v1((b"files", 0, b"path", REMOVED)), "no path"),
    "a file with an empty path": (v1((b"files", 0, b"path", [])), "no path"),
    "a path that is a string": (v1((b"files", 0, b"path", b"a/b")), "no path"),
    "a path of numbers": (v1((b"files", 0, b"path", [1])), "not made of names"),
    "a path with a list in it": (v1((b"files", 0, b"path", [b"a", [b"b"]])), "not made of names"),
    "nothing but empty files": (
        v1((b"files", [{b"length": 0, b"path": [b"a"]}]), (b"pieces", b"")),
        "no data",
    ),
    "nothing but a pad file": (
        v1((b"files", [PAD]), (b"pieces", bytes(20))),
        "no data",
    ),
    "one file of length zero": (single((b"length", 0), (b"pieces", b"")), "no data"),
    "one file of negative length": (single((b"length", -5)), "no possible length"),
    # Files of version 2.
    "no file tree": (v2((b"file tree", REMOVED)), "no file tree"),
    "an empty file tree": (v2((b"file tree", {})), "lists no files"),
    "a file tree of empty folders": (v2((b"file tree", {b"a": {b"b": {}}})), "lists no files"),
    "a file tree that is a list": (v2((b"file tree", [])), "no file tree"),
    "a file tree that is a file": (
        v2((b"file tree", {b"": {b"length": 5, b"pieces root": ONE}})),
        "no file tree",
    ),
    "a file in the tree that is a number": (v2((b"file tree", b"big", 5)), "damaged"),
    "a file that is a folder too": (v2((b"file tree", b"big", b"more", {})), "a folder too"),
    "a file whose properties are a list": (v2((b"file tree", b"big", b"", [])), "a folder too"),
    "a file tree out of order": (
        spliced(
            SOUND_V2,
            b"3:bigd0:d6:lengthi20000e11:pieces root32:" + BIG_ROOT + b"ee",
            b"3:zigd0:d6:lengthi20000e11:pieces root32:" + BIG_ROOT + b"ee",
        ),
        "not in order",
    ),
    "no pieces root": (v2((b"file tree", b"big", b"", b"pieces root", REMOVED)), "pieces root"),
    "a short pieces root": (v2((b"file tree", b"big", b"", b"pieces root", ONE[1:])), "root"),
    "a pieces root of zeros": (
        v2((b"file tree", b"big", b"", b"pieces root", bytes(32))),
        "pieces root",
    ),
    "a pieces root that is a number": (
        v2((b"file tree", b"big", b"", b"pieces root", 1)),
        "pieces root",
    ),
    "a pad file in the tree": (v2((b"file tree", b"big", b"", b"attr", b"p")), "pad file"),
    "no length in the tree": (
        v2((b"file tree", b"big", b"", b"length", REMOVED)),
        "no possible length",
    ),
    "a negative length in the tree": (
        v2((b"file tree", b"big", b"", b"length", -1)),
        "no possible length",
    ),
    "version 2 without data": (v2((b"file tree", {b"a": {b"": {b"length": 0}}})), "no data"),
    # Piece layers.
    "no piece layers": (changed(V2_TORRENT, (b"piece layers", REMOVED)), "magnet link"),
    "empty piece layers": (changed(V2_TORRENT, (b"piece layers", {})), "magnet link"),
    "piece layers that are a list": (changed(V2_TORRENT, (b"piece layers", [])), "magnet link"),
    "a piece layer that is a list": (
        changed(V2_TORRENT, (b"piece layers", BIG_ROOT, [])),
        "magnet link",
    ),
    "an empty piece layer": (
        changed(V2_TORRENT, (b"piece layers", BIG_ROOT, b"")),
        "does not lead to the root",
    ),
    "a piece layer of another file": (
        changed(V2_TORRENT, (b"piece layers", BIG_ROOT, TWO + ONE)),
        "does not lead to the root",
    ),
    "a piece layer that is too long": (
        changed(V2_TORRENT, (b"piece layers", BIG_ROOT, LAYER + bytes(64))),
        "does not lead to the root",
    ),
    "a piece layer of half a hash more": (
        changed(V2_TORRENT, (b"piece layers", BIG_ROOT, LAYER + bytes(16))),
        "does not lead to the root",
    ),
    "a piece layer with padding that leads to the root": (
        changed(
            {**V2_TORRENT, b"piece layers": {sha256(ONE + bytes(32)).digest(): ONE + bytes(32)}},
            (
                b"info",
                b"file tree",
                {
                    b"f": {
                        b"": {b"length": 40_000, b"pieces root": sha256(ONE + bytes(32)).digest()}
                    }
                },
            ),
        ),
        "one hash for each piece",
    ),
    "two lengths for one root": (
        v2((b"file tree", b"twin", {b"": {b"length": 50_000, b"pieces root": BIG_ROOT}})),
        "one hash for each piece",
    ),
    # Hybrids whose halves do not agree.
    "a hybrid with another name": (hybrid((b"files", 0, b"path", [b"gib"])), "do not agree"),
    "a hybrid with another length": (hybrid((b"files", 0, b"length", 20_001)), "do not agree"),
    "a hybrid with another folder": (hybrid((b"files", 2, b"path", [b"small"])), "do not agree"),
    "a hybrid in another order": (
        hybrid(
            (
                b"files",
                [
                    {b"length": 5, b"path": [b"folder", b"small"]},
                    {b"attr": b"p", b"length": PIECE - 5, b"path": [b".pad", b"16379"]},
                    {b"length": 20_000, b"path": [b"big"]},
                ],
            )
        ),
        "do not agree",
    ),
    "a hybrid with a file less in version 1": (
        hybrid((b"files", HYBRID_TORRENT[b"info"][b"files"][:2])),
        "do not agree",
    ),
    "a hybrid with a file more in version 1": (
        hybrid(
            (
                b"files",
                [*HYBRID_TORRENT[b"info"][b"files"], {b"length": 0, b"path": [b"more"]}],
            )
        ),
        "do not agree",
    ),
    "a hybrid without pad files": (
        hybrid((b"files", V1_TORRENT[b"info"][b"files"]), (b"pieces", bytes(40))),
        "do not start where",
    ),
    "a hybrid with a short pad file": (hybrid((b"files", 1, b"length", 1)), "do not start where"),
    "a hybrid with a whole piece of padding": (
        hybrid((b"files", 1, b"length", 12_768 + PIECE), (b"pieces", bytes(80))),
        "do not start where",
    ),
    "a hybrid with padding after its end": (
        hybrid(
            (b"files", [*HYBRID_TORRENT[b"info"][b"files"], {**PAD, b"length": PIECE}]),
            (b"pieces", bytes(80)),
        ),
        "more padding than pieces",
    ),
    "a hybrid with a link in one half only": (
        hybrid(
            (b"file tree", b"folder", b"small", b"", b"attr", b"l"),
            (b"file tree", b"folder", b"small", b"", b"symlink path", [b"big"]),
        ),
        "do not agree",
    ),
    "a hybrid file in a folder and without": (
        changed(
            HYBRID_TORRENT,
            (b"info", b"files", REMOVED),
            (b"info", b"length", 5),
            (b"info", b"file tree", {b"other": {b"": {b"length": 5, b"pieces root": ONE}}}),
        ),
        "do not agree",
    ),
}


def test_the_corpus_is_large_enough() -> None:
    assert len(REFUSED) >= 60
    assert len({data for data, _ in REFUSED.values()}) == len(REFUSED)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    metainfo = parse_metainfo(ACCEPTED[name])
    assert metainfo.info.raw in ACCEPTED[name]
    assert parse_info(metainfo.info.raw) == metainfo.info
    again = parse_metainfo(metainfo.encode())
    assert again.info == metainfo.info
    assert again.trackers == metainfo.trackers


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(MetainfoError, match=reason) as caught:
        parse_metainfo(data)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


MUTATIONS: dict[str, Callable[[bytearray, int], None]] = {
    "flip a bit": lambda data, at: data.__setitem__(at, data[at] ^ 1),
    "flip the high bit": lambda data, at: data.__setitem__(at, data[at] ^ 0x80),
    "drop a byte": lambda data, at: data.__delitem__(at),
    "repeat a byte": lambda data, at: data.insert(at, data[at]),
    "put an end": lambda data, at: data.__setitem__(at, ord("e")),
    "put a digit": lambda data, at: data.__setitem__(at, ord("9")),
    "put a zero": lambda data, at: data.__setitem__(at, 0),
    "end there": lambda data, at: data.__delitem__(slice(at, None)),
}


@pytest.mark.parametrize("sound", [SOUND_V1, SOUND_V2, SOUND_HYBRID, single()])
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_one_changed_byte_is_refused_or_is_another_torrent(sound: bytes, mutation: str) -> None:
    original = parse_metainfo(sound)
    for at in range(len(sound)):
        data = bytearray(sound)
        MUTATIONS[mutation](data, at)
        if data == sound:
            continue
        try:
            metainfo = parse_metainfo(bytes(data))
        except MetainfoError:
            continue
        assert metainfo.info.raw in data
        same = metainfo.info.raw == original.info.raw
        assert (metainfo.info.info_hashes == original.info.info_hashes) is same


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"d4:info" + data))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MetainfoError):
        parse_metainfo(data)
    with pytest.raises(MetainfoError):
        parse_info(data)


def test_the_sound_ones_are_what_they_should_be() -> None:
    formats = [parse_metainfo(data).info.format for data in (SOUND_V1, SOUND_V2, SOUND_HYBRID)]
    assert formats == [TorrentFormat.V1, TorrentFormat.V2, TorrentFormat.HYBRID]
