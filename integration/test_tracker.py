"""``torrent-onion tracker`` behind a real onion service, asked through another tor."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from nacl.signing import SigningKey

from integration.command_line import Cli
from integration.conftest import StartCli
from tor_control.config import TorConfig
from tor_control.controller import open_tor
from tor_control.private_network import PrivateNetwork
from torrent_onion.core.identity import PeerAddress, PeerId
from torrent_onion.engine.http_client import HttpClient
from torrent_onion.protocol.http import parse_url
from torrent_onion.protocol.tracker import (
    AnnounceReply,
    AnnounceRequest,
    ScrapeReply,
    onion_proof_message,
    parse_announce_reply,
    parse_scrape_reply,
    scrape_url,
)

PATIENCE = 150.0
"""Seconds for a whole test."""
SECONDS = 60.0
"""For one request; most take one."""
MAX_BYTES = 100_000
HASH = bytes(range(20))
OTHER_HASH = bytes(20)


@dataclass(frozen=True)
class Asker:
    """Asks a tracker as our own client does, for peers of the test's making."""

    http: HttpClient
    announce_url: str

    def request(self, number: int, info_hash: bytes = HASH) -> AnnounceRequest:
        key = SigningKey(number.to_bytes(32, "big"))
        message = onion_proof_message(info_hash, self.announce_url, int(time.time() // 60))
        return AnnounceRequest(
            info_hash=info_hash,
            peer_id=PeerId(number.to_bytes(20, "big")),
            key=bytes(4),
            left=0 if number == 1 else 5,
            own_address=address(number),
            onion_sig=key.sign(message).signature,
        )

    async def get(self, url: str) -> bytes:
        reply = await self.http.fetch(parse_url(url), "test", max_bytes=MAX_BYTES, seconds=SECONDS)
        return reply.body

    async def announce(self, request: AnnounceRequest) -> AnnounceReply:
        reply = parse_announce_reply(await self.get(request.url(self.announce_url)))
        assert isinstance(reply, AnnounceReply), reply
        return reply

    async def scrape(self) -> ScrapeReply:
        url = scrape_url(self.announce_url, HASH)
        assert url is not None
        reply = parse_scrape_reply(await self.get(url), HASH)
        assert isinstance(reply, ScrapeReply), reply
        return reply


def address(number: int) -> PeerAddress:
    key = bytes(SigningKey(number.to_bytes(32, "big")).verify_key)
    return PeerAddress.from_compact_onion(key + (1000 + number).to_bytes(2, "big"))


@pytest.fixture
def config(tor_network: PrivateNetwork, tmp_path: Path) -> TorConfig:
    return TorConfig(where="launch", state=tmp_path / "asker", extra_torrc=tor_network.torrc)


@asynccontextmanager
async def asking(config: TorConfig, tracker: Cli) -> AsyncIterator[Asker]:
    ready = await trio.to_thread.run_sync(tracker.wait_event, "ready")
    assert ready["argument"] == f"--tracker {ready['announce']}"
    async with open_tor(config) as tor:
        yield Asker(HttpClient(tor.dial), ready["announce"])


async def test_peers_find_each_other_through_it(start_cli: StartCli, config: TorConfig) -> None:
    with trio.fail_after(PATIENCE):
        tracker = start_cli("tracker")
        async with asking(config, tracker) as asker:
            assert (await asker.announce(asker.request(1))).peers == ()
            assert (await asker.announce(asker.request(2))).peers == (address(1),)
            forged = replace(asker.request(3), own_address=address(4))
            assert (await asker.announce(forged)).warning is not None
            unsigned = replace(asker.request(5), own_address=None, onion_sig=None)
            assert set((await asker.announce(unsigned)).peers) == {address(1), address(2)}
            assert await asker.scrape() == ScrapeReply(seeds=1, leechers=3, downloaded=0)
            figures = await trio.to_thread.run_sync(tracker.wait_event, "tracker")
            assert not any(str(address(n).host) in str(figures) for n in (1, 2, 4))
        assert await trio.to_thread.run_sync(tracker.interrupt) == 130


async def test_its_address_its_list_and_its_memory_last(
    start_cli: StartCli, config: TorConfig, tmp_path: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(f"{HASH.hex()}\n")
    files = ("--key", str(tmp_path / "key"), "--database", str(tmp_path / "db"))
    arguments = ("tracker", "--allow", str(allowed), *files)
    with trio.fail_after(PATIENCE):
        tracker = start_cli(*arguments)
        async with asking(config, tracker) as asker:
            await asker.announce(asker.request(1))
            refused = await asker.get(asker.request(1, OTHER_HASH).url(asker.announce_url))
            assert b"failure reason" in refused
            assert await trio.to_thread.run_sync(tracker.interrupt) == 130
        # By a tor that knows nothing of the first run: one that does may try the old way in for
        # two minutes before it asks where the onion is now.
        async with asking(config, start_cli(*arguments)) as again:
            assert again.announce_url == asker.announce_url
            assert (await again.announce(again.request(2))).peers == (address(1),)
