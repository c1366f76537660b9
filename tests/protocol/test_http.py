import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrent_onion.protocol.http import (
    MAX_REDIRECTS,
    MAX_RETRY_AFTER,
    MAX_URL,
    ContentRange,
    DroppedUrl,
    HttpError,
    HttpUrl,
    ResponseHead,
    UrlRefused,
    describe_dropped,
    follow_redirect,
    parse_url,
    read_head,
    request_headers,
    sort_out,
)

ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"


class TestUrl:
    @pytest.mark.parametrize(
        ("text", "url", "sent_as"),
        [
            ("http://t.example/announce", HttpUrl("http", "t.example", 80, "/announce"), None),
            ("HTTP://T.Example", HttpUrl("http", "t.example", 80, "/"), "http://t.example/"),
            ("http://t.example:80/", HttpUrl("http", "t.example", 80, "/"), "http://t.example/"),
            ("http://t.example:/", HttpUrl("http", "t.example", 80, "/"), "http://t.example/"),
            ("https://t.example:8443/a?k=1", HttpUrl("https", "t.example", 8443, "/a?k=1"), None),
            ("http://[2001:DB8::1]:81/", HttpUrl("http", "2001:db8::1", 81, "/"), None),
            ("http://192.0.2.1/?x", HttpUrl("http", "192.0.2.1", 80, "/?x"), None),
            (f"http://{ONION}./a", HttpUrl("http", ONION, 80, "/a"), f"http://{ONION}/a"),
            ("http://t.example/a#part", HttpUrl("http", "t.example", 80, "/a"), None),
            (
                "http://t.example/my file.iso",
                HttpUrl("http", "t.example", 80, "/my%20file.iso"),
                None,
            ),
            (
                "http://t.example/%20é?q=ü",
                HttpUrl("http", "t.example", 80, "/%20%C3%A9?q=%C3%BC"),
                None,
            ),
            ("http://t.example?a=b/c", HttpUrl("http", "t.example", 80, "/?a=b/c"), None),
        ],
    )
    def test_one_form(self, text: str, url: HttpUrl, sent_as: str | None) -> None:
        assert parse_url(text) == url
        assert parse_url(str(url)) == url
        assert sent_as is None or str(url) == sent_as

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("udp://t.example:6969/announce", "no UDP"),
            ("UDP://t.example:6969", "no UDP"),
            ("wss://t.example/", "browsers"),
            ("ws://t.example/", "browsers"),
            ("ftp://t.example/file", "only http"),
            ("file:///etc/passwd", "only http"),
            ("javascript:alert(1)", "only http"),
            ("dht://x", "only http"),
            ("", "not a valid URL"),
            ("t.example/announce", "not a valid URL"),
            ("//t.example/announce", "not a valid URL"),
            ("http:///announce", "plain ASCII"),
            ("http:t.example", "plain ASCII"),
            ("http://", "plain ASCII"),
            ("http://t..example/", "plain ASCII"),
            ("http://.t.example/", "plain ASCII"),
            ("http://t.example../", "plain ASCII"),
            ("http://" + "a" * 64 + ".example/", "plain ASCII"),
            ("http://" + "a." * 130 + "example/", "plain ASCII"),
            ("http://tr\u00e4cker.example/", "plain ASCII"),
            ("http://\u212aelvin.example/", "plain ASCII"),
            ("http://t%2eexample/", "plain ASCII"),
            ("http://t.example\\@other.example/", "user name"),
            ("http://a b.example/", "plain ASCII"),
            ("http://user:secret@t.example/", "user name"),
            (f"http://{ONION}@t.example/", "user name"),
            ("http://t.example:0/", "port is 0"),
            ("http://t.example:65536/", "not a valid URL"),
            ("http://t.example:x/", "not a valid URL"),
            ("http://[::1/", "not a valid URL"),
            ("http://[::g]/", "not a valid URL|IPv6"),
            ("http://[fe80::1%25eth0]/", "not a valid URL|IPv6"),
            ("http://t.example/\r\nHost: other", "characters"),
            ("http://t.exa\tmple/", "characters"),
            (" http://t.example/", "characters"),
            ("http://t.example/\x00", "characters"),
            ("http://t.example/" + "a" * MAX_URL, "too long"),
            ("http://t.example/" + "é" * (MAX_URL // 2), "too long"),
        ],
    )
    def test_what_is_not_used_and_why(self, text: str, reason: str) -> None:
        with pytest.raises(UrlRefused, match=reason):
            parse_url(text)

    @given(
        st.text() | st.text().map("http://t.example/".__add__) | st.text().map("http://{}".format)
    )
    def test_any_text_is_refused_or_safe_to_send(self, text: str) -> None:
        try:
            url = parse_url(text)
        except UrlRefused:
            return
        for part in (url.target, url.host_header):
            assert part.isascii()
            assert part.isprintable()
            assert " " not in part
        assert url.target.startswith("/")
        assert parse_url(str(url)) == url

    def test_sorting_out(self) -> None:
        urls = [
            "http://A.example/a",
            "udp://b.example:1",
            "https://c.example/x",
            "http://a.example/a",
        ]
        usable, dropped = sort_out(urls)
        assert usable == (parse_url("http://a.example/a"), parse_url("https://c.example/x"))
        assert dropped == (DroppedUrl("udp://b.example:1", "Tor carries no UDP"),)

    def test_what_is_dropped_is_told_in_one_line_without_keys(self) -> None:
        _, dropped = sort_out(
            [
                *(f"udp://t{number}.example:6969/announce?passkey=secret" for number in range(5)),
                "wss://w.example",
                "http://user:password@u.example/key",
            ]
        )
        assert describe_dropped("trackers", dropped) == (
            "Not used as trackers: udp://t0.example:6969, udp://t1.example:6969, "
            "udp://t2.example:6969 and 2 more (Tor carries no UDP); "
            "wss://w.example (WebSocket is for browsers only); "
            "http://u.example (it holds a user name, which would tell who asks)."
        )
        assert describe_dropped("trackers", ()) is None


