from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.errors import TrackerError
from torrent_onion.protocol.tracker import (
    DEFAULT_INTERVAL,
    MAX_INTERVAL,
    MAX_PEERS,
    MAX_RETRY,
    MAX_TEXT,
    MIN_INTERVAL,
    AnnounceEvent,
    AnnounceReply,
    AnnounceRequest,
    Refusal,
    ScrapeReply,
    onion_proof_message,
    parse_announce_reply,
    parse_scrape_reply,
    scrape_url,
)

Onion = Callable[[int], PeerAddress]

CLEARNET = "http://tracker.example/announce"
ONION = "http://tracker.onion/announce"
INFO_HASH = b"\x00 %&+/~h" + b"a" * 12
REQUEST = AnnounceRequest(
    info_hash=INFO_HASH, peer_id=PeerId(b"\xff" * 20), key=b"\x0a\xb0\xff\x01"
)
COMMON = (
    "info_hash=%00%20%25%26%2B%2F~haaaaaaaaaaaa"
    "&peer_id=%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF%FF"
)


class TestAnnounceRequest:
    def test_a_clearnet_tracker_gets_exactly_this(self, onion: Onion) -> None:
        """A new parameter must not appear unnoticed: it would tell clients apart."""
        request = replace(
            REQUEST,
            uploaded=1,
            downloaded=2,
            left=3,
            event=AnnounceEvent.STARTED,
            own_address=onion(1),
            onion_sig=b"s" * 64,
            tracker_id=b"id/1",
        )
        assert request.url(CLEARNET) == (
            f"{CLEARNET}?{COMMON}&port=1&uploaded=1&downloaded=2&left=3&key=0AB0FF01"
            "&event=started&numwant=200&compact=1&no_peer_id=1&trackerid=id%2F1"
        )

    def test_an_onion_tracker_gets_exactly_this(self, onion: Onion) -> None:
        request = replace(REQUEST, own_address=onion(1), onion_sig=b"\x00" * 64)
        assert request.url(ONION) == (
            f"{ONION}?{COMMON}&port=1001&uploaded=0&downloaded=0&left=16384&key=0AB0FF01"
            f"&numwant=200&compact=1&no_peer_id=1&ip={onion(1).host}&onion_sig=" + "%00" * 64
        )

    def test_without_an_onion_of_our_own_an_onion_tracker_learns_nothing_more(self) -> None:
        signed = replace(REQUEST, onion_sig=b"s" * 64)
        assert signed.url(ONION).partition("?")[2] == REQUEST.url(CLEARNET).partition("?")[2]

    @pytest.mark.parametrize(
        "tracker",
        [
            "https://tracker.example/announce",
            "http://onion/announce",
            "http://x.onion.example/announce",
            "http://tracker.example/x.onion/announce",
            "http://a.onion@tracker.example/announce",
            "http://192.0.2.1:80/announce?x=.onion",
        ],
    )
    def test_only_a_host_that_is_an_onion_learns_our_onion(
        self, onion: Onion, tracker: str
    ) -> None:
        url = replace(REQUEST, own_address=onion(1), onion_sig=b"s" * 64).url(tracker)
        assert onion(1).host not in url
        assert "&ip" not in url
        assert "onion_sig" not in url
        assert "&port=1&" in url

    def test_an_ip_address_is_never_announced(self) -> None:
        with pytest.raises(ValueError, match="no address but an onion"):
            replace(REQUEST, own_address=PeerAddress("192.0.2.1", 1)).url(ONION)

    def test_the_query_of_the_tracker_stays_in_front(self) -> None:
        assert REQUEST.url("https://t.example:8443/a/announce?passkey=x%20y#top").startswith(
            f"https://t.example:8443/a/announce?passkey=x%20y&{COMMON}&port=1&"
        )
        assert REQUEST.url("http://t.example").startswith("http://t.example/?info_hash=")

    def test_stopping_asks_for_no_peers(self) -> None:
        assert "&event=stopped&numwant=0&" in replace(REQUEST, event=AnnounceEvent.STOPPED).url(
            ONION
        )

    @pytest.mark.parametrize(
        "tracker",
        [
            "",
            "announce",
            "udp://tracker.example:6969/announce",
            "wss://tracker.example/announce",
            "file:///etc/passwd",
            "http:///announce",
            "http://[::1/announce",
            "http://tracker.example:99999/announce",
            "http://tracker.example/ann ounce",
            "http://tracker.example/\r\nHost: other",
            "http://tracker.example/\tannounce",
            "http://tr\u00e4cker.example/announce",
        ],
    )
    def test_what_is_no_http_tracker(self, tracker: str) -> None:
        for use in (REQUEST.url, lambda url: scrape_url(url, INFO_HASH)):
            with pytest.raises(TrackerError):
                use(tracker)

    def test_a_key_of_another_size_is_a_mistake_of_ours(self) -> None:
        with pytest.raises(ValueError, match="4 bytes"):
            replace(REQUEST, key=b"").url(CLEARNET)


