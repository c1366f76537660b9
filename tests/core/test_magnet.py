import base64

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from tor_control.onion_address import onion_address
from torrent_onion.core.identity import InfoHashes, PeerAddress
from torrent_onion.core.magnet import (
    MAX_LENGTH,
    MAX_PEERS,
    MAX_SELECTED,
    MAX_URLS,
    Magnet,
    parse_magnet,
)
from torrent_onion.errors import MagnetError

V1 = bytes(range(20))
V2 = bytes(range(100, 132))
BTIH = "magnet:?xt=urn:btih:" + V1.hex()
ONION = onion_address(bytes(SigningKey(bytes(32)).verify_key))

hashes = st.tuples(
    st.none() | st.binary(min_size=20, max_size=20), st.none() | st.binary(min_size=32, max_size=32)
).filter(lambda pair: pair != (None, None))
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip()
)
peers = st.builds(
    PeerAddress, st.sampled_from([ONION, "127.0.0.1", "::1", "example.org"]), st.integers(1, 65535)
)
magnets = st.builds(
    Magnet,
    info_hashes=hashes.map(lambda pair: InfoHashes(*pair)),
    name=st.none() | texts,
    trackers=st.lists(texts, max_size=4, unique=True).map(tuple),
    web_seeds=st.lists(texts, max_size=4, unique=True).map(tuple),
    peers=st.lists(peers, max_size=4, unique=True).map(tuple),
    select_only=st.none() | st.sets(st.integers(0, 30), min_size=1).map(sorted).map(tuple),
)


@given(magnets)
def test_round_trip(magnet: Magnet) -> None:
    uri = magnet.to_uri()
    assert uri.isascii()
    assert parse_magnet(uri) == magnet


@given(magnets)
def test_libtorrent_reads_the_same(magnet: Magnet) -> None:
    theirs = libtorrent.parse_magnet_uri(magnet.to_uri())
    if magnet.info_hashes.v1 is not None:
        assert theirs.info_hashes.v1.to_bytes() == magnet.info_hashes.v1
    if magnet.info_hashes.v2 is not None:
        assert theirs.info_hashes.v2.to_bytes() == magnet.info_hashes.v2
    if magnet.select_only is not None:
        chosen = {n for n, wanted in enumerate(theirs.file_priorities) if wanted}
        assert chosen == set(magnet.select_only)


def test_the_link_as_it_is_written() -> None:
    magnet = Magnet(
        info_hashes=InfoHashes(v1=V1, v2=V2),
        name="a b&c",
        trackers=("http://t.example/announce?x=1",),
        web_seeds=("http://w.example/",),
        peers=(PeerAddress(ONION, 7000), PeerAddress("::1", 1)),
        select_only=(0, 2, 4, 6, 7, 8),
    )
    assert magnet.to_uri() == (
        f"{BTIH}&xt=urn:btmh:1220{V2.hex()}&dn=a%20b%26c"
        "&tr=http%3A%2F%2Ft.example%2Fannounce%3Fx%3D1&ws=http%3A%2F%2Fw.example%2F"
        f"&x.pe={ONION}:7000&x.pe=%5B::1%5D:1&so=0,2,4,6-8"
    )


def test_forms_of_the_hash() -> None:
    expected = InfoHashes(v1=V1, v2=None)
    base32 = base64.b32encode(V1).decode()
    for form in (V1.hex(), V1.hex().upper(), base32, base32.lower()):
        assert parse_magnet("magnet:?xt=urn:btih:" + form).info_hashes == expected
    assert parse_magnet("MAGNET:?XT=URN:BTIH:" + V1.hex()).info_hashes == expected
    only_v2 = parse_magnet("magnet:?xt=urn:btmh:1220" + V2.hex())
    assert only_v2.info_hashes == InfoHashes(v1=None, v2=V2)


def test_numbered_parameters() -> None:
    magnet = parse_magnet(
        f"magnet:?xt.1=urn:btih:{V1.hex()}&xt.2=urn:btmh:1220{V2.hex()}&tr.1=a&tr.2=b"
        "&x.pe.1=10.0.0.1:1&x.pe=10.0.0.2:2"
    )
    assert magnet.info_hashes == InfoHashes(v1=V1, v2=V2)
    assert magnet.trackers == ("a", "b")
    assert magnet.peers == (PeerAddress("10.0.0.1", 1), PeerAddress("10.0.0.2", 2))


