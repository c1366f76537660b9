"""Obfuscated connections (MSE) to peers outside Tor, where the extra that they need is installed.

Never to onions: their circuits are encrypted from end to end, and nobody there has a use for it.
Who needs it is for the pool to know, and for ``connections.py`` to find out.
"""

import secrets
from collections.abc import Sequence
from functools import cache

from torrent_onion.engine.transport import Buffer, PeerStream
from torrent_onion.protocol.mse import (
    MAX_PAD,
    PRIVATE_KEY_SIZE,
    MseInitiator,
    NewCipher,
    Randomness,
    StreamCipher,
)

HANDSHAKE_READ = 4096
"""Bytes of one read while the handshake lasts; all of it has half of that at most."""


@cache
def rc4() -> NewCipher | None:
    """RC4, or None where the extra ``mse`` is not installed or its OpenSSL has no RC4."""
    try:
        # Slow to load, and few ever need it.
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see above
        from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415
    except ImportError:
        return None

    def new_cipher(key: bytes) -> StreamCipher:
        return Cipher(ARC4(key), mode=None).encryptor()  # the same both ways

    try:
        new_cipher(bytes(20))
    except UnsupportedAlgorithm:
        return None
    return new_cipher


class ObfuscatedStream:
    """A :class:`PeerStream` in another, which it owns from now on.

    The first ``send_buffers`` begins; the handshake goes on while ``receive_into`` waits. So
    whoever uses it sends its own handshake first and waits for the answer, as on any connection.

    Args:
        stream: A new connection.
        info_hash: 20 bytes, of the torrent that is to be spoken of.
        new_cipher: From :func:`rc4`.
    """

    def __init__(self, stream: PeerStream, info_hash: bytes, new_cipher: NewCipher) -> None:
        self._stream = stream
        self._mse = MseInitiator(info_hash, _draw(), new_cipher)
        self._has_begun = False
        self._early = b""  # decrypted, and not yet asked for
        self._buffer = memoryview(bytearray(HANDSHAKE_READ))

    async def receive_into(self, buffer: memoryview) -> int:
        """As a :class:`PeerStream` does.

        Raises:
            ProtocolError: The other side broke a rule of the handshake.
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: We closed it.

        Cancelling loses data only while the handshake lasts: close the stream then.
        """
        while not self._early and not self._mse.is_open:
            received = await self._stream.receive_into(self._buffer)
            if received == 0:
                return 0
            self._early = self._mse.receive_data(self._buffer[:received])
            if answer := self._mse.data_to_send():
                await self._stream.send_buffers((answer,))
        if self._early:
            taken, self._early = self._early[: len(buffer)], self._early[len(buffer) :]
            buffer[: len(taken)] = taken
            return len(taken)
        received = await self._stream.receive_into(buffer)
        buffer[:received] = self._mse.decrypt(buffer[:received])
        return received

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        """As a :class:`PeerStream` does; only once before the first ``receive_into`` returns.

        Raises:
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: We closed it.
        """
        if self._has_begun:
            await self._stream.send_buffers([self._mse.encrypt(each) for each in buffers])
            return
        self._has_begun = True
        await self._stream.send_buffers((self._mse.begin(b"".join(buffers)),))

    async def aclose(self) -> None:
        """Close at once; both other calls then fail."""
        await self._stream.aclose()


def _draw() -> Randomness:
    return Randomness(
        private_key=secrets.token_bytes(PRIVATE_KEY_SIZE),
        pad_a=_random_pad(),
        pad_c=_random_pad(),
    )


def _random_pad() -> bytes:
    return secrets.token_bytes(secrets.randbelow(MAX_PAD + 1))
