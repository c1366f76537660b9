"""A thousand onions that nobody answers for, and one good peer, over a real Tor network."""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nacl.signing import SigningKey

from integration.conftest import StartCli
from integration.stock_servers import fixed_answer
from integration.trees import assert_same_tree, make_halves
from torrent_onion.core.bencoding import Encodable, encode
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import parse_metainfo

DEAD = 1000
START_SECONDS = 60.0
"""Until the good one gives something."""
FLOOD_SECONDS = 20.0
"""For which there is nobody but the dead."""
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
