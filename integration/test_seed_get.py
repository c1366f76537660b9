"""Folders that cross a real Tor network, from one process of ours to another."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.trees import assert_same_tree, make_tree

MIB = 1 << 20

MakeTree = Callable[..., Path]


def seed(start_cli: StartCli, content: Path, *options: str) -> tuple[Cli, str]:
    """Seed a folder. Returns the process and its magnet link, when that works."""
    seeder = start_cli("seed", str(content), *options)
    return seeder, seeder.wait_event("ready")["magnet"]


def test_a_folder_with_a_large_file(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree(big=64 * MIB)
    torrent = tmp_path / "content.torrent"
    _, magnet = seed(start_cli, content, "--output", str(torrent))
    peer = magnet.partition("x.pe=")[2]
    getter = start_cli("get", str(torrent), "--peer", peer, "--dir", str(tmp_path / "get"))
    assert getter.complete() == tmp_path / "get" / content.name
    assert getter.wait() == 0
    assert_same_tree(content, tmp_path / "get" / content.name)


def test_knowing_only_the_magnet_link(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree()
    seeder, magnet = seed(start_cli, content)
    ready = seeder.events[-1] if seeder.events[-1]["event"] == "ready" else None
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    getter.complete()
    assert getter.wait() == 0
    assert_same_tree(content, tmp_path / "get" / content.name)
    assert ready is None or f"{ready['onion']}:{ready['port']}" in magnet


def test_a_single_file(start_cli: StartCli, tmp_path: Path) -> None:
    content = tmp_path / "one file.bin"
    content.write_bytes(os.urandom(3 * MIB + 1))
    _, magnet = seed(start_cli, content)
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


def test_a_second_start_takes_the_consensus_of_the_first(
    start_cli: StartCli, tmp_path: Path
) -> None:
    content = tmp_path / "content.txt"
    content.write_text("x")
    state = tmp_path / "kept"

    def start() -> tuple[int, bytes]:
        seeder = start_cli("seed", str(content), state=state)
        seeder.wait_event("ready")
        seeder.interrupt()
        [cached] = state.rglob("cached-microdesc-consensus")
        return cached.stat().st_mtime_ns, cached.read_bytes()

    assert start() == start()


def test_killed_at_half_and_run_again(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree(big=48 * MIB)
    seeder, magnet = seed(start_cli, content)
    total = sum(path.stat().st_size for path in content.rglob("*") if path.is_file())
    first = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    half = first.wait_event("progress", where=lambda event: event["done"] > total / 3)
    first.kill()
    assert not (tmp_path / "get" / content.name).exists()
    again = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    again.complete()
    assert again.wait() == 0
    assert_same_tree(content, tmp_path / "get" / content.name)
    time.sleep(2)  # for the seeder's next progress event
    uploaded = seeder_uploads(seeder)
    assert uploaded < total + (total - half["done"]) + 8 * MIB


def seeder_uploads(seeder: Cli) -> int:
    events = (event for event in seeder.events if event["event"] == "progress")
    return max(int(event["uploaded"]) for event in events)


def test_two_getters_at_once(start_cli: StartCli, content_tree: MakeTree, tmp_path: Path) -> None:
    content = content_tree(big=8 * MIB)
    _, magnet = seed(start_cli, content)
    getters = [start_cli("get", magnet, "--dir", str(tmp_path / name)) for name in ("one", "two")]
    for getter, name in zip(getters, ("one", "two"), strict=True):
        getter.complete()
        assert_same_tree(content, tmp_path / name / content.name)


def test_a_getter_that_seeds_serves_the_next_one_alone(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree(big=2 * MIB)
    seeder, magnet = seed(start_cli, content)
    middle = start_cli("get", magnet, "--dir", str(tmp_path / "middle"), "--seed")
    middle.complete()
    link = middle.wait_event("ready")["magnet"]
    assert seeder.interrupt() == 130
    last = start_cli("get", link, "--dir", str(tmp_path / "last"))
    last.complete()
    assert_same_tree(content, tmp_path / "last" / content.name)


def test_the_onion_is_gone_when_seeding_ends(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    seeder, magnet = seed(start_cli, content_tree())
    assert seeder.interrupt(signal.SIGTERM) == 130
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"), "--timeout", "15")
    assert getter.wait() == 4
    error = getter.events[-1]
    assert error["event"] == "error"
    assert error["code"] == 4
    assert list((tmp_path / "get").iterdir()) == []


def test_data_that_changed_since_the_last_run_is_fetched_anew(
    start_cli: StartCli, content_tree: MakeTree, tmp_path: Path
) -> None:
    content = content_tree(big=24 * MIB)
    _, magnet = seed(start_cli, content)
    first = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    first.wait_event("progress", where=lambda event: event["done"] > 4 * MIB)
    first.kill()
    partial = tmp_path / "get" / (content.name + ".part")
    with (partial / "big" / "big.bin").open("r+b") as file:
        file.write(b"damaged" * 1000)
    getter = start_cli("get", magnet, "--dir", str(tmp_path / "get"))
    getter.complete()
    assert_same_tree(content, tmp_path / "get" / content.name)


def test_two_torrents_in_one_folder_keep_out_of_each_others_way(
    start_cli: StartCli, tmp_path: Path
) -> None:
    contents = [make_tree(tmp_path / f"from {n}" / f"shared {n}", seed=n) for n in (1, 2)]
    links = [seed(start_cli, content)[1] for content in contents]
    getters = [start_cli("get", link, "--dir", str(tmp_path / "get")) for link in links]
    for getter, content in zip(getters, contents, strict=True):
        getter.complete()
        assert_same_tree(content, tmp_path / "get" / content.name)
