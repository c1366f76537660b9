from collections.abc import Callable

import pytest
from nacl.signing import SigningKey

from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.message_codec import encode_message
from torrent_onion.protocol.messages import BitfieldMessage
from torrent_onion.protocol.peer_wire import PeerWire


@pytest.fixture(scope="session")
def onion() -> Callable[[int], PeerAddress]:
    """Makes the onion peer of a number: a real key, port 1000 and up."""

    def make(number: int) -> PeerAddress:
        key = bytes(SigningKey(number.to_bytes(32, "big")).verify_key)
        return PeerAddress.from_compact_onion(key + (1000 + number).to_bytes(2, "big"))

    return make


@pytest.fixture
def handshake() -> Handshake:
    return Handshake(info_hash=b"h" * 20, peer_id=PeerId(b"p" * 20))


@pytest.fixture
def shake(handshake: Handshake) -> Callable[[PeerWire], PeerWire]:
    """Takes a wire through both handshakes."""

    def go(wire: PeerWire) -> PeerWire:
        wire.send_handshake(handshake)
        assert wire.receive_data(handshake.encode()) == [handshake]
        wire.data_to_send()
        return wire

    return go


@pytest.fixture
def open_wire(shake: Callable[[PeerWire], PeerWire]) -> Callable[[], PeerWire]:
    """Makes a wire on which both sides have said which pieces they have; there are eight."""

    def make() -> PeerWire:
        wire = shake(PeerWire(max_pieces=8))
        wire.receive_data(encode_message(BitfieldMessage(b"\xff")))
        wire.send(BitfieldMessage(b"\x00"))
        wire.data_to_send()
        return wire

    return make
