"""Addresses and keys of v3 onion services (pure).

An address is ``base32(public key + checksum + version) + ".onion"`` (rend-spec-v3, "Encoding onion
addresses"), so the key, an ed25519 point, is all there is to know. Three rules:

- An address is accepted only if its checksum, its version and its point on the curve are right, and
  its unused bits are zero: one service has exactly one spelling, which is lower case.
- Randomness is passed in: a key is made of a seed of 32 bytes.
- What is secret about a key is a :class:`~tor_control.secret.Secret`.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_seed_keypair,
)

from tor_control.errors import InvalidOnionAddress
from tor_control.secret import Secret

ONION_SUFFIX = ".onion"
ENCODED_LENGTH = 56
"""Characters before ``.onion``: 35 bytes in base32."""
PUBLIC_KEY_LENGTH = 32
SEED_LENGTH = 32
VERSION = 3
_VERSION_BYTE = bytes([VERSION])
_CHECKSUM_LENGTH = 2
_KEY_TYPE = "ED25519-V3"


def onion_address(public_key: bytes) -> str:
    """Return ``<56 characters>.onion``, in lower case.

    Args:
        public_key: 32 bytes, a point on the curve.

    Raises:
        InvalidOnionAddress: These bytes cannot be the key of an onion service.
    """
    if len(public_key) != PUBLIC_KEY_LENGTH:
        raise InvalidOnionAddress("This is no onion key; it has 32 bytes.")
    # On the curve, in canonical form, in the main subgroup: no torsion (rend-spec-v3).
    if not crypto_core_ed25519_is_valid_point(public_key):
        raise InvalidOnionAddress("This is no onion key; it is no point on the curve.")
    return encode_address(public_key)


def encode_address(public_key: bytes) -> str:
    """Return the address of a key that has been checked before; nothing is checked here.

    The check takes 30 times as long as the rest, which matters to whoever names many addresses.
    """
    raw = public_key + _checksum(public_key) + _VERSION_BYTE
    return base64.b32encode(raw).decode().lower() + ONION_SUFFIX


def public_key(address: str) -> bytes:
    """Return the 32 bytes of the public key that an address stands for.

    Args:
        address: ``<56 characters>.onion`` in any case; no name before it, no dot after it.

    Raises:
        InvalidOnionAddress: The text is not the address of a v3 onion service.
    """
    encoded, suffix = address[:ENCODED_LENGTH], address[ENCODED_LENGTH:]
    if suffix.lower() != ONION_SUFFIX or not encoded.isascii():
        raise InvalidOnionAddress
    try:
        raw = base64.b32decode(encoded.upper())
    except binascii.Error:
        raise InvalidOnionAddress from None
    key = raw[:PUBLIC_KEY_LENGTH]
    # Built again and compared: this checks checksum, version, point and padding in one go.
    if onion_address(key) != address.lower():
        raise InvalidOnionAddress("This onion address has a typing error; copy it again, whole.")
    return key


def _checksum(key: bytes) -> bytes:
    return hashlib.sha3_256(b".onion checksum" + key + _VERSION_BYTE).digest()[:_CHECKSUM_LENGTH]


@dataclass(frozen=True, slots=True)
class OnionKey:
    """The identity key of one onion service; whoever has its seed is that service.

    Args:
        seed: The 32 bytes that everything else is made of.
        public_key: 32 bytes.
    """

    seed: Secret
    public_key: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> "OnionKey":
        """Make the key of 32 random bytes; they must come from the system's secure source."""
        if len(seed) != SEED_LENGTH:
            raise ValueError(f"a seed has {SEED_LENGTH} bytes")
        key, _ = crypto_sign_seed_keypair(seed)
        return cls(Secret(seed), key)

    @property
    def address(self) -> str:
        """``<56 characters>.onion``."""
        return onion_address(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of the onion's own identity: 64 bytes (RFC 8032)."""
        return crypto_sign(message, self.seed.reveal() + self.public_key)[:crypto_sign_BYTES]

    def control_blob(self) -> Secret:
        """Return ``ED25519-V3:<88 base64>``, the form that ADD_ONION takes (control-spec).

        Tor wants the expanded key: the clamped scalar and the prefix of RFC 8032, 64 bytes.
        """
        expanded = bytearray(hashlib.sha512(self.seed.reveal()).digest())
        expanded[0] &= 248
        expanded[31] &= 127
        expanded[31] |= 64
        return Secret(f"{_KEY_TYPE}:".encode() + base64.b64encode(expanded))
