"""Every byte that we say of ourselves on a connection, against a golden file.

Two torrents in two runs: whatever is neither random nor the torrent's own is the same in all four,
and equals the file, so that no new field appears unnoticed. No random field ever repeats.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryListener, MemoryNetwork, MemoryPeerStream
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import Metainfo, TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import Buffer
from torrent_onion.protocol.handshake import HANDSHAKE_SIZE

ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
OUTSIDE_TOR = "198.51.100.1"
GOLDEN = Path(__file__).parents[1] / "golden"
PIECE = 16384
STRIPE = re.compile(rb"6:stripe16:(.{16})", re.DOTALL)
EXTENDED, EXTENSION_HANDSHAKE = 20, 0


class RecordedStream(MemoryPeerStream):
    """Keeps what is sent."""

    def __init__(self, stream: MemoryPeerStream) -> None:
        super().__init__(stream._stream)
        self.sent = bytearray()

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        self.sent += b"".join(buffers)
        await super().send_buffers(buffers)


class RecordingNetwork(MemoryNetwork):
    """Keeps what each side of each connection sends."""

    def __init__(self) -> None:
        super().__init__()
        self.dialled_streams: list[RecordedStream] = []

    async def dial(self, host: str, port: int, isolation: str) -> MemoryPeerStream:
        stream = RecordedStream(await super().dial(host, port, isolation))
        self.dialled_streams.append(stream)
        return stream


class RecordingListener(MemoryListener):
    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[RecordedStream] = []

    async def accept(self) -> MemoryPeerStream:
        stream = RecordedStream(await super().accept())
        self.accepted.append(stream)
        return stream


async def run(metainfo: Metainfo, content: Path, folder: Path, host: str) -> tuple[bytes, bytes]:
    """Fetch a torrent; give what the getter and the seeder said."""
    network = RecordingNetwork()
    address = PeerAddress(host, 6881)
    listener = RecordingListener()
    network.listeners[address] = listener
    async with open_session(dial=network.dial) as session:
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await session.add(shared, listener=listener).wait_complete()
        with trio.fail_after(30):
            await session.add(TorrentSpec(metainfo, folder, peers=(address,))).wait_complete()
    return bytes(network.dialled_streams[0].sent), bytes(listener.accepted[0].sent)


def opening(sent: bytes, metainfo: Metainfo) -> tuple[list[str], list[bytes]]:
    """The handshakes as lines, what is random named; and the random fields."""
    handshake, rest = sent[:HANDSHAKE_SIZE], sent[HANDSHAKE_SIZE:]
    info_hash, peer_id = handshake[28:48], handshake[48:]
    assert metainfo.info.info_hashes.matches(info_hash)
    lines = [f"{handshake[:28].hex()} INFO_HASH PEER_ID"]
    while True:
        length = int.from_bytes(rest[:4], "big")
        message, rest = rest[4 : 4 + length], rest[4 + length :]
        if message[:2] == bytes([EXTENDED, EXTENSION_HANDSHAKE]):
            size = b"13:metadata_sizei%de" % len(metainfo.info.raw)
            shown = message[2:].replace(size, b"13:metadata_sizeiSIZEe")
            stripe = STRIPE.search(shown)
            lines.append(STRIPE.sub(b"6:stripe16:STRIPE", shown).decode("ascii"))
            return lines, [peer_id, *([stripe[1]] if stripe else [])]
        lines.append(message.hex())


@pytest.mark.parametrize(
    ("host", "golden", "stripes"),
    [(ONION, "opening.txt", 4), (OUTSIDE_TOR, "opening_clearnet.txt", 0)],
)
async def test_nothing_in_our_opening_tells_us_apart(
    tmp_path: Path, host: str, golden: str, stripes: int
) -> None:
    said: list[str] = []
    drawn: list[bytes] = []
    for name in ("one", "two"):
        content = tmp_path / f"{name}.bin"
        content.write_bytes(random.Random(name).randbytes(3 * PIECE))
        created = await create_torrent(
            content, piece_length=PIECE, torrent_format=TorrentFormat.HYBRID
        )
        for attempt in range(2):
            folder = tmp_path / f"{name} {attempt}"
            lines: list[str] = []
            for who, sent in zip(
                ("getter", "seeder"),
                await run(created.metainfo, content, folder, host),
                strict=True,
            ):
                opened, random_fields = opening(sent, created.metainfo)
                lines += [who, *(f"  {line}" for line in opened)]
                drawn += random_fields
            said.append("\n".join(lines) + "\n")
    assert len(set(said)) == 1
    assert said[0] == (GOLDEN / golden).read_text()
    assert (
        len(set(drawn)) == len(drawn) == 8 + stripes
    )  # a peer id each, and a getter's stripe token
    assert len({field[:2] for field in drawn}) > 6, "a client's prefix"
