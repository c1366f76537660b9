"""What a torrent gives: to whom, which pieces, and until when."""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

import trio

from torrent_onion.core.bitfield import Bitfield
from torrent_onion.core.metainfo import Info
from torrent_onion.core.piece_layout import Block
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.serving_goals import ServingGoals
from torrent_onion.engine.statistics import TorrentState
from torrent_onion.policy.choker import Candidate, Choker
from torrent_onion.policy.super_seed import SuperSeed
from torrent_onion.protocol import messages

if TYPE_CHECKING:
    from torrent_onion.engine.torrent import Torrent

FAST_BYTES = 2 << 20
"""Payload that a choked newcomer may ask for (BEP 6): a few pieces, so that it has something to
give. A turn as the optimistic one brings much more."""

MAX_FAST_PIECES = 10
"""Pieces that are granted so, and pieces above which a peer is no newcomer; BEP 6 says 10."""

FAST_SECONDS = 10.0
"""Between two grants: all who come again and again get 200 KB/s of it together, at most."""


class Uploads:
    """The giving side of one torrent.

    Args:
        torrent: Whose it is.

    Attributes:
        goals: When it is enough.
    """

    def __init__(self, torrent: "Torrent") -> None:
        self.goals = ServingGoals(torrent)
        self._torrent = torrent
        self._choker = Choker(torrent.settings.unchoke_slots, torrent.rng)
        self._super_seed: SuperSeed | None = None
        self._last_grant = -inf
        self._has_padding = False

    def begin(self, info: Info, have: Bitfield) -> None:
        """What is on disk is known."""
        self._has_padding = any(entry.is_pad for entry in info.files)
        if self._torrent.spec.super_seed and have.is_full:
            self._super_seed = SuperSeed(info.layout.num_pieces, self._torrent.rng)

    def shown_at_first(self, have: Bitfield | None) -> Bitfield | None:
        """What a new peer is told that we have; a super-seeder seems to have nothing (BEP 16)."""
        return None if self._super_seed is not None else have

    def peer_pieces_known(self, peer: Peer, pieces: Bitfield) -> None:
        """A peer's pieces are known, perhaps anew."""
        if self._super_seed is not None:
            self._show(peer, self._super_seed.add_peer(peer.key, pieces))

    def peer_has(self, peer: Peer, index: int) -> None:
        """A peer has one piece more."""
        if self._super_seed is not None:
            self._pass_on(self._super_seed, peer, index)
        self._count_complete(peer)

    def peer_has_also(self, peer: Peer, new: Bitfield) -> None:
        """A peer has more pieces; only those that a super-seeder waits for are looked at."""
        if self._super_seed is not None:
            for index in self._super_seed.awaited:
                if new[index]:
                    self._pass_on(self._super_seed, peer, index)
        self._count_complete(peer)

    def _pass_on(self, super_seed: SuperSeed, peer: Peer, index: int) -> None:
        """Show who passed a piece on the next ones (BEP 16)."""
        person = {other.key for other in self._connections_of(peer)}
        for key, shown in super_seed.peer_has(person, index):
            self._show(self._torrent.peers.get(key), [shown])

    def _count_complete(self, peer: Peer) -> None:
        if peer.is_seed:
            self.goals.peer_complete(peer, self._connections_of(peer))
        is_out = self._super_seed is not None and self._super_seed.is_out
        if is_out and self.has_reached_goal(trio.current_time()):
            self._torrent.end()  # at once: every second more sends what others can pass on

    def remove_peer(self, peer: Peer) -> None:
        """A connection has ended."""
        if self._super_seed is not None:
            self._super_seed.remove_peer(peer.key)
        others = [other for other in self._connections_of(peer) if other is not peer]
        self.goals.peer_left(peer, is_last=not others)

    def can_serve(self, peer: Peer, piece: int) -> bool:
        """Whether we have a piece, and have told a peer of it."""
        if self._super_seed is not None and not self._super_seed.is_shown(peer.key, piece):
            return False
        have = self._torrent.have
        return have is not None and piece < len(have) and have[piece]

    def interest_changed(self, peer: Peer, now: float) -> None:
        """Who wants something of us has changed; a free slot is given at once."""
        if not peer.peer_interested:
            peer.choke()
        self.rechoke(now)
        self._help_newcomer(peer, now)

    def rechoke(self, now: float) -> None:
        """Choose who may download from us."""
        peers = self._torrent.peers.values()
        chosen = self._choker.rechoke(
            now,
            [_as_candidate(peer, now) for peer in peers],
            seeding=self._torrent.state is TorrentState.SEEDING,
        )
        for peer in peers:
            if peer.key in chosen:
                peer.unchoke()
            else:
                peer.choke()

    def _help_newcomer(self, peer: Peer, now: float) -> None:
        """Let a peer that has next to nothing, and no slot, have a few pieces all the same (BEP 6).

        They are drawn by lot for every connection. BEP 6 computes them from the peer's IP address,
        so that who comes again gets the same ones. Behind an onion service there is no address to
        compute from, and the same set for all would let peers tell that our connections are one
        client's. So who comes again is held off by ``FAST_SECONDS`` instead.
        """
        info, have = self._torrent.info, self._torrent.have
        if info is None or have is None or self._super_seed is not None or peer.pieces is None:
            return
        is_newcomer = peer.pieces.count <= MAX_FAST_PIECES and not peer.granted_fast
        waits = peer.peer_interested and peer.am_choking and peer.wire.supports_fast
        count = min(MAX_FAST_PIECES, FAST_BYTES // info.piece_length)
        if not (is_newcomer and waits and count) or now - self._last_grant < FAST_SECONDS:
            return
        lacks = [index for index in have.indices() if not peer.pieces[index]]
        pieces = self._torrent.rng.sample(lacks, min(count, len(lacks)))
        peer.grant_fast(pieces, len(pieces) * info.piece_length)
        self._last_grant = now

    def blocks_sent(self, peer: Peer, blocks: Sequence[Block], size: int) -> None:
        """Blocks of ``size`` bytes went out; padding is not what anybody wanted of us (BEP 47)."""
        info = self._torrent.info
        if self._has_padding and info is not None:
            size = sum(info.layout.data_length(*block) for block in blocks)
        peer.data_sent += size
        self.goals.data_sent += size

    def has_reached_goal(self, now: float) -> bool:
        """Whether it was served enough."""
        are_out = self._super_seed is not None and self._super_seed.is_out
        return self.goals.are_reached(now, are_copies_out=are_out)

    def _connections_of(self, peer: Peer) -> list[Peer]:
        """All connections to the same person, as far as it says so."""
        if peer.person is None:
            return [peer]
        return [other for other in self._torrent.peers.values() if other.person == peer.person]

    def _show(self, peer: Peer | None, pieces: list[int]) -> None:
        """Tell a peer of pieces that it may ask for (BEP 16)."""
        if peer is not None:
            for index in pieces:
                peer.send(messages.Have(index))


def _as_candidate(peer: Peer, now: float) -> Candidate:
    return Candidate(
        peer=peer.key,
        interested=peer.peer_interested,
        is_seed=peer.is_seed,
        download_rate=peer.download_meter.rate(now),
        upload_rate=peer.upload_meter.rate(now),
        connected_since=peer.connected_since,
        unchoked=not peer.am_choking,
        person=peer.person,
    )