def test_what_cannot_be_understood_is_left_out() -> None:
    magnet = parse_magnet(
        BTIH + "&xt=urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0&xl=5&foo=bar&&=&dn=&tr=&tr=%20"
        "&x.pe=nonsense&x.pe=10.0.0.1:0&x.pe=10.0.0.1:1&kt=a+b&dn=na+me&dn=other&%FF=1"
    )
    assert magnet == Magnet(
        InfoHashes(v1=V1, v2=None), name="na me", peers=(PeerAddress("10.0.0.1", 1),)
    )


def test_the_same_hash_twice_is_one() -> None:
    twice = f"{BTIH}&xt=urn:btih:{base64.b32encode(V1).decode()}"
    assert parse_magnet(twice).info_hashes == InfoHashes(v1=V1, v2=None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with magnet"),
        ("magnet:", "begins with magnet"),
        (" " + BTIH, "begins with magnet"),
        ("http://example.org/", "begins with magnet"),
        (V1.hex(), "begins with magnet"),
        ("magnet:?", "names no torrent"),
        ("magnet:?dn=x", "names no torrent"),
        ("magnet:?xt=urn:sha1:" + V1.hex(), "names no torrent"),
        ("magnet:?xt=urn:btih:", "is damaged"),
        (BTIH[:-1], "is damaged"),
        (BTIH + "0", "is damaged"),
        (BTIH[:-1] + "g", "is damaged"),
        ("magnet:?xt=urn:btih:" + "1" * 32, "is damaged"),
        ("magnet:?xt=urn:btih:" + "ü" * 32, "is damaged"),
        ("magnet:?xt=urn:btih:" + V2.hex(), "is damaged"),
        ("magnet:?xt=urn:btmh:" + V2.hex(), "is damaged"),
        ("magnet:?xt=urn:btmh:1114" + V1.hex(), "is damaged"),
        ("magnet:?xt=urn:btmh:1220" + V2.hex()[:-2], "is damaged"),
        (f"{BTIH}&xt=urn:btih:{V2[:20].hex()}", "two torrents"),
        (f"{BTIH}&x.pe=b{ONION[1:]}:80", "peer in this magnet link is damaged"),
        (f"{BTIH}&x.pe={ONION}", "peer in this magnet link is damaged"),
        (f"{BTIH}&x.pe={ONION}:0", "peer in this magnet link is damaged"),
        (f"{BTIH}&so=x", "choice of files"),
        (f"{BTIH}&so=1,,2", "choice of files"),
        (f"{BTIH}&so=-1", "choice of files"),
        (f"{BTIH}&so=3-1", "choice of files"),
        (f"{BTIH}&so=1-2-3", "choice of files"),
        (f"{BTIH}&so=0-99999999999999", "choice of files"),
        (f"{BTIH}&so={MAX_SELECTED}", "choice of files"),
        (f"{BTIH}&so=٣", "choice of files"),
        (BTIH + "&tr=x" * MAX_LENGTH, "longer than"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MagnetError, match=reason):
        parse_magnet(text)


@pytest.mark.parametrize(
    ("so", "chosen"),
    [
        ("0", (0,)),
        ("0,2,4,6-8", (0, 2, 4, 6, 7, 8)),
        ("8,0-2,1", (0, 1, 2, 8)),
        ("5-5", (5,)),
        ("1&so=3", (1, 3)),
        ("%201 , 2", (1, 2)),
    ],
)
def test_choice_of_files(so: str, chosen: tuple[int, ...]) -> None:
    assert parse_magnet(f"{BTIH}&so={so}").select_only == chosen


def test_numbers_are_limited() -> None:
    text = BTIH + "".join(f"&tr=t{n}&ws=w{n}&x.pe=10.0.{n // 250}.{n % 250}:1" for n in range(300))
    magnet = parse_magnet(text)
    assert len(magnet.trackers) == len(magnet.web_seeds) == MAX_URLS
    assert len(magnet.peers) == MAX_PEERS


@given(st.text(max_size=80).map(lambda text: "magnet:?" + text))
def test_random_links_are_read_or_refused(text: str) -> None:
    try:
        magnet = parse_magnet(text)
    except MagnetError:
        return
    assert parse_magnet(magnet.to_uri()) == magnet
