"""The connections of one torrent: dialled, accepted, served until they end.

One circuit for a peer at first; more to onions where they help (stripes.py). An onion that takes
long is dialled once more meanwhile, if we have reason to trust it (second_try.py). A peer outside
Tor that hangs up on our handshake is spoken to once more in obfuscated words (obfuscation.py), if
the extra for it is installed. What one peer provokes, be it a bug of ours, ends that connection
and no other.
"""

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from itertools import count

import trio

from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.engine.obfuscation import ObfuscatedStream, rc4
from torrent_onion.engine.peer import Peer
from torrent_onion.engine.peer_session import HungUp, converse, shake_hands
from torrent_onion.engine.second_try import SECOND_TRY_SECONDS, Reach, first_to_answer
from torrent_onion.engine.stripes import DECIDE_SECONDS, Stripes
from torrent_onion.engine.torrent import Torrent
from torrent_onion.engine.transport import (
    NETWORK_DOWN_PAUSE,
    Dial,
    PeerListener,
    PeerStream,
    is_network_down,
    new_isolation,
)
from torrent_onion.errors import RemoteError, StorageError
from torrent_onion.policy.dial_budget import DialBudget
from torrent_onion.protocol.peer_wire import Event, PeerWire

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how often the pool is asked for candidates whose pause is over
STRIPE_SECONDS = 30.0
"""For one more circuit; what takes longer would bring little, and another may."""
DOUBLE_PAUSE = 60.0  # until a peer that has dialled us is dialled again
RESERVED_SHARE = 5  # one connection in so many is kept from strangers, for our own dials
PEER_ID_SIZE = 20  # bytes, BEP 3


class _Outcome(Enum):
    """How far a connection came."""

    MET = auto()
    """The handshake was done, so that the peer is what it was said to be."""
    HUNG_UP = auto()
    """The peer closed it and had said nothing."""
    FAILED = auto()
    """It is no peer of this torrent, or not now."""


