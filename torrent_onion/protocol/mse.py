"""Message Stream Encryption, the side that dials: bytes in, bytes out.

This is the obfuscated handshake that most clients speak and some insist on. It keeps nothing secret
from whoever knows the info-hash, and proves nobody's identity; it only lets us talk to such peers.

    dials                                                           answers
    Ya, pad A                                               ->
                                                            <-      Yb, pad B
    sha1("req1" S), sha1("req2" SKEY) ^ sha1("req3" S),
    rc4(VC, offered, len(pad C), pad C, len(IA), IA)        ->
                                                            <-      rc4(VC, chosen, len(pad D),
                                                                        pad D)
    rc4(...)                                               <->      rc4(...)

Rules:

- S is the Diffie-Hellman secret, SKEY the info-hash, IA what is to be sent first: our handshake.
- RC4 is all that we offer, so that both directions stay encrypted.
- The answer to VC, eight zeros, is looked for in at most 512 bytes of padding: what is buffered is
  bounded, and a side that pads on is a ``ProtocolError``.
- Only the side that dials is here: whoever comes to us comes through Tor to our onion, where no
  one has a use for this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha1
from typing import Final, Protocol

from torrent_onion.errors import ProtocolError

PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
"""768 bits; the generator is 2."""
GENERATOR: Final = 2
PUBLIC_KEY_SIZE: Final = 96
PRIVATE_KEY_SIZE: Final = 20
"""Bytes; 160 bits are what the specification says and what all clients use."""
MAX_PAD: Final = 512
VC: Final = bytes(8)
"""The verification constant."""
RC4: Final = 2
"""Its bit in what is offered and chosen; bit 1 would be no encryption."""
SKIPPED: Final = 1024
"""Bytes of key stream that are thrown away, as the first ones of RC4 tell of the key."""

_CHOICE_SIZE: Final = 4
_LENGTH_SIZE: Final = 2


class StreamCipher(Protocol):
    """One direction of a connection."""

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Encrypt or decrypt what comes next."""


NewCipher = Callable[[bytes], StreamCipher]
"""Makes RC4 with a key of 20 bytes."""


@dataclass(frozen=True, slots=True)
class Randomness:
    """What must be drawn anew, and unpredictably, for every connection.

    Args:
        private_key: ``PRIVATE_KEY_SIZE`` bytes.
        pad_a: 0 to ``MAX_PAD`` bytes.
        pad_c: The same, and zeros would do: it is encrypted.
    """

    private_key: bytes
    pad_a: bytes
    pad_c: bytes


class _Phase(Enum):
    PUBLIC_KEY = auto()
    CONSTANT = auto()
    CHOICE = auto()
    PAD = auto()
    OPEN = auto()


