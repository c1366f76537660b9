"""A SOCKS 5 client for tor's SOCKS port (RFC 1928, 1929; tor's socks-extensions): no I/O (pure).

Rules:

- Only user/password is offered, and it must be confirmed byte for byte: ``05 02``, then ``01 00``.
  User and password keep circuits apart, so a server that would go on without them is left before
  it learns where we want to go.
- The host is always sent as a name (ATYP 3), an IP address too: nothing here resolves, and tor with
  ``SafeSocks 1`` takes nothing else.
- Framing is exact: :attr:`Socks5Client.wanted` says how many bytes may be read next, so nothing
  of the stream that follows is taken.

The caller sends what :meth:`Socks5Client.data_to_send` gives, reads at most ``wanted`` bytes, hands
them to :meth:`Socks5Client.receive_data`, and goes on until ``wanted`` is 0.
"""

from enum import Enum, auto

from socksio.socks5 import (
    SOCKS5AType,
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5UsernamePasswordRequest,
)

from tor_control import errors
from tor_control.errors import (
    DialError,
    IsolationRefused,
    SocksProtocolViolation,
    SocksUnavailable,
    UnknownReply,
)

ISOLATION_USER = b"<torS0X>0"
"""Format 0 of tor's extended user names (proposal 351): the password is the isolation token."""
MAX_ISOLATION_LENGTH = 255
"""Bytes in a password (RFC 1929). An empty one would share a circuit with everybody else's."""
MAX_HOST_LENGTH = 255
"""Bytes in a SOCKS 5 domain name."""

_METHOD_CONFIRMED = b"\x05\x02"
_AUTH_CONFIRMED = b"\x01\x00"
_REPLY_HEAD_LENGTH = 4  # VER REP RSV ATYP
_PORT_LENGTH = 2
_VERSION = 5
_SUCCEEDED = 0

REPLY_ERRORS: dict[int, type[DialError]] = {
    0x01: errors.GeneralFailure,
    0x02: errors.NotAllowed,
    0x03: errors.NetworkUnreachable,
    0x04: errors.HostUnreachable,
    0x05: errors.ConnectionRefusedByHost,
    0x06: errors.TtlExpired,
    0x07: errors.CommandNotSupported,
    0x08: errors.AddressTypeNotSupported,
    0xF0: errors.OnionDescriptorNotFound,
    0xF1: errors.OnionDescriptorInvalid,
    0xF2: errors.OnionIntroductionFailed,
    0xF3: errors.OnionRendezvousFailed,
    0xF4: errors.OnionAuthMissing,
    0xF5: errors.OnionAuthWrong,
    0xF6: errors.OnionAddressRejected,
    0xF7: errors.OnionIntroductionTimedOut,
}
"""REP of RFC 1928, and tor's extended replies (socks-extensions, "Extended error codes")."""


class _State(Enum):
    """What the bytes that come next are."""

    METHOD = auto()
    AUTH = auto()
    REPLY_HEAD = auto()
    NAME_LENGTH = auto()
    BOUND_ADDRESS = auto()
    OPEN = auto()
    FAILED = auto()


class Socks5Client:
    """One connection attempt.

    Args:
        host: What to connect to, ASCII; it must have been judged by the address policy already.
        port: 1 to 65535.
        isolation: The token that keeps this connection's circuit apart, 1 to 255 bytes.

    Raises:
        ValueError: An argument does not fit the protocol.
    """

    def __init__(self, host: str, port: int, isolation: bytes) -> None:
        if not 1 <= len(isolation) <= MAX_ISOLATION_LENGTH:
            raise ValueError(f"an isolation token has 1 to {MAX_ISOLATION_LENGTH} bytes")
        name = host.encode("ascii")
        if not 1 <= len(name) <= MAX_HOST_LENGTH:
            raise ValueError(f"a host has 1 to {MAX_HOST_LENGTH} bytes")
        self._auth = SOCKS5UsernamePasswordRequest(ISOLATION_USER, isolation).dumps()
        self._connect = SOCKS5CommandRequest(
            SOCKS5Command.CONNECT, SOCKS5AType.DOMAIN_NAME, name, port
        ).dumps()
        self._outgoing = SOCKS5AuthMethodsRequest([SOCKS5AuthMethod.USERNAME_PASSWORD]).dumps()
        self._incoming = bytearray()
        self._expect(_State.METHOD, len(_METHOD_CONFIRMED))

    @property
    def wanted(self) -> int:
        """How many bytes, at most, may be read next; 0 when the connection is open."""
        return self._length - len(self._incoming)

    def data_to_send(self) -> bytes:
        """Take what must be sent now; empty when it is tor's turn."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes that tor sent, at most :attr:`wanted` of them.

        Raises:
            IsolationRefused: User and password were not confirmed.
            SocksProtocolViolation: This is not SOCKS 5.
            DialError: Tor's own reply, as the class of :data:`REPLY_ERRORS` that it stands for.
            ValueError: More than ``wanted``, or an attempt that has failed is used again.
        """
        if len(data) > self.wanted or self._state is _State.FAILED:
            raise ValueError("more bytes than wanted")
        self._incoming += data
        try:
            while self._state is not _State.OPEN and not self.wanted:
                self._message(bytes(self._incoming))
        except DialError:
            self._expect(_State.FAILED, 0)
            self._outgoing = b""
            raise

    def receive_eof(self) -> None:
        """Say that tor closed the connection; while bytes are wanted that is a failure.

        Raises:
            SocksUnavailable: It did so before its answer was whole.
        """
        if self.wanted:
            raise SocksUnavailable

    def _expect(self, state: _State, length: int) -> None:
        self._state, self._length = state, length
        self._incoming.clear()

    def _message(self, message: bytes) -> None:
        match self._state:
            case _State.METHOD:
                self._method(message)
            case _State.AUTH:
                self._authenticated(message)
            case _State.REPLY_HEAD:
                self._reply(message)
            case _State.NAME_LENGTH:
                self._expect(_State.BOUND_ADDRESS, message[0] + _PORT_LENGTH)
            case _:  # the address that tor's side is bound to tells us nothing
                self._expect(_State.OPEN, 0)

    def _method(self, message: bytes) -> None:
        if message[0] != _VERSION:
            raise SocksProtocolViolation
        if message != _METHOD_CONFIRMED:
            raise IsolationRefused
        self._outgoing += self._auth
        self._expect(_State.AUTH, len(_AUTH_CONFIRMED))

    def _authenticated(self, message: bytes) -> None:
        if message != _AUTH_CONFIRMED:
            raise IsolationRefused
        self._outgoing += self._connect
        self._expect(_State.REPLY_HEAD, _REPLY_HEAD_LENGTH)

    def _reply(self, message: bytes) -> None:
        version, reply, reserved, kind = message
        if version != _VERSION or reserved != 0:
            raise SocksProtocolViolation
        if reply != _SUCCEEDED:
            raise REPLY_ERRORS.get(reply, UnknownReply)
        match bytes([kind]):
            case SOCKS5AType.IPV4_ADDRESS:
                self._expect(_State.BOUND_ADDRESS, 4 + _PORT_LENGTH)
            case SOCKS5AType.IPV6_ADDRESS:
                self._expect(_State.BOUND_ADDRESS, 16 + _PORT_LENGTH)
            case SOCKS5AType.DOMAIN_NAME:
                self._expect(_State.NAME_LENGTH, 1)
            case _:
                raise SocksProtocolViolation