def test_the_proof_names_torrent_tracker_and_minute() -> None:
    message = onion_proof_message(INFO_HASH, "http://TRACKER.onion:8080/announce?x=1", 0x01020304)
    assert message == (
        b"torrent-onion announce" + INFO_HASH + b"tracker.onion" + b"\0\0\0\0\x01\x02\x03\x04"
    )


@pytest.mark.parametrize(
    ("tracker", "expected"),
    [
        (CLEARNET, "http://tracker.example/scrape?"),
        ("http://t.example/a/announce.php?k=1", "http://t.example/a/scrape.php?k=1&"),
        ("http://t.example/announce/announce", "http://t.example/announce/scrape?"),
        ("http://t.example/x?y=/announce", None),
        ("http://t.example/announce/", None),
        ("http://t.example", None),
    ],
)
def test_where_to_scrape(tracker: str, expected: str | None) -> None:
    query = "info_hash=%00%20%25%26%2B%2F~haaaaaaaaaaaa"
    assert scrape_url(tracker, INFO_HASH) == (None if expected is None else expected + query)


class TestAnnounceReply:
    def test_all_of_it(self, onion: Onion) -> None:
        body = encode(
            {
                b"complete": 5,
                b"external ip": b"\xc0\x00\x02\x63",
                b"incomplete": 7,
                b"interval": 900,
                b"min interval": 300,
                b"peers": b"\xc0\x00\x02\x01\x1a\xe1" + b"\xc0\x00\x02\x02\x00\x00",
                b"peers6": bytes.fromhex("20010db8 00000000 00000000 00000001 1ae1"),
                b"peers_onion": onion(1).to_compact_onion() + bytes(34),
                b"tracker id": b"abc",
                b"warning message": b"slow \xff",
            }
        )
        assert parse_announce_reply(body) == AnnounceReply(
            peers=(
                onion(1),
                PeerAddress("192.0.2.1", 6881),
                PeerAddress("2001:db8::1", 6881),
            ),
            interval=900,
            min_interval=300,
            tracker_id=b"abc",
            warning="slow \ufffd",
            seeds=5,
            leechers=7,
        )

    def test_dictionaries_as_biglybt_sends_them(self, onion: Onion) -> None:
        peers: list[dict[bytes, Any]] = [
            {b"ip": onion(2).host.encode(), b"peer id": b"x" * 20, b"port": 1002},
            {b"ip": b"192.0.2.1", b"port": 6881},
            {b"ip": b"2001:DB8::1", b"port": 6881},
            {b"ip": b"192.0.2.1", b"port": 6881},
        ]
        reply = parse_announce_reply(encode({b"interval": 1800, b"peers": peers}))
        assert reply == AnnounceReply(
            peers=(onion(2), PeerAddress("192.0.2.1", 6881), PeerAddress("2001:db8::1", 6881))
        )

    @pytest.mark.parametrize(
        "peer",
        [
            b"string",
            5,
            {},
            {b"ip": b"192.0.2.1"},
            {b"ip": b"192.0.2.1", b"port": 0},
            {b"ip": b"192.0.2.1", b"port": 65536},
            {b"ip": b"192.0.2.1", b"port": -1},
            {b"ip": b"192.0.2.1", b"port": b"80"},
            {b"ip": 5, b"port": 80},
            {b"ip": b"", b"port": 80},
            {b"ip": b"localhost", b"port": 80},
            {b"ip": b"name.example", b"port": 80},
            {b"ip": b"abcdef.onion", b"port": 80},
            {b"ip": b"0x7f000001", b"port": 80},
            {b"ip": b"127.1", b"port": 80},
            {b"ip": b"fe80::1%eth0", b"port": 80},
            {b"ip": b"192.0.2.1\r\n", b"port": 80},
            {b"ip": b"\xb2\xb2", b"port": 80},
        ],
    )
    def test_peers_that_cannot_be_are_left_out(self, peer: Any) -> None:
        reply = parse_announce_reply(encode({b"peers": [peer]}))
        assert reply == AnnounceReply()

    def test_half_an_address_at_the_end_is_ignored(self) -> None:
        reply = parse_announce_reply(
            encode({b"peers": b"\xc0\x00\x02\x01\x1a\xe1\xc0", b"peers6": bytes(17)})
        )
        assert isinstance(reply, AnnounceReply)
        assert reply.peers == (PeerAddress("192.0.2.1", 6881),)

    def test_no_more_peers_than_the_limit(self) -> None:
        many = b"".join(n.to_bytes(4, "big") + b"\x00\x01" for n in range(2 * MAX_PEERS))
        reply = parse_announce_reply(encode({b"peers": many}))
        assert isinstance(reply, AnnounceReply)
        assert len(reply.peers) == MAX_PEERS

    @pytest.mark.parametrize(
        ("said", "interval", "min_interval"),
        [
            ({}, DEFAULT_INTERVAL, MIN_INTERVAL),
            ({b"interval": 0}, MIN_INTERVAL, MIN_INTERVAL),
            ({b"interval": -5}, MIN_INTERVAL, MIN_INTERVAL),
            ({b"interval": 2**62}, MAX_INTERVAL, MIN_INTERVAL),
            ({b"interval": b"900"}, DEFAULT_INTERVAL, MIN_INTERVAL),
            ({b"interval": 100, b"min interval": 900}, 900, 900),
            ({b"interval": 100, b"min interval": 2**62}, MAX_INTERVAL, MAX_INTERVAL),
        ],
    )
    def test_intervals_have_bounds(
        self, said: dict[bytes, Any], interval: int, min_interval: int
    ) -> None:
        assert parse_announce_reply(encode(said)) == AnnounceReply(
            interval=interval, min_interval=min_interval
        )

    def test_long_texts_and_ids_are_bounded(self) -> None:
        reply = parse_announce_reply(
            encode({b"tracker id": bytes(300), b"warning message": b"w" * 5000})
        )
        assert reply == AnnounceReply(warning="w" * MAX_TEXT)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b"le",
            b"i5e",
            b"d5:peers",
            b"d5:peers5:abce",
            b"d8:intervali1e8:intervali1ee",
            b"d1:a" + b"l" * 20 + b"e" * 21,
            b"d1:al" + b"i0e" * 60_000 + b"ee",
            b"d1:a2000000:" + bytes(2_000_000) + b"e",
        ],
    )
    def test_what_is_no_reply(self, body: bytes) -> None:
        with pytest.raises(TrackerError, match="cannot be read"):
            parse_announce_reply(body)
        with pytest.raises(TrackerError, match="cannot be read"):
            parse_scrape_reply(body, INFO_HASH)

    def test_bytes_after_the_reply_are_ignored(self) -> None:
        assert parse_announce_reply(b"de\r\n") == AnnounceReply()

    @given(st.binary(max_size=200))
    def test_random_bytes_are_read_or_refused(self, body: bytes) -> None:
        for text in (body, b"d5:peers" + body, b"d" + body + b"e"):
            try:
                parse_announce_reply(text)
            except TrackerError:
                continue