@dataclass(frozen=True, slots=True, eq=False)
class _DialUnderWay:
    """A dial to a candidate, and how to end it."""

    began: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Connections:
    """Makes and serves all connections of one torrent.

    Args:
        torrent: Whose they are.
        dial: How peers are reached.
        budget: Dials of all torrents, which this one shares.
        listener: Where peers come in; None lets nobody in.
    """

    def __init__(
        self, torrent: Torrent, dial: Dial, budget: DialBudget, listener: PeerListener | None
    ) -> None:
        self._torrent = torrent
        self._dial = dial
        self._budget = budget
        self._listener = listener
        self._isolation = new_isolation()
        self._stripes = Stripes(torrent)
        self._keys = count(1)
        self._dials: dict[PeerAddress, _DialUnderWay] = {}
        self._open = 0

    def start(self, nursery: trio.Nursery) -> None:
        """Begin; cancelling the nursery ends all of it."""
        nursery.start_soon(self._dial_candidates, nursery)
        if self._torrent.settings.circuits > 1:
            nursery.start_soon(self._stripe_peers, nursery)
        if self._listener is not None:
            nursery.start_soon(self._accept, self._listener, nursery)

    @property
    def _dialling(self) -> int:
        return self._budget.under_way(self)

    @property
    def _has_room(self) -> bool:
        return self._open + self._dialling < self._torrent.settings.max_connections

    @property
    def _max_dials(self) -> int:
        """How many dials there may be: more while there is nobody to fetch anything from."""
        torrent = self._torrent
        is_alone = not self._open and not torrent.traffic.download_rate(trio.current_time())
        settings = torrent.settings
        wanted = settings.max_dials_alone if is_alone else settings.max_dials
        return self._budget.most_of(self, wanted)

    async def _dial_candidates(self, nursery: trio.Nursery) -> None:
        """Keep dialling, while peers are wanted, whenever there is somebody and room for more."""
        torrent = self._torrent
        while torrent.wants_peers:
            now = trio.current_time()
            others = self._dialling - len(self._dials)  # second tries, and more circuits to peers
            torrent.pool.set_max_dials(max(1, self._max_dials - others))
            while self._has_room and (address := torrent.pool.next_to_dial(now)) is not None:
                self._budget.begin(self)
                self._dials[address] = dial = _DialUnderWay(now)
                nursery.start_soon(self._dial_candidate, address, dial)
            self._give_up_dials(now)
            with trio.move_on_after(LOOK_SECONDS):
                await torrent.more_candidates.wait()

    def _give_up_dials(self, now: float) -> None:
        """End the dials that others have waited for too long."""
        for address, dial in self._dials.items():
            if now >= dial.began + self._torrent.pool.patience(address):
                dial.scope.cancel()

    async def _dial_candidate(self, address: PeerAddress, dial: _DialUnderWay) -> None:
        pool = self._torrent.pool
        stream = None
        try:
            with dial.scope:
                stream = await self._reach_candidate(address)
        except OSError as error:
            if is_network_down(error):
                pool.postponed(address, trio.current_time() + NETWORK_DOWN_PAUSE)
                return
        finally:
            self._dials.pop(address, None)
            self._torrent.more_candidates.ring()
        if stream is None:
            pool.failed(address, trio.current_time())
            return
        pool.connected(address, trio.current_time())
        outcome = await self._serve(self._obfuscated_if_needed(stream, address), address)
        now = trio.current_time()
        if outcome is _Outcome.MET and self._torrent.exchange.is_claimed(address):
            pool.postponed(address, now + DOUBLE_PAUSE)  # it is here, on a connection of its own
        elif outcome is _Outcome.MET:
            pool.closed(address, now)
        elif outcome is _Outcome.HUNG_UP and rc4() is not None:
            pool.hung_up(address, now)
        else:
            pool.failed(address, now)

    async def _reach_candidate(self, address: PeerAddress) -> PeerStream:
        """Dial; an onion that takes long once more, by circuits of its own.

        A second try is for those alone whom the user named or who were peers before, and only while
        there is room for a dial more. It has a token of its own, as has every later dial: with the
        same one tor would put it onto the circuits that the first one waits for.

        Raises:
            OSError: It cannot be reached.
        """
        pool = self._torrent.pool
        is_later = address.is_onion and pool.was_dialled_before(address)
        first = partial(self._reach, address, new_isolation() if is_later else self._isolation)
        if not address.is_onion or not pool.is_trusted(address):
            return await first()
        return await first_to_answer(
            first, partial(self._begin_second_try, address), after=SECOND_TRY_SECONDS
        )

    def _begin_second_try(self, address: PeerAddress) -> Reach | None:
        has_dials = self._dialling < self._max_dials
        if not (has_dials and self._has_room and self._torrent.wants_peers):
            return None
        self._budget.begin(self)
        return partial(self._reach, address, new_isolation())

    def _obfuscated_if_needed(self, stream: PeerStream, address: PeerAddress) -> PeerStream:
        if not self._torrent.pool.wants_obfuscation(address) or (new_cipher := rc4()) is None:
            return stream
        return ObfuscatedStream(stream, self._torrent.info_hashes.primary, new_cipher)

    async def _stripe_peers(self, nursery: trio.Nursery) -> None:
        """Add circuits to peers while each brings more, as long as something is to be had."""
        while not self._torrent.all_verified.is_set():
            await trio.sleep(DECIDE_SECONDS)
            for address in self._stripes.decide():
                if self._has_room:
                    self._budget.begin(self)
                    nursery.start_soon(self._dial_stripe, address)
                else:
                    self._stripes.failed(address)

    async def _dial_stripe(self, address: PeerAddress) -> None:
        try:
            with trio.fail_after(STRIPE_SECONDS):
                stream = await self._reach(address, new_isolation())
        except (OSError, trio.TooSlowError):
            self._stripes.failed(address)
            return
        if await self._serve(stream, address) is not _Outcome.MET:
            self._stripes.failed(address)

    async def _reach(self, address: PeerAddress, isolation: str) -> PeerStream:
        """Dial; what was counted as a dial under way no longer is.

        Raises:
            OSError: It cannot be reached.
        """
        try:
            return await self._dial(address.host, address.port, isolation)
        except OSError as error:
            log.debug("cannot reach %s: %s", address, error)
            raise
        finally:
            self._budget.end(self)

    async def _accept(self, listener: PeerListener, nursery: trio.Nursery) -> None:
        while True:
            stream = await listener.accept()
            most = self._torrent.settings.max_connections
            if self._open >= most - most // RESERVED_SHARE:
                await stream.aclose()
            else:
                nursery.start_soon(self._serve, stream, None)

    async def _serve(self, stream: PeerStream, address: PeerAddress | None) -> _Outcome:
        """Talk with a peer until the connection ends."""
        torrent = self._torrent
        self._open += 1
        peer = Peer(torrent, next(self._keys), PeerWire(max_pieces=torrent.num_pieces), address)
        outcome = _Outcome.FAILED
        try:
            early = await self._shake_hands(stream, peer)
            outcome = _Outcome.MET
            self._stripes.connected(peer)
            torrent.peer_connected(peer, trio.current_time())
            await converse(peer, stream, early)
        except StorageError as error:
            torrent.fail(error)
        except (RemoteError, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            log.debug("a peer left: %s", error)
            if outcome is not _Outcome.MET and isinstance(error, HungUp | trio.BrokenResourceError):
                outcome = _Outcome.HUNG_UP
        except Exception:  # whatever one peer provokes, the others must not feel it
            log.exception("a bug ended a connection")
        finally:
            self._open -= 1
            self._stripes.closed(peer)
            torrent.peer_gone(peer)
            torrent.more_candidates.ring()
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
                await stream.aclose()
        return outcome

    async def _shake_hands(self, stream: PeerStream, peer: Peer) -> list[Event]:
        return await shake_hands(
            stream,
            peer.wire,
            self._torrent.info_hashes,
            PeerId(secrets.token_bytes(PEER_ID_SIZE)),
            we_begin=peer.address is not None,
        )