class TestRedirect:
    @pytest.mark.parametrize(
        ("url", "location", "target"),
        [
            ("http://a.example/x", "http://b.example/y", "http://b.example/y"),
            ("http://a.example/x", "https://a.example/x", "https://a.example/x"),
            ("http://a.example/x", f"http://{ONION}/", f"http://{ONION}/"),
            ("https://a.example/x", f"https://{ONION}/", f"https://{ONION}/"),
            (f"http://{ONION}/x", f"http://{ONION}:81/y", f"http://{ONION}:81/y"),
            (f"http://{ONION}/x", f"http://{ONION.upper()}./y", f"http://{ONION}/y"),
            ("https://a.example:8443/x/y?z=1", "../w", "https://a.example:8443/w"),
            ("https://a.example:8443/x/y", "//b.example/w", "https://b.example/w"),
            ("http://a.example/x?y=1", "?y=2", "http://a.example/x?y=2"),
            # Where the dialer draws the line: it refuses these like any other private address.
            ("http://a.example/x", "http://127.0.0.1:9051/", "http://127.0.0.1:9051/"),
        ],
    )
    def test_where_it_leads(self, url: str, location: str, target: str) -> None:
        assert str(follow_redirect(parse_url(url), location, 0)) == target

    @pytest.mark.parametrize(
        ("url", "location", "reason"),
        [
            (f"http://{ONION}/", "http://a.example/", "onion service to the clearnet"),
            (f"http://{ONION}/", "//a.example/", "onion service to the clearnet"),
            (f"http://{ONION}./", "https://a.example/", "onion service to the clearnet"),
            (f"http://{ONION}/", "http://onion/", "onion service to the clearnet"),
            (f"http://{ONION}/", f"http://a.example/{ONION}", "onion service to the clearnet"),
            (f"http://{ONION}/", f"http://{ONION}.example/", "onion service to the clearnet"),
            ("https://a.example/", "http://a.example/", "https to http"),
            (f"https://{ONION}/", f"http://{ONION}/", "https to http"),
            ("https://a.example/", f"http://{ONION}/", "https to http"),
            ("http://a.example/", "udp://a.example:1/", "no UDP"),
            ("http://a.example/", "file:///etc/passwd", "only http"),
            ("http://a.example/", "data:text/plain,x", "only http"),
            ("http://a.example/", "http://b.exam\tple/", "characters"),
            ("http://a.example/", "http://b.example/\r\nX: y", "characters"),
            ("http://a.example/", "http://user@b.example/", "user name"),
            ("http://a.example/", "http://[::1/", "not a valid URL"),
            ("http://a.example/", "http://b.example:99999/", "not a valid URL"),
            ("http://a.example/", "/" + "a" * MAX_URL, "too long"),
        ],
    )
    def test_where_we_do_not_go(self, url: str, location: str, reason: str) -> None:
        with pytest.raises(HttpError, match=reason):
            follow_redirect(parse_url(url), location, 0)

    def test_not_too_often(self) -> None:
        url = parse_url("http://a.example/")
        follow_redirect(url, "/b", MAX_REDIRECTS - 1)
        with pytest.raises(HttpError, match="more than 5 times"):
            follow_redirect(url, "/b", MAX_REDIRECTS)

    @given(
        st.sampled_from([f"http://{ONION}/a", f"https://{ONION}/a", "https://a.example/"]),
        st.text(),
    )
    def test_no_text_leads_out_of_an_onion_or_out_of_tls(self, url: str, location: str) -> None:
        source = parse_url(url)
        for text in (location, f"//{location}", f"http://{location}"):
            try:
                target = follow_redirect(source, text, 0)
            except HttpError:
                continue
            assert target.is_onion or not source.is_onion
            assert target.is_encrypted or not source.is_encrypted


