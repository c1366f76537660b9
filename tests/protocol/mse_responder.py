"""The side that answers in Message Stream Encryption, for tests: written from the specification.

The program itself never answers, so this shares nothing with it but the specification's numbers.
"""

from dataclasses import dataclass, field
from hashlib import sha1

PRIME = int.from_bytes(
    bytes.fromhex(
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22"
        "514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6"
        "f44c42e9a63a36210000000000090563"
    )
)


class PlainRc4:
    """RC4 by the book."""

    def __init__(self, key: bytes) -> None:
        self._state = list(range(256))
        other = 0
        for one in range(256):
            other = (other + self._state[one] + key[one % len(key)]) & 255
            self._swap(one, other)
        self._one = self._other = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes:
        out = bytearray(data)
        for place in range(len(out)):
            self._one = (self._one + 1) & 255
            self._other = (self._other + self._state[self._one]) & 255
            self._swap(self._one, self._other)
            out[place] ^= self._state[(self._state[self._one] + self._state[self._other]) & 255]
        return bytes(out)

    def _swap(self, one: int, other: int) -> None:
        self._state[one], self._state[other] = self._state[other], self._state[one]


def sha(*parts: bytes) -> bytes:
    return sha1(b"".join(parts)).digest()


def cipher(name: bytes, secret: bytes, info_hash: bytes) -> PlainRc4:
    made = PlainRc4(sha(name, secret, info_hash))
    made.update(bytes(1024))
    return made


@dataclass
class Responder:
    """Answers when the whole request is here; what it is told may be wrong on purpose."""

    info_hash: bytes
    private: int = 0x1234567890ABCDEF1234567890ABCDEF12345678
    pad_b: bytes = b""
    pad_d: bytes = b""
    constant: bytes = bytes(8)
    chosen: int = 2
    pad_d_size: int | None = None
    offered: int | None = None
    first: bytes | None = None
    """What came with the request."""
    _secret: bytes = b""
    _received: bytearray = field(default_factory=bytearray)
    _in: PlainRc4 | None = None
    _out: PlainRc4 | None = None

    def receive(self, data: bytes) -> bytes:
        """Take bytes; give the answer, if it is time for one."""
        self._received += data
        if not self._secret:
            if len(self._received) < 96:
                return b""
            theirs = int.from_bytes(self._received[:96], "big")
            del self._received[:96]
            self._secret = pow(theirs, self.private, PRIME).to_bytes(96, "big")
            own = pow(2, self.private, PRIME).to_bytes(96, "big") + self.pad_b
            return own + self.receive(b"")
        return self._answer() if self._in is None else b""

    def _answer(self) -> bytes:
        start = self._received.find(sha(b"req1", self._secret))
        if start < 0 or len(self._received) < start + 54:
            return b""
        named = int.from_bytes(self._received[start + 20 : start + 40], "big")
        wanted = int.from_bytes(sha(b"req2", self.info_hash), "big")
        assert named ^ int.from_bytes(sha(b"req3", self._secret), "big") == wanted
        incoming = cipher(b"keyA", self._secret, self.info_hash)
        plain = incoming.update(self._received[start + 40 :])
        assert plain[:8] == bytes(8)
        pad_c = int.from_bytes(plain[12:14], "big")
        if len(plain) < 16 + pad_c:
            return b""
        size = int.from_bytes(plain[14 + pad_c : 16 + pad_c], "big")
        if len(plain) < 16 + pad_c + size:
            return b""
        assert len(plain) == 16 + pad_c + size, "nothing may follow before the answer"
        self.offered = int.from_bytes(plain[8:12], "big")
        self.first = plain[16 + pad_c :]
        self._in, self._out = incoming, cipher(b"keyB", self._secret, self.info_hash)
        told = len(self.pad_d) if self.pad_d_size is None else self.pad_d_size
        said = self.constant + self.chosen.to_bytes(4, "big") + told.to_bytes(2, "big")
        return self._out.update(said + self.pad_d)

    def encrypt(self, data: bytes) -> bytes:
        assert self._out is not None
        return self._out.update(data)

    def decrypt(self, data: bytes) -> bytes:
        assert self._in is not None
        return self._in.update(data)
