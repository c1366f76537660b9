"""Onion peers that tell each other of onion peers: the ``onion`` key and ``onion_pex``.

What somebody names is a candidate and no more. Each peer is told at most once a minute, of at most
50, and heard as often; a private torrent does neither (BEP 27), and nothing of this ever goes to a
peer that is not behind an onion itself.

Seeds do not stay connected to each other, so a newcomer who knows one seed only would learn of
nobody. That is why those who really took part are named for a while after they have left.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torrent_onion.core.identity import PeerAddress
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_exchange import PeerExchange
from torrent_onion.errors import AddressError, ProtocolError
from torrent_onion.policy.peer_pool import Source
from torrent_onion.policy.piece_download import PeerKey
from torrent_onion.protocol.onion_pex import FLAG_SEED, OnionPex

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

REMEMBERED_SECONDS = 1800.0
"""For which others are still told of a peer that has left."""

MAX_REMEMBERED = 100
"""Peers that have left; the oldest is forgotten first."""


@dataclass(slots=True)
class _Exchange(PeerExchange):
    """And what only those behind onions say."""

    claimed: PeerAddress | None = None
    """What an inbound peer says its own address is."""
    early: bytes | None = None
    """What it told before the metadata was here, so that nobody knew whether it may be heard."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A peer that has left."""

    flags: int
    until: float


class OnionExchange:
    """The peer exchange of one torrent.

    Args:
        torrent: Whose it is.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self._torrent = torrent
        self._exchanges: dict[PeerKey, _Exchange] = {}
        self._remembered: dict[PeerAddress, _Remembered] = {}  # the oldest first

    def own_onion(self, peer: Peer) -> bytes | None:
        """Our address for the extension handshake, for those who may have it: 34 bytes."""
        own = self._torrent.spec.own_address
        if own is None or not own.is_onion or self._is_private or not is_behind_onion(peer):
            return None
        return own.to_compact_onion()

    def handshake_received(self, peer: Peer, now: float) -> None:
        """A peer told what it can do, and perhaps its own address; it is told of others at once."""
        theirs = peer.wire.peer_extensions
        if theirs is None or self._is_private or not is_behind_onion(peer):
            return
        exchange = self._exchanges.setdefault(peer.key, _Exchange())
        if theirs.onion is not None and exchange.claimed is None:  # one name for a connection
            with suppress(AddressError):
                exchange.claimed = PeerAddress.from_compact_onion(theirs.onion)
                self._torrent.add_candidates([exchange.claimed], f"{Source.HANDSHAKE}:{peer.key}")
        if peer.address is None:
            self._close_double(peer, exchange.claimed)
        else:
            for other in self._claiming(peer.address):
                self._close_double(other, peer.address)
        if exchange.told_at is None:
            self._tell(peer, exchange, self.names(now), now)

    def is_claimed(self, address: PeerAddress) -> bool:
        """Whether a peer that came in says that this is its address."""
        return bool(self._claiming(address))

    def _claiming(self, address: PeerAddress) -> list[Peer]:
        peers = self._torrent.peers
        said = [key for key, exchange in self._exchanges.items() if exchange.claimed == address]
        return [peers[key] for key in said if key in peers and peers[key].address is None]

    def _close_double(self, peer: Peer, claimed: PeerAddress | None) -> None:
        """Where two have dialled each other, keep what the one with the lower address dialled.

        Peer ids are random, so only the addresses tell. Anyone can claim an address, while who
        answers on it has proved it: so only a connection that came in is ever closed for it, and
        none on which, or beside which, this peer has brought or got anything.
        """
        own = self._torrent.spec.own_address
        if own is None or claimed is None or own.host > claimed.host:
            return
        others = self._torrent.peers.values()
        is_reached = any(other.address == claimed for other in others)
        siblings = [other for other in others if other is peer or _are_stripes(other, peer)]
        if is_reached and not any(each.data_sent or each.payload_received for each in siblings):
            peer.close()

    def received(self, peer: Peer, payload: bytes, now: float) -> None:
        """A peer told of others; what comes too often is not read.

        Raises:
            ProtocolError: It cannot be read.
        """
        if not is_behind_onion(peer):
            return
        exchange = self._exchanges.setdefault(peer.key, _Exchange())
        if self._torrent.info is None:
            exchange.early = payload
            return
        if self._is_private:
            return
        if exchange.may_be_heard(now):
            named = [address for address, _ in OnionPex.decode(payload).added]
            self._torrent.add_candidates(named, f"{Source.PEX}:{peer.key}")

    def metadata_known(self, now: float) -> None:
        """It is known now whether others may be named: hear what was told before."""
        for peer in list(self._torrent.peers.values()):
            self.handshake_received(peer, now)
            exchange = self._exchanges.get(peer.key)
            if exchange is not None and exchange.early is not None:
                early, exchange.early = exchange.early, None
                try:
                    self.received(peer, early, now)
                except ProtocolError:
                    peer.close()

    def remove_peer(self, peer: Peer, now: float) -> None:
        """A connection has ended; who took part is remembered, if its address is known."""
        exchange = self._exchanges.pop(peer.key, None)
        if exchange is None:
            return
        address = peer.address or exchange.claimed
        if address is not None and address.is_onion and _took_part(peer):
            self._remembered.pop(address, None)
            self._remembered[address] = _Remembered(_flags(peer), now + REMEMBERED_SECONDS)
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def tell(self, now: float) -> None:
        """Tell every peer whose minute is over what is new; call it every second."""
        if self._is_private:
            return
        known = self.names(now)
        for key, exchange in self._exchanges.items():
            peer = self._torrent.peers.get(key)
            if peer is not None and exchange.is_due(now):
                self._tell(peer, exchange, known, now)

    @property
    def _is_private(self) -> bool:
        """Whether others must not be named; until the metadata is here nobody knows."""
        info = self._torrent.info
        return info is None or info.private

    def names(self, now: float) -> dict[PeerAddress, int]:
        """Onion peers with their flags: who is connected, then who has left, the last one first."""
        known: dict[PeerAddress, int] = {}
        for key, exchange in self._exchanges.items():
            peer = self._torrent.peers.get(key)
            if peer is None:
                continue
            address = peer.address or exchange.claimed
            if address is not None and address.is_onion:
                known[address] = _flags(peer)
        for address, remembered in reversed(self._remembered.items()):
            if now < remembered.until:
                known.setdefault(address, remembered.flags)
        return known

    def _tell(
        self, peer: Peer, exchange: _Exchange, known: dict[PeerAddress, int], now: float
    ) -> None:
        itself = peer.address or exchange.claimed
        exchange.tell(peer, itself, known, OnionPex, now)


def _flags(peer: Peer) -> int:
    return FLAG_SEED if peer.is_seed else 0


def _took_part(peer: Peer) -> bool:
    """Whether it is more than a name: we reached it there, or payload passed."""
    return peer.address is not None or peer.data_sent > 0 or peer.payload_received > 0


def _are_stripes(one: Peer, other: Peer) -> bool:
    return one.person is not None and one.person == other.person


def is_behind_onion(peer: Peer) -> bool:
    """Whether a peer is inside Tor.

    Whoever comes to us comes to our onion; whom we dial has an address that says it.
    """
    return peer.address is None or peer.address.is_onion