class TestRefusal:
    @pytest.mark.parametrize(
        ("retry", "expected"),
        [
            (None, Refusal("no")),
            (5, Refusal("no", retry_after=300)),
            (b"5", Refusal("no", retry_after=300)),
            (b"never", Refusal("no", is_final=True)),
            (b"soon", Refusal("no")),
            (b"9" * 5000, Refusal("no")),
            (0, Refusal("no")),
            (-5, Refusal("no")),
            (2**60, Refusal("no", retry_after=MAX_RETRY)),
            ([], Refusal("no")),
        ],
    )
    def test_when_to_come_back(self, retry: Any, expected: Refusal) -> None:
        said = {b"failure reason": b"no"} | ({} if retry is None else {b"retry in": retry})
        assert parse_announce_reply(encode(said)) == expected
        assert parse_scrape_reply(encode(said), INFO_HASH) == expected

    def test_an_empty_reason_is_a_refusal_all_the_same(self) -> None:
        assert parse_announce_reply(encode({b"failure reason": b""})) == Refusal("")

    def test_the_spelling_of_bep_48(self) -> None:
        assert parse_scrape_reply(encode({b"failure_reason": b"no"}), INFO_HASH) == Refusal("no")


class TestScrapeReply:
    def test_the_numbers_of_our_torrent(self) -> None:
        ours = {b"complete": 11, b"downloaded": 13772, b"incomplete": 19}
        body = encode({b"files": {INFO_HASH: ours, b"y" * 20: {b"complete": 1}}})
        assert parse_scrape_reply(body, INFO_HASH) == ScrapeReply(11, 19, 13772)

    def test_numbers_that_cannot_be_are_zero(self) -> None:
        body = encode({b"files": {INFO_HASH: {b"complete": -1, b"incomplete": b"5"}}})
        assert parse_scrape_reply(body, INFO_HASH) == ScrapeReply(0, 0, 0)

    @pytest.mark.parametrize("reply", [{}, {b"files": []}, {b"files": {b"y" * 20: {}}}])
    def test_another_torrent(self, reply: dict[bytes, Any]) -> None:
        with pytest.raises(TrackerError, match="does not know"):
            parse_scrape_reply(encode(reply), INFO_HASH)
