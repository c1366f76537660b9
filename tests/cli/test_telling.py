from dataclasses import replace
from typing import Any

import pytest

from torrent_onion.cli.telling import telling
from torrent_onion.core.bencoding import encode
from torrent_onion.core.metainfo import Metainfo, parse_metainfo

TRACKER = "a key in the address of a tracker"
WEB_SEED = "a key in the address of a web seed"
NAMES = "a user's folder in the names of files"


def torrent(*, name: bytes = b"x", path: list[bytes] | None = None, **around: Any) -> Metainfo:
    files = [{b"length": 1, b"path": path or [b"one"]}]
    info: dict[bytes, Any] = {
        b"files": files,
        b"name": name,
        b"piece length": 16384,
        b"pieces": bytes(20),
    }
    top = {key.replace("_", " ").encode(): value for key, value in around.items()}
    return parse_metainfo(encode({**top, b"info": info}))


def test_what_nobody_needs_is_named_as_it_is() -> None:
    made = torrent(
        created_by=b"program", creation_date=1, comment=b"x", nodes=[[b"host", 1]], publisher=b"me"
    )
    assert telling(made) == ["comment", "created by", "creation date", "nodes", "publisher"]


@pytest.mark.parametrize(
    "url",
    [
        b"https://tracker.example/0123456789abcdef0123/announce",
        b"https://tracker.example/announce?passkey=1",
        b"https://me:secret@tracker.example/announce",
    ],
)
def test_keys_of_private_trackers(url: bytes) -> None:
    assert telling(torrent(announce=url)) == [TRACKER]
    made = torrent()
    assert telling(replace(made, web_seeds=(url.decode(),))) == [WEB_SEED]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"C:\\Users\\ann\\things", [b"one"]),
        (b"x", [b"home", b"ann", b"one"]),
        (b"x", [b"Users", b"ann", b"Desktop", b"one"]),
        (b"x", [b"D:", b"one"]),
    ],
)
def test_folders_of_users(name: bytes, path: list[bytes]) -> None:
    assert telling(torrent(name=name, path=path)) == [NAMES]


@pytest.mark.parametrize("path", [[b"home"], [b"users", b"guide.pdf"], [b"at home", b"a", b"b"]])
def test_what_names_nobody(path: list[bytes]) -> None:
    made = torrent(path=path, announce=b"http://tracker.example:6969/announce")
    assert telling(made) == []


def test_an_onion_is_no_key() -> None:
    onion = b"http://pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion/announce"
    assert telling(torrent(announce=onion)) == []
