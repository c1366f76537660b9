"""A thousand onions that nobody answers for, and one good peer, over a real Tor network."""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from integration.conftest import StartCli
from integration.running_tor import other_tor, running_tor
from integration.stock_servers import fixed_answer
from integration.trees import assert_same_tree, make_halves
from tor_control.private_network import PrivateNetwork
from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import parse_metainfo

DEAD = 1000
START_SECONDS = 60.0
"""Until the good one gives something."""
FLOOD_SECONDS = 20.0
"""For which there is nobody but the dead."""
TESTING = "TestingTorNetwork 1\n"
REACHES_PRIVATE_RELAYS = (
    "EnforceDistinctSubnets 0\nDirAllowPrivateAddresses 1\nExtendAllowPrivateAddresses 1\n"
)
"""Of what ``TESTING`` means for a client, that which it needs where all relays are one machine."""
MAX_GROWTH = 8 << 20
"""Bytes of memory that they may cost; dialling for so long costs a few buffers."""


def dead_onion(number: int) -> PeerAddress:
    """A right address: the key is good, and nobody has ever published it."""
    key = SigningKey(number.to_bytes(32, "big")).verify_key
    return PeerAddress.from_compact_onion(bytes(key) + (6881).to_bytes(2, "big"))


def reply(*peers: PeerAddress) -> bytes:
    """What a tracker that names onions says (as BiglyBT's does)."""
    named: list[Encodable] = [{b"ip": peer.host.encode(), b"port": peer.port} for peer in peers]
    return encode({b"interval": 1800, b"peers": named})


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@pytest.fixture
def like_the_real_network(tor_network: PrivateNetwork, tmp_path: Path) -> PrivateNetwork:
    """The same for clients that do not know that it is one for tests.

    Who knows asks a directory again after 5 seconds instead of 15 minutes. On a busy machine that
    is before the last of six has answered, and so it asks for ever. The two kinds look for an onion
    in different places, so that all who are to meet must be of one.
    """
    lines = tor_network.torrc.read_text()
    assert TESTING in lines
    torrc = tmp_path / "torrc"
    torrc.write_text(lines.replace(TESTING, REACHES_PRIVATE_RELAYS))
    return replace(tor_network, torrc=torrc)


def test_a_download_starts_soon_though_the_good_one_is_anywhere_in_a_list_of_the_dead(
    start_cli: StartCli, tmp_path: Path, like_the_real_network: PrivateNetwork
) -> None:
    """With a tor of our own, whose circuits that are of no more use we close."""
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    with ExitStack() as stack:
        lines = "SocksPort auto\nControlPort unix:{folder}/control\n"
        tor = stack.enter_context(running_tor(like_the_real_network, tmp_path / "tor", lines))
        attach = f"unix:{tor.folder}/control"
        seeder = start_cli("seed", str(content), "--output", str(torrent), tor=attach)
        ready = seeder.wait_event("ready")
        named = [dead_onion(number) for number in range(1, DEAD + 1)]
        named.append(PeerAddress.of(ready["onion"], ready["port"]))  # lots are drawn all the same
        port = stack.enter_context(fixed_answer(reply(*named)))
        tracker = f"http://{stack.enter_context(other_tor(tor)).publish(port)}/announce"
        metainfo = replace(parse_metainfo(torrent.read_bytes()), trackers=((tracker,),))
        torrent.write_bytes(metainfo.encode())
        getter = start_cli(
            *("get", str(torrent), "--dir", str(tmp_path / "get"), "--state", str(tmp_path / "s")),
            *("--tor", "launch", "--torrc", str(like_the_real_network.torrc)),
            tor=None,
        )
        getter.wait_event("progress", where=lambda event: event["state"] == "downloading")
        began = time.monotonic()
        getter.complete(START_SECONDS)  # a moment after its start, as there is little to fetch
    print(f"{time.monotonic() - began:.0f} s")
    assert_same_tree(content, tmp_path / "get" / content.name)


def test_a_download_starts_soon_and_memory_stays_flat(
    start_cli: StartCli, tmp_path: Path, common_tor: str
) -> None:
    """The good one is named when the dials are all taken, by a tracker that is heard late."""
    content, torrent = make_halves(tmp_path / "content"), tmp_path / "x.torrent"
    seeder = start_cli("seed", str(content), "--output", str(torrent), tor=common_tor)
    ready = seeder.wait_event("ready")
    dead = [dead_onion(number) for number in range(1, DEAD + 1)]
    good = PeerAddress.of(ready["onion"], ready["port"])
    with ExitStack() as stack:
        ports = [
            stack.enter_context(fixed_answer(reply(*dead[: DEAD // 2]))),
            stack.enter_context(fixed_answer(reply(*dead[DEAD // 2 :]))),
            stack.enter_context(fixed_answer(reply(good), after=FLOOD_SECONDS)),
        ]
        tiers = tuple((f"http://127.0.0.1:{port}/announce",) for port in ports)
        metainfo = replace(parse_metainfo(torrent.read_bytes()), trackers=tiers)
        torrent.write_bytes(metainfo.encode())
        getter = start_cli(
            *("get", str(torrent), "--dir", str(tmp_path / "get"), "--allow-private-addresses"),
            *("--max-down", "200k"),  # or it might be over before it is told that it began
            tor=common_tor,
        )
        getter.wait_event("progress", where=lambda event: event["state"] == "downloading")
        began = time.monotonic()
        time.sleep(FLOOD_SECONDS / 4)  # until it is under way
        before = memory(getter.process.pid)
        getter.wait_event("progress", START_SECONDS, where=lambda event: event["peers"] > 0)
        took, grown = time.monotonic() - began, memory(getter.process.pid) - before
        getter.complete()
    print(f"{took:.0f} s of which {FLOOD_SECONDS:.0f} with the dead alone; {grown >> 10} KiB grown")
    assert_same_tree(content, tmp_path / "get" / content.name)
    assert took < START_SECONDS
    assert grown < MAX_GROWTH
