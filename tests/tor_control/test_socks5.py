from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tor_control.errors import (
    DialError,
    IsolationRefused,
    OnionDescriptorNotFound,
    OnionIntroductionFailed,
    SocksProtocolViolation,
    SocksUnavailable,
    TorError,
    UnknownReply,
)
from tor_control.socks5 import REPLY_ERRORS, Socks5Client

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
GREETING = b"\x05\x01\x02"
METHOD = b"\x05\x02"
CONFIRMED = b"\x01\x00"
BOUND_IPV4 = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
BOUND_IPV6 = b"\x05\x00\x00\x04" + bytes(18)
BOUND_NAME = b"\x05\x00\x00\x03\x07example\x00\x50"
BOUND_EMPTY_NAME = b"\x05\x00\x00\x03\x00\x00\x50"
SUCCESSES = [BOUND_IPV4, BOUND_IPV6, BOUND_NAME, BOUND_EMPTY_NAME]


def client(host: str = ONION, port: int = 6881, isolation: bytes = b"token") -> Socks5Client:
    return Socks5Client(host, port, isolation)


def error_reply(code: int) -> bytes:
    return bytes([5, code, 0, 4]) + bytes(18)  # as tor sends it: 22 bytes, ATYP 4


def feed(attempt: Socks5Client, data: bytes) -> bytes:
    """Feed as much as is wanted, as a socket would; return what was left unread."""
    while data and attempt.wanted:
        taken, data = data[: attempt.wanted], data[attempt.wanted :]
        attempt.receive_data(taken)
    return data


def opened(reply: bytes = BOUND_IPV4) -> Socks5Client:
    attempt = client()
    assert feed(attempt, METHOD + CONFIRMED + reply) == b""
    return attempt


def test_the_bytes_that_are_sent() -> None:
    attempt = client("example.org", 0x1234, b"secret")
    assert attempt.data_to_send() == GREETING
    assert attempt.data_to_send() == b""
    attempt.receive_data(METHOD)
    assert attempt.data_to_send() == b"\x01\x09<torS0X>0\x06secret"
    attempt.receive_data(CONFIRMED)
    assert attempt.data_to_send() == b"\x05\x01\x00\x03\x0bexample.org\x12\x34"
    assert attempt.data_to_send() == b""


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "::1", "2620:0:ccc::2", ONION])
def test_every_host_is_sent_as_a_name(host: str) -> None:
    attempt = client(host)
    feed(attempt, METHOD)
    attempt.data_to_send()
    feed(attempt, CONFIRMED)
    sent = attempt.data_to_send()
    assert sent == b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + b"\x1a\xe1"


@pytest.mark.parametrize("reply", SUCCESSES)
def test_open(reply: bytes) -> None:
    attempt = opened(reply)
    assert attempt.wanted == 0
    attempt.receive_eof()


@pytest.mark.parametrize("reply", SUCCESSES)
def test_no_byte_of_the_stream_behind_is_taken(reply: bytes) -> None:
    assert feed(client(), METHOD + CONFIRMED + reply + b"early data") == b"early data"


def test_more_than_wanted_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="more bytes than wanted"):
        client().receive_data(b"\x05\x02\x01")
    with pytest.raises(ValueError, match="more bytes than wanted"):
        opened().receive_data(b"x")


@pytest.mark.parametrize("method", [0x00, 0x01, 0x03, 0x80, 0xFF])
def test_any_other_method_ends_the_attempt(method: int) -> None:
    attempt = client()
    attempt.data_to_send()
    with pytest.raises(IsolationRefused):
        attempt.receive_data(bytes([5, method]))
    assert attempt.data_to_send() == b""


@pytest.mark.parametrize(
    "answer", [b"\x01\x01", b"\x01\xff", b"\x05\x00", b"\x00\x00", b"\x02\x00"]
)
def test_any_other_confirmation_ends_the_attempt(answer: bytes) -> None:
    attempt = client()
    attempt.receive_data(METHOD)
    attempt.data_to_send()
    with pytest.raises(IsolationRefused):
        attempt.receive_data(answer)
    assert attempt.data_to_send() == b""


def test_the_host_is_not_named_before_isolation_is_confirmed() -> None:
    attempt = client("example.org")
    sent = attempt.data_to_send()
    attempt.receive_data(METHOD)
    sent += attempt.data_to_send()
    assert b"example" not in sent


