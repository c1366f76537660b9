"""What a tracker makes of a query, and of the announces of our own clients above all."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from torrent_onion.core.bencoding import TRACKER_LIMITS, decode
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.protocol.tracker import (
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
from torrent_onion.protocol.tracker_server import (
    DEFAULT_PEERS,
    INTERVAL,
    MAX_DICTIONARY_PEERS,
    MAX_PEERS,
    MAX_QUERY,
    MAX_SCRAPE,
    MIN_INTERVAL,
    PROOF_MINUTES,
    Announce,
    BadQuery,
    TorrentNumbers,
    announce_reply,
    failure_reply,
    is_proven,
    peers_wanted,
    read_announce,
    read_scrape,
    scrape_reply,
)

Onion = Callable[[int], PeerAddress]

HASH = b"\x00 %&+/~h" + b"a" * 12
TRACKER = "http://xyz.onion/announce"
MINUTE = 29_000_000
NUMBERS = TorrentNumbers(complete=3, incomplete=2, downloaded=7)
REQUEST = AnnounceRequest(info_hash=HASH, peer_id=PeerId(b"+%&=" * 5), key=b"\x0a\xb0\xff\x01")


def query(*extra: str, info_hash: bytes = HASH, peer_id: bytes = b"p" * 20) -> bytes:
    parts = (f"info_hash={quote_from_bytes(info_hash)}", f"peer_id={quote_from_bytes(peer_id)}")
    return "&".join((*parts, *extra)).encode()


def query_of(url: str) -> bytes:
    return url.partition("?")[2].encode()


def signing_key(number: int) -> SigningKey:
    """As the ``onion`` fixture makes it."""
    return SigningKey(number.to_bytes(32, "big"))


def signed(
    onion: PeerAddress, key: SigningKey, *, minute: int = MINUTE, **changes: str
) -> Announce:
    """What the tracker reads of an announce of ours; ``tracker`` is what the proof is made for."""
    message = onion_proof_message(HASH, changes.get("tracker", TRACKER), minute)
    request = replace(REQUEST, own_address=onion, onion_sig=key.sign(message).signature)
    return read_announce(query_of(request.url(TRACKER)))


class TestReadAnnounce:
    @pytest.mark.parametrize("event", [None, *AnnounceEvent])
    @pytest.mark.parametrize("left", [0, 1, None])
    def test_what_our_client_sends_is_understood(
        self, onion: Onion, event: AnnounceEvent | None, left: int | None
    ) -> None:
        request = replace(
            REQUEST, left=left, event=event, own_address=onion(1), onion_sig=bytes(range(64))
        )
        assert read_announce(query_of(request.url(TRACKER))) == Announce(
            info_hash=HASH,
            peer_id=b"+%&=" * 5,
            is_seed=left == 0,
            event=event,
            num_want=0 if event is AnnounceEvent.STOPPED else 200,
            onion=onion(1).to_compact_onion(),
            signature=bytes(range(64)),
        )

    def test_the_least_that_is_an_announce(self) -> None:
        assert read_announce(query()) == Announce(info_hash=HASH, peer_id=b"p" * 20)

    def test_what_a_tracker_does_not_need_is_not_looked_at(self) -> None:
        noise = ("passkey=x", "passkey=y", "", "ip6=::1", "x=%ff", "&", "=", "key=1")
        assert read_announce(query(*noise)) == Announce(info_hash=HASH, peer_id=b"p" * 20)

    @pytest.mark.parametrize("event", ["event=", "event=empty"])
    def test_no_event_in_other_words(self, event: str) -> None:
        assert read_announce(query(event)).event is None

    @pytest.mark.parametrize("left", ["", "-1", "abc", "0x0", "00000000000000000000000", "١"])
    def test_who_does_not_say_that_nothing_is_left_is_no_seed(self, left: str) -> None:
        assert not read_announce(query(f"left={quote_from_bytes(left.encode())}")).is_seed

    @pytest.mark.parametrize("want", ["numwant=-1", "numwant=", "numwant=many", ""])
    def test_who_does_not_say_how_many_it_wants(self, want: str) -> None:
        assert read_announce(query(want)).num_want is None

    @pytest.mark.parametrize(
        "parts",
        [
            ("ip=192.0.2.1", "port=80"),
            ("ip=::1", "port=80"),
            ("ip=tracker.example", "port=80"),
            (f"ip={'a' * 55}.onion", "port=80"),
            (f"ip={'1' * 56}.onion", "port=80"),
            (f"ip={'a' * 56}.onion.", "port=80"),
            (f"ip=x.{'a' * 56}.onion", "port=80"),
            (f"ip={'a' * 56}.onion%00", "port=80"),
            (f"ip={'a' * 56}.onion", "port=0"),
            (f"ip={'a' * 56}.onion", "port=65536"),
            (f"ip={'a' * 56}.onion", "port="),
            (f"ip={'a' * 56}.onion",),
        ],
    )
    def test_what_is_no_onion_is_no_address(self, parts: tuple[str, ...]) -> None:
        assert read_announce(query(*parts)).onion is None

    def test_an_onion_in_capitals(self, onion: Onion) -> None:
        announce = read_announce(query(f"ip={onion(1).host.upper()[:56]}.onion", "port=1001"))
        assert announce.onion == onion(1).to_compact_onion()

    @pytest.mark.parametrize("size", [0, 63, 65, 128])
    def test_a_signature_of_another_size_is_none(self, size: int) -> None:
        assert read_announce(query(f"onion_sig={'a' * size}")).signature is None

    @pytest.mark.parametrize(
        "wrong",
        [
            b"",
            b"info_hash=" + b"a" * 20,
            b"peer_id=" + b"a" * 20,
            b"info_hash=aaa&peer_id=" + b"a" * 20,
            b"info_hash=" + b"a" * 21 + b"&peer_id=" + b"a" * 20,
            b"info_hash=" + b"a" * 40 + b"&peer_id=" + b"a" * 20,
            query("event=stop"),
            query("event=STARTED"),
            query("left=1", "left=0"),
            query(f"info_hash={'b' * 20}"),
            query("x=%"),
            query("x=%1"),
            query("x=%1g"),
            query("%=1"),
            query("x=%%31"),
            query("x=" + "y" * MAX_QUERY),
            b"&" * (MAX_QUERY + 1),
        ],
    )
    def test_what_is_refused(self, wrong: bytes) -> None:
        with pytest.raises(BadQuery) as caught:
            read_announce(wrong)
        assert str(caught.value).endswith(".")

    @given(
        st.binary(max_size=300) | st.text(alphabet="info_hash&=%0a", max_size=300).map(str.encode)
    )
    @example(b"\xff" * 100)
    def test_anything_is_read_or_refused(self, data: bytes) -> None:
        for read in (read_announce, read_scrape):
            for whole in (data, query() + b"&" + data):
                try:
                    read(whole)
                except BadQuery:
                    continue


class TestProof:
    def test_the_owner_of_an_onion_is_believed(self, onion: Onion) -> None:
        assert is_proven(signed(onion(1), signing_key(1)), TRACKER, MINUTE)

    @pytest.mark.parametrize("offset", range(-PROOF_MINUTES - 2, PROOF_MINUTES + 3))
    def test_clocks_may_differ_by_some_minutes(self, onion: Onion, offset: int) -> None:
        announce = signed(onion(1), signing_key(1), minute=MINUTE + offset)
        assert is_proven(announce, TRACKER, MINUTE) == (abs(offset) <= PROOF_MINUTES)

    def test_another_key_is_not(self, onion: Onion) -> None:
        assert not is_proven(signed(onion(1), signing_key(2)), TRACKER, MINUTE)

    @pytest.mark.parametrize(
        "tracker", ["http://other.onion/announce", "http://xyz.onion.example/announce"]
    )
    def test_a_proof_for_another_tracker_is_not(self, onion: Onion, tracker: str) -> None:
        announce = signed(onion(1), signing_key(1), tracker=tracker)
        assert not is_proven(announce, TRACKER, MINUTE)

    def test_the_port_of_the_tracker_does_not_matter(self, onion: Onion) -> None:
        announce = signed(onion(1), signing_key(1), tracker="http://XYZ.onion:81/announce?a=b")
        assert is_proven(announce, TRACKER, MINUTE)

    def test_a_proof_for_another_torrent_is_not(self, onion: Onion) -> None:
        announce = replace(signed(onion(1), signing_key(1)), info_hash=b"o" * 20)
        assert not is_proven(announce, TRACKER, MINUTE)

    def test_any_change_of_the_signature_breaks_it(self, onion: Onion) -> None:
        announce = signed(onion(1), signing_key(1))
        assert announce.signature is not None
        for position in range(0, 64, 7):
            changed = bytearray(announce.signature)
            changed[position] ^= 1
            assert not is_proven(replace(announce, signature=bytes(changed)), TRACKER, MINUTE)

    @pytest.mark.parametrize("missing", ["onion", "signature"])
    def test_half_of_it_is_none(self, onion: Onion, missing: str) -> None:
        announce = replace(signed(onion(1), signing_key(1)), **{missing: None})  # type: ignore[arg-type]  # a field that may be None
        assert not is_proven(announce, TRACKER, MINUTE)

    def test_the_example_in_the_documentation(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "onion-peers.md").read_text()
        tracker = re.findall(r"`(http://[a-z2-7]{56}\.onion/announce)`", page)[-1]
        signature = "".join(re.findall(r"^[0-9a-f]{64}$", page, re.MULTILINE)[-2:])
        key = SigningKey(bytes(range(32)))
        message = onion_proof_message(bytes(range(20)), tracker, 29_000_000)
        assert key.sign(message).signature.hex() == signature

    @pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
    def test_keys_that_anything_would_fit(self, key: bytes) -> None:
        """Points of small order: with them a signature of zeros verifies in careless libraries."""
        announce = Announce(HASH, b"p" * 20, onion=key + b"\0\x50", signature=bytes(64))
        assert not is_proven(announce, TRACKER, MINUTE)
        announce = replace(announce, signature=b"\x01" + bytes(63))
        assert not is_proven(announce, TRACKER, MINUTE)


class TestReadScrape:
    def test_what_our_client_sends_is_understood(self) -> None:
        url = scrape_url(TRACKER, HASH)
        assert url is not None
        assert read_scrape(query_of(url)) == (HASH,)

    def test_several_torrents_each_once(self) -> None:
        hashes = [bytes([number]) * 20 for number in (3, 1, 3, 2)]
        text = "&".join(f"info_hash={quote_from_bytes(one)}" for one in hashes)
        assert read_scrape(text.encode()) == (hashes[0], hashes[1], hashes[3])

    @pytest.mark.parametrize(
        "wrong",
        [
            b"",
            b"x=1",
            b"info_hash=",
            b"info_hash=" + b"a" * 19,
            b"info_hash=" + b"a" * 20 + b"&info_hash=b",
            b"info_hash=%zz",
            b"&".join([b"info_hash=" + b"a" * 20] * (MAX_SCRAPE + 1)),
        ],
    )
    def test_what_is_refused(self, wrong: bytes) -> None:
        with pytest.raises(BadQuery):
            read_scrape(wrong)

    def test_the_most_that_may_be_asked_fits_into_a_query(self) -> None:
        hashes = [bytes([number]) * 20 for number in range(128, 128 + MAX_SCRAPE)]
        text = "&".join("info_hash=" + "".join(f"%{byte:02X}" for byte in one) for one in hashes)
        assert len(read_scrape(text.encode())) == MAX_SCRAPE


class TestReplies:
    def test_ours_get_the_compact_form(self, onion: Onion) -> None:
        peers = (onion(1), onion(2))
        body = announce_reply(
            NUMBERS, b"".join(peer.to_compact_onion() for peer in peers), dictionaries=False
        )
        assert parse_announce_reply(body) == AnnounceReply(
            peers=peers, interval=INTERVAL, min_interval=MIN_INTERVAL, seeds=3, leechers=2
        )

    def test_others_get_dictionaries(self, onion: Onion) -> None:
        body = announce_reply(NUMBERS, onion(1).to_compact_onion(), dictionaries=True)
        reply = decode(body, limits=TRACKER_LIMITS, canonical=True)
        assert isinstance(reply, dict)
        assert reply[b"peers"] == [{b"ip": onion(1).host.encode(), b"port": 1001}]
        assert b"peers_onion" not in reply
        ours = parse_announce_reply(body)
        assert isinstance(ours, AnnounceReply)
        assert ours.peers == (onion(1),)

    def test_a_reply_holds_exactly_this(self) -> None:
        """A new key must not appear unnoticed: it could tell about those who asked."""
        body = announce_reply(NUMBERS, b"", interval=300, dictionaries=False, warning="Oh.")
        assert body == (
            b"d8:completei3e10:downloadedi7e10:incompletei2e8:intervali300e12:min intervali60e"
            b"5:peers0:11:peers_onion0:15:warning message3:Oh.e"
        )

    def test_a_scrape_holds_exactly_this(self) -> None:
        body = scrape_reply({HASH: NUMBERS})
        assert body == (
            b"d5:filesd20:" + HASH + b"d8:completei3e10:downloadedi7e10:incompletei2eeee"
        )
        assert parse_scrape_reply(body, HASH) == ScrapeReply(seeds=3, leechers=2, downloaded=7)

    def test_refusals(self) -> None:
        assert parse_announce_reply(failure_reply("No.")) == Refusal("No.")
        final = failure_reply("Never.", is_final=True)
        assert parse_announce_reply(final) == Refusal("Never.", is_final=True)


@pytest.mark.parametrize(
    ("num_want", "event", "ours", "others"),
    [
        (None, None, DEFAULT_PEERS, DEFAULT_PEERS),
        (0, None, 0, 0),
        (7, None, 7, 7),
        (10**18, None, MAX_PEERS, MAX_DICTIONARY_PEERS),
        (7, AnnounceEvent.STOPPED, 0, 0),
        (7, AnnounceEvent.COMPLETED, 7, 7),
    ],
)
def test_how_many_peers_are_given(
    num_want: int | None, event: AnnounceEvent | None, ours: int, others: int
) -> None:
    announce = Announce(HASH, b"p" * 20, num_want=num_want, event=event)
    assert peers_wanted(announce, dictionaries=False) == ours
    assert peers_wanted(announce, dictionaries=True) == others