class MseInitiator:
    """The handshake of one connection, and its ciphers afterwards.

    Send ``begin()``, then what each ``receive_data`` puts into ``data_to_send``. Once ``is_open``,
    use ``encrypt`` and ``decrypt``.

    Args:
        info_hash: 20 bytes, which both sides must know.
        randomness: Never used before.
        new_cipher: RC4.
    """

    def __init__(self, info_hash: bytes, randomness: Randomness, new_cipher: NewCipher) -> None:
        if len(randomness.private_key) != PRIVATE_KEY_SIZE:
            raise ValueError(f"a private key has {PRIVATE_KEY_SIZE} bytes")
        if max(len(randomness.pad_a), len(randomness.pad_c)) > MAX_PAD:
            raise ValueError(f"a pad has at most {MAX_PAD} bytes")
        self._info_hash = info_hash
        self._randomness = randomness
        self._new_cipher = new_cipher
        self._private = int.from_bytes(randomness.private_key, "big")
        self._first = b""
        self._phase = _Phase.PUBLIC_KEY
        self._incoming = bytearray()
        self._outgoing = b""
        self._encryptor: StreamCipher | None = None
        self._decryptor: StreamCipher | None = None
        self._constant = b""
        self._pad_size = 0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done."""
        return self._phase is _Phase.OPEN

    def begin(self, first: bytes) -> bytes:
        """Give the bytes to send at once.

        Args:
            first: What the other side is to read first; it is sent as early as it can be.
        """
        self._first = first
        public = pow(GENERATOR, self._private, PRIME)
        return public.to_bytes(PUBLIC_KEY_SIZE, "big") + self._randomness.pad_a

    def data_to_send(self) -> bytes:
        """Take what the handshake wants to be sent."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes | memoryview) -> bytes:
        """Take bytes of any number.

        Returns:
            What was decrypted, from behind the handshake.

        Raises:
            ProtocolError: The other side broke a rule, or knows another info-hash.
        """
        self._incoming += data
        while (step := _STEPS.get(self._phase)) is not None:
            if not step(self):
                return b""
        rest, self._incoming = bytes(self._incoming), bytearray()
        return self.decrypt(rest)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Encrypt what is sent next.

        Raises:
            RuntimeError: There is no key yet.
        """
        if self._encryptor is None:
            raise RuntimeError("the handshake comes first")
        return self._encryptor.update(data)

    def decrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Decrypt what came next.

        Raises:
            RuntimeError: There is no key yet.
        """
        if self._decryptor is None:
            raise RuntimeError("the handshake comes first")
        return self._decryptor.update(data)

    # Each step returns whether there was enough to take it.

    def _public_key(self) -> bool:
        if len(self._incoming) < PUBLIC_KEY_SIZE:
            return False
        public = int.from_bytes(self._take(PUBLIC_KEY_SIZE), "big")
        if not 1 < public < PRIME - 1:  # the secret would be one that anybody knows
            raise ProtocolError("The peer sent a weak key for its obfuscation.")
        secret = pow(public, self._private, PRIME).to_bytes(PUBLIC_KEY_SIZE, "big")
        self._encryptor = self._cipher(b"keyA", secret)
        self._decryptor = self._cipher(b"keyB", secret)
        self._constant = self._decryptor.update(VC)  # as it looks on the wire
        self._outgoing += self._request(secret)
        self._phase = _Phase.CONSTANT
        return True

    def _cipher(self, name: bytes, secret: bytes) -> StreamCipher:
        cipher = self._new_cipher(_sha1(name, secret, self._info_hash))
        cipher.update(bytes(SKIPPED))
        return cipher

    def _request(self, secret: bytes) -> bytes:
        which = int.from_bytes(_sha1(b"req2", self._info_hash), "big")
        hidden = which ^ int.from_bytes(_sha1(b"req3", secret), "big")
        pad = self._randomness.pad_c
        offer = VC + RC4.to_bytes(_CHOICE_SIZE, "big") + _sized(pad) + _sized(self._first)
        return _sha1(b"req1", secret) + hidden.to_bytes(20, "big") + self.encrypt(offer)

    def _find_constant(self) -> bool:
        found = self._incoming.find(self._constant, 0, MAX_PAD + len(VC))
        if found < 0:
            if len(self._incoming) >= MAX_PAD + len(VC):
                raise ProtocolError("The peer's obfuscation is for another torrent, or broken.")
            return False
        self._take(found + len(VC))
        self._phase = _Phase.CHOICE
        return True

    def _choice(self) -> bool:
        if len(self._incoming) < _CHOICE_SIZE + _LENGTH_SIZE:
            return False
        plain = self.decrypt(self._take(_CHOICE_SIZE + _LENGTH_SIZE))
        if int.from_bytes(plain[:_CHOICE_SIZE], "big") != RC4:
            raise ProtocolError("The peer chose an encryption that was not offered.")
        self._pad_size = int.from_bytes(plain[_CHOICE_SIZE:], "big")
        if self._pad_size > MAX_PAD:
            raise ProtocolError("The peer pads its obfuscation with more than is allowed.")
        self._phase = _Phase.PAD
        return True

    def _pad(self) -> bool:
        if len(self._incoming) < self._pad_size:
            return False
        self.decrypt(self._take(self._pad_size))
        self._phase = _Phase.OPEN
        return True

    def _take(self, size: int) -> bytes:
        taken = bytes(self._incoming[:size])
        del self._incoming[:size]
        return taken


_STEPS: Final = {
    _Phase.PUBLIC_KEY: MseInitiator._public_key,  # noqa: SLF001 - this table is a part of the class
    _Phase.CONSTANT: MseInitiator._find_constant,  # noqa: SLF001
    _Phase.CHOICE: MseInitiator._choice,  # noqa: SLF001
    _Phase.PAD: MseInitiator._pad,  # noqa: SLF001
}


def _sha1(*parts: bytes) -> bytes:
    return sha1(b"".join(parts), usedforsecurity=False).digest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH_SIZE, "big") + data
