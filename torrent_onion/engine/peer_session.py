"""The tasks of one connection: handshake, one reader, one writer.

The reader turns bytes into events and hands them to the peer; the writer sends what the peer has
queued, and reads the disk only for requests that have reached the head of their queue.
"""

import trio

from torrent_onion.core.identity import InfoHashes, PeerId
from torrent_onion.engine.parallel import first_error
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.transport import PeerStream
from torrent_onion.errors import ProtocolError
from torrent_onion.protocol.handshake import Handshake
from torrent_onion.protocol.peer_wire import Event, PeerWire

HANDSHAKE_SECONDS = 60.0
"""Time for the other side's handshake; a stalled Tor circuit may take tens of seconds."""


class HungUp(ProtocolError):
    """The other side closed the connection and had said nothing."""


async def shake_hands(
    stream: PeerStream,
    wire: PeerWire,
    info_hashes: InfoHashes,
    peer_id: PeerId,
    *,
    we_begin: bool,
) -> list[Event]:
    """Exchange handshakes (BEP 3).

    Args:
        stream: A new connection.
        wire: Its wire, unused so far.
        info_hashes: The torrent's; the peer must name one of them.
        peer_id: Ours, random and never used before.
        we_begin: We dialled. Else the peer speaks first, and one that asks for another torrent
            learns nothing at all from us.

    Returns:
        Events that came right behind the handshake.

    Raises:
        HungUp: We spoke first, and the peer had nothing to say to it.
        ProtocolError: It is not our torrent, or not BitTorrent.
        trio.TooSlowError: The peer took longer than ``HANDSHAKE_SECONDS``.
        trio.BrokenResourceError: The connection is lost.
    """
    with trio.fail_after(HANDSHAKE_SECONDS):
        if we_begin:
            wire.send_handshake(_handshake(info_hashes.primary, peer_id, info_hashes))
            await stream.send_buffers(wire.data_to_send())
        theirs: Event | None = None
        has_spoken = False
        while theirs is None:
            received = await stream.receive_into(wire.get_buffer())
            if received == 0:
                error = ProtocolError if has_spoken else HungUp
                raise error("the peer closed the connection during the handshake")
            has_spoken = True
            events = wire.buffer_updated(received)
            theirs = next(events, None)
        if not isinstance(theirs, Handshake) or not info_hashes.matches(theirs.info_hash):
            raise ProtocolError("the peer asked for another torrent")
        if not we_begin:
            wire.send_handshake(_handshake(theirs.info_hash, peer_id, info_hashes))
        return list(events)


def _handshake(info_hash: bytes, peer_id: PeerId, torrent: InfoHashes) -> Handshake:
    """What we say of ourselves on every connection: nothing that differs between users."""
    return Handshake(
        info_hash=info_hash,
        peer_id=peer_id,
        extensions=True,
        fast=True,
        v2=torrent.v2 is not None,
        dht=False,
    )


async def converse(peer: Peer, stream: PeerStream, early: list[Event]) -> None:
    """Talk with a peer until one side ends it.

    Args:
        peer: Known to its torrent, its first messages queued.
        stream: The connection; the caller closes it.
        early: Events that came with the handshake.

    Raises:
        ProtocolError: The peer broke a rule.
        StorageError: Our disk failed while reading for the peer.
        trio.BrokenResourceError: The connection is lost.

    Returns normally when the peer ends the connection between two messages, or ``peer.close()`` is
    called.
    """
    try:
        async with trio.open_nursery() as nursery:
            peer.on_close(nursery.cancel_scope.cancel)
            nursery.start_soon(_write, peer, stream)
            await _read(peer, stream, early)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None


async def _read(peer: Peer, stream: PeerStream, early: list[Event]) -> None:
    now = trio.current_time()
    for event in early:
        peer.handle(event, now)
    while True:
        await peer.ready_for_more()
        received = await stream.receive_into(peer.wire.get_buffer())
        if received == 0:
            peer.wire.receive_eof()
            return
        now = trio.current_time()
        peer.last_received = now
        for event in peer.wire.buffer_updated(received):
            peer.handle(event, now)
        peer.batch_done(now)


async def _write(peer: Peer, stream: PeerStream) -> None:
    while True:
        await peer.answers.queue()
        buffers = peer.wire.data_to_send()
        if buffers:
            peer.is_sending = True
            await stream.send_buffers(buffers)
            peer.sent(trio.current_time())
        else:
            await peer.wake.wait()