@pytest.mark.parametrize("data", [b"HT", b"\x04\x5a", b"\x00\x02", b"55"])
def test_something_that_is_not_socks(data: bytes) -> None:
    with pytest.raises(SocksProtocolViolation):
        client().receive_data(data)


@pytest.mark.parametrize(
    "head",
    [b"\x04\x00\x00\x01", b"\x05\x00\x01\x01", b"\x05\x00\x00\x00", b"\x05\x00\x00\x02", b"HTTP"],
)
def test_replies_that_are_not_socks(head: bytes) -> None:
    attempt = client()
    feed(attempt, METHOD + CONFIRMED)
    with pytest.raises(SocksProtocolViolation):
        attempt.receive_data(head)


@pytest.mark.parametrize("code", range(1, 256))
def test_every_reply_has_a_named_error(code: int) -> None:
    with pytest.raises(DialError) as caught:
        feed(client(), METHOD + CONFIRMED + error_reply(code))
    assert type(caught.value) is REPLY_ERRORS.get(code, UnknownReply)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, TorError)


def test_the_replies_that_a_seeder_that_left_causes() -> None:
    assert REPLY_ERRORS[0xF0] is OnionDescriptorNotFound
    assert REPLY_ERRORS[0xF2] is OnionIntroductionFailed
    assert len(set(REPLY_ERRORS.values())) == 16


def test_a_failed_attempt_stays_failed() -> None:
    attempt = client()
    with pytest.raises(IsolationRefused):
        attempt.receive_data(b"\x05\x00")
    with pytest.raises(ValueError, match="wanted"):
        attempt.receive_data(b"")
    assert attempt.data_to_send() == b""


@pytest.mark.parametrize("received", range(len(METHOD + CONFIRMED + BOUND_NAME)))
def test_the_end_in_every_place(received: int) -> None:
    attempt = client()
    assert feed(attempt, (METHOD + CONFIRMED + BOUND_NAME)[:received]) == b""
    with pytest.raises(SocksUnavailable):
        attempt.receive_eof()


@pytest.mark.parametrize("reply", SUCCESSES)
@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_every_byte_split(reply: bytes, step: int) -> None:
    data = METHOD + CONFIRMED + reply
    attempt = client()
    sent = attempt.data_to_send()
    for start in range(0, len(data), step):
        assert feed(attempt, data[start : start + step]) == b""
        sent += attempt.data_to_send()
    assert attempt.wanted == 0
    assert sent.startswith(GREETING + b"\x01\x09<torS0X>0\x05token\x05\x01\x00\x03")


def splits(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((data[:i], data[i:]) for i in range(len(data) + 1))


@pytest.mark.parametrize("reply", SUCCESSES)
def test_every_single_split(reply: bytes) -> None:
    for before, after in splits(METHOD + CONFIRMED + reply):
        attempt = client()
        assert feed(attempt, before) == b""
        assert feed(attempt, after + b"x") == b"x"


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=20))
def test_random_bytes_end_in_a_dial_error_or_wait_for_more(chunks: list[bytes]) -> None:
    attempt = client()
    try:
        for chunk in chunks:
            if feed(attempt, chunk):
                assert attempt.wanted == 0
                return
    except DialError:
        assert attempt.data_to_send() == b""


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_random_bytes_after_authentication(reply: bytes, rest: bytes) -> None:
    attempt = client()
    feed(attempt, METHOD + CONFIRMED)
    try:
        left = feed(attempt, reply + rest)
    except DialError:
        return
    assert attempt.wanted == 0 or not left
    assert attempt.wanted <= 257


@given(st.binary(min_size=1, max_size=255))
def test_isolation_tokens(token: bytes) -> None:
    attempt = client(isolation=token)
    attempt.data_to_send()
    attempt.receive_data(METHOD)
    assert attempt.data_to_send().endswith(b"<torS0X>0" + bytes([len(token)]) + token)


@pytest.mark.parametrize("token", [b"", bytes(256)])
def test_tokens_that_do_not_fit(token: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        client(isolation=token)


@pytest.mark.parametrize("host", ["", "a" * 256, "b\u00fccher.de"])
def test_hosts_that_do_not_fit(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the last one is a UnicodeEncodeError
        client(host)
