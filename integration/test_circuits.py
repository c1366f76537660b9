"""No two purposes of one torrent share a circuit: tor's own events say so.

One onion service is everything at once: two trackers, two web seeds and a peer. Tor has a circuit
to it from the first of them on, and would use that for all the others if they were not kept apart.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from integration.hostile_servers import answer, served
from integration.stream_watch import watch_streams
from tor_control.config import TorConfig
from tor_control.controller import Tor, open_tor
from tor_control.private_network import PrivateNetwork
from tor_control.tor_stream import TorStream
from torrent_onion.core.bencoding import encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.engine.transport import Buffer, PeerStream

PATIENCE = 180.0
SIZE = 1 << 20
PURPOSES = {"tracker/1", "tracker/2", "seed/1", "seed/2", "peer"}
_RANGE = re.compile(rb"Range: bytes=(\d+)-(\d+)")


def purpose_of(request: bytes) -> str:
    """What somebody wants who begins like this."""
    if not request.startswith(b"GET "):
        return "peer"
    return "/".join(request.split(b" ")[1].decode().split("/")[1:3])


@dataclass
class Everything:
    """Serves all purposes on one port; data only when each has been asked."""

    data: bytes
    asked: set[str] = field(default_factory=set)
    all_asked: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, stream: TorStream) -> None:
        request = await stream.receive_some(65536)
        purpose = purpose_of(request)
        self.asked.add(purpose)
        if self.asked >= PURPOSES:
            self.all_asked.set()
        if purpose == "peer":
            await trio.sleep_forever()
        if purpose.startswith("tracker"):
            await stream.send_all(answer(encode({b"interval": 1800, b"peers": b""})))
            return
        await self.all_asked.wait()
        match = _RANGE.search(request)
        assert match
        start, end = int(match[1]), int(match[2]) + 1
        head = (
            f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{SIZE}\r\n"
            f"Content-Length: {end - start}\r\n\r\n"
        )
        await stream.send_all(head.encode() + self.data[start:end])


class Recorder:
    """Dials, and keeps which isolation token was used for which purpose."""

    def __init__(self, tor: Tor) -> None:
        self._tor = tor
        self.tokens: dict[str, set[str]] = {}

    async def dial(self, host: str, port: int, isolation: str) -> PeerStream:
        return RecordedStream(await self._tor.dial(host, port, isolation), isolation, self)


class RecordedStream:
    """Tells the purpose by the first bytes that are sent."""

    def __init__(self, stream: TorStream, token: str, recorder: Recorder) -> None:
        self._stream = stream
        self._token: str | None = token
        self._recorder = recorder

    async def receive_into(self, buffer: memoryview) -> int:
        return await self._stream.receive_into(buffer)

    async def send_buffers(self, buffers: Sequence[Buffer]) -> None:
        if self._token is not None:
            purpose = purpose_of(b"".join(buffers))
            self._recorder.tokens.setdefault(purpose, set()).add(self._token)
            self._token = None
        await self._stream.send_buffers(buffers)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_no_two_purposes_share_a_circuit(tor_network: PrivateNetwork, tmp_path: Path) -> None:
    config = TorConfig(where="launch", state=tmp_path / "state", extra_torrc=tor_network.torrc)
    content = tmp_path / "file.bin"
    content.write_bytes(random.Random(3).randbytes(SIZE))
    created = (await create_torrent(content, piece_length=65536)).metainfo
    everything = Everything(content.read_bytes())
    with trio.fail_after(PATIENCE):
        async with (
            open_tor(config, lambda _: None) as theirs,
            open_tor(config, lambda _: None) as ours,
            served(theirs, everything) as onion,
        ):
            peer = PeerAddress(onion.address, onion.port)
            metainfo = replace(
                created,
                trackers=tuple((f"http://{peer}/tracker/{n}/announce",) for n in (1, 2)),
                web_seeds=tuple(f"http://{peer}/seed/{n}/" for n in (1, 2)),
            )
            recorder = Recorder(ours)
            with watch_streams(ours) as watch:
                async with open_session(dial=recorder.dial) as session:
                    spec = TorrentSpec(metainfo, tmp_path / "get", peers=(peer,))
                    await session.add(spec).wait_complete()
    tokens = recorder.tokens
    assert tokens.keys() == PURPOSES
    assert watch.targets == {str(peer)}
    used = [token for each in tokens.values() for token in each]
    assert len(set(used)) == len(used), "two purposes have one token"
    # Tor was asked with just these, and gave each circuits of its own.
    assert set(used) <= watch.circuits.keys()
    carried = [circuit for circuits in watch.circuits.values() for circuit in circuits]
    assert len(set(carried)) == len(carried), "a circuit carried two purposes"


async def test_torrents_that_end_together_share_no_circuit(
    tor_network: PrivateNetwork, tmp_path: Path
) -> None:
    """They tell one tracker that they stop; it cannot see that one program does."""
    config = TorConfig(where="launch", state=tmp_path / "state", extra_torrc=tor_network.torrc)
    told: dict[str, list[str]] = {"started": [], "stopped": []}
    all_started = trio.Event()

    async def track(stream: TorStream) -> None:
        request = (await stream.receive_some(65536)).decode("ascii")
        [event] = re.findall(r"event=(\w+)", request)
        told[event].append(request.split(" ")[1])
        await stream.send_all(answer(encode({b"interval": 1800, b"peers": b""})))
        if len(told["started"]) == 2:
            all_started.set()

    with trio.fail_after(PATIENCE):
        async with (
            open_tor(config, lambda _: None) as theirs,
            open_tor(config, lambda _: None) as ours,
            served(theirs, track) as onion,
        ):
            url = f"http://{onion.address}:{onion.port}/announce"
            with watch_streams(ours) as watch:
                async with open_session(dial=ours.dial) as session:
                    for name in ("one", "two"):
                        content = tmp_path / name
                        content.write_bytes(name.encode() * 1000)
                        created = await create_torrent(content, torrent_format=TorrentFormat.V1)
                        metainfo = replace(created.metainfo, trackers=((url,),))
                        session.add(TorrentSpec(metainfo, tmp_path, shared_path=content))
                    await all_started.wait()
    assert len(told["stopped"]) == 2
    for field_ in ("info_hash", "peer_id", "key"):
        values = [re.findall(rf"[?&]{field_}=([^&]*)", target) for target in told["stopped"]]
        assert values[0] != values[1], field_
    assert len(watch.circuits) == 2
    one, two = watch.circuits.values()
    assert not one & two