class TestHeaders:
    def test_exactly_these(self) -> None:
        """A new header must not appear unnoticed: it would tell clients apart."""
        assert request_headers(parse_url("https://t.example:444/a")) == [
            ("Host", "t.example:444"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        assert request_headers(parse_url("http://[2001:db8::1]/a"), range(5, 10)) == [
            ("Host", "[2001:db8::1]"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
            ("Range", "bytes=5-9"),
        ]

    def test_what_is_read_of_an_answer(self) -> None:
        headers = [
            (b"set-cookie", b"id=1"),
            (b"content-length", b"5"),
            (b"content-range", b"bytes 5-9/100"),
            (b"location", b"/x"),
            (b"content-encoding", b"Identity"),
            (b"retry-after", b"120"),
        ]
        assert read_head(206, headers) == ResponseHead(206, 5, "/x", ContentRange(5, 10, 100), 120)
        assert read_head(200, []) == ResponseHead(200)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"bytes 0-0/*", ContentRange(0, 1, None)),
            (b"bytes */100", None),
            (b"bytes 5-/100", None),
            (b"bytes -5/100", None),
            (b"items 0-0/1", None),
            (b"bytes 0-" + b"9" * 20 + b"/*", None),
        ],
    )
    def test_ranges(self, value: bytes, expected: ContentRange | None) -> None:
        assert read_head(206, [(b"content-range", value)]).content_range == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"0", 0),
            (b"999999999", MAX_RETRY_AFTER),
            (b"-5", None),
            (b"1e3", None),
            (b"9" * 5000, None),
            (b"Fri, 31 Dec 1999 23:59:59 GMT", None),
        ],
    )
    def test_when_to_come_back(self, value: bytes, expected: int | None) -> None:
        assert read_head(503, [(b"retry-after", value)]).retry_after == expected

    @pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"GZIP"])
    def test_compressed_answers_are_refused(self, encoding: bytes) -> None:
        headers = [(b"content-encoding", b"identity"), (b"content-encoding", encoding)]
        with pytest.raises(HttpError, match="compresses"):
            read_head(200, headers)

    def test_two_lengths_are_refused(self) -> None:
        headers = [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]
        with pytest.raises(HttpError, match="two lengths"):
            read_head(200, headers)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects(self, status: int) -> None:
        assert read_head(status, [(b"location", b"/x")]).is_redirect
        assert not read_head(status, []).is_redirect

    @pytest.mark.parametrize("status", [200, 206, 300, 304, 305, 404, 503])
    def test_no_redirects(self, status: int) -> None:
        assert not read_head(status, [(b"location", b"/x")]).is_redirect
