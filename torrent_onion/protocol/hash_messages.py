"""Messages that move BEP 52 hash trees: hash request, hashes, hash reject (ids 21, 22, 23).

Rules:

- A request names a file by the root of its tree, a layer of that tree and a run of hashes in it.
- Every request is answered by exactly one ``hashes`` or ``hash reject`` that repeats its fields, so
  a request beyond our limits is read and then rejected by whoever serves it, not an error here.
- ``hashes`` is an answer to a request of ours, and we ask for at most ``MAX_HASHES`` at once: a
  longer one is an error before it is buffered.

Hashes are bytes here; what they prove is for ``core.merkle``.
"""

import struct
from dataclasses import dataclass
from typing import Self

from torrent_onion.errors import ProtocolError

HASH_REQUEST = 21
HASHES = 22
HASH_REJECT = 23

SHA256_SIZE = 32
MAX_HASHES = 512  # BEP 52: the length of a request should not be greater
MAX_PROOF_LAYERS = 48  # a tree over 2**48 blocks of 16 KiB is larger than any file

_FIELDS = struct.Struct(">32sIIII")
REQUEST_SIZE = _FIELDS.size  # payload of a hash request or hash reject, in bytes
MAX_HASHES_SIZE = REQUEST_SIZE + (MAX_HASHES + MAX_PROOF_LAYERS) * SHA256_SIZE


@dataclass(frozen=True, slots=True)
class _HashRange:
    """The five fields that all three messages begin with (BEP 52 "peer messages").

    Attributes:
        pieces_root: 32 bytes, the root hash of the file's tree.
        base_layer: the layer asked for, counted from the leaves, which are layer 0.
        index: the first hash, counted in hashes of that layer; a multiple of ``length``.
        length: how many hashes of that layer.
        proof_layers: how many layers above it the proof covers.
    """

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int

    def encode_payload(self) -> bytes:
        """Give the bytes that follow the message id."""
        if len(self.pieces_root) != SHA256_SIZE:
            raise ValueError("a pieces root has 32 bytes")
        return _FIELDS.pack(
            self.pieces_root, self.base_layer, self.index, self.length, self.proof_layers
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> Self:
        """Read the bytes that follow the message id; their number was checked by the caller."""
        return cls(*_FIELDS.unpack(payload))


@dataclass(frozen=True, slots=True)
class HashRequest(_HashRange):
    """Please send this run of hashes and its proof."""

    @property
    def is_within_limits(self) -> bool:
        """Whether it may be served: BEP 52's bounds on length, index and proof.

        A length of one, or one that is no power of two, is only right where the layer ends; the
        tree's owner knows.
        """
        return (
            1 <= self.length <= MAX_HASHES
            and self.index % self.length == 0
            and self.base_layer + self.proof_layers <= MAX_PROOF_LAYERS
        )


@dataclass(frozen=True, slots=True)
class HashReject(_HashRange):
    """This request will not be served."""


@dataclass(frozen=True, slots=True)
class Hashes(_HashRange):
    """The answer: the run itself, then one uncle hash a layer, upwards.

    Attributes:
        hashes: 32 bytes each; at most ``length + proof_layers`` of them.
    """

    hashes: tuple[bytes, ...]

    def encode_payload(self) -> bytes:
        """Give the bytes that follow the message id."""
        if any(len(each) != SHA256_SIZE for each in self.hashes):
            raise ValueError("a hash has 32 bytes")
        return _HashRange.encode_payload(self) + b"".join(self.hashes)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Self:
        """Read the bytes that follow the message id.

        Raises:
            ProtocolError: not whole hashes, or more than the fields allow.
        """
        body = payload[REQUEST_SIZE:]
        count, rest = divmod(len(body), SHA256_SIZE)
        root, base_layer, index, length, proof_layers = _FIELDS.unpack_from(payload)
        if rest or count > length + proof_layers:
            raise ProtocolError("The peer sent a hashes message of the wrong length.")
        hashes = tuple(
            body[start : start + SHA256_SIZE] for start in range(0, len(body), SHA256_SIZE)
        )
        return cls(root, base_layer, index, length, proof_layers, hashes)
