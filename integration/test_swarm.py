"""A swarm lives on when its first seeder has left."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from integration.command_line import Cli
from integration.conftest import StartCli
from integration.trees import assert_same_tree

MIB = 1 << 20

StartGetter = Callable[..., Cli]


@pytest.fixture
def start_getter(start_cli: StartCli, common_tor: str) -> StartGetter:
    """Getters share a tor, and have an onion and circuits each."""

    def start(source: str, folder: Path, *more: str) -> Cli:
        return start_cli("get", source, "--dir", str(folder), *more, tor=common_tor)

    return start


def test_a_tracker_is_enough_and_the_seeder_may_leave(
    start_cli: StartCli,
    start_getter: StartGetter,
    content_tree: Callable[..., Path],
    tmp_path: Path,
) -> None:
    content = content_tree(big=2 * MIB)
    torrent = tmp_path / "x.torrent"
    announce = start_cli("tracker").wait_event("ready")["announce"]
    seeder = start_cli("seed", str(content), "--tracker", announce, "--output", str(torrent))
    link = seeder.wait_event("ready")["magnet"]
    with_tracker_only = link.partition("&x.pe=")[0]
    assert "&tr=" in with_tracker_only
    folders = [tmp_path / f"get {number}" for number in range(4)]
    sources = [with_tracker_only, str(torrent), with_tracker_only]
    first = [
        start_getter(source, folder, "--seed")
        for source, folder in zip(sources, folders, strict=False)
    ]
    for one in first:
        one.complete()
        one.wait_event("ready")
    seeder.interrupt()
    start_getter(with_tracker_only, folders[3]).complete()
    for folder in folders:
        assert_same_tree(content, folder / content.name)


def test_a_link_to_one_getter_is_enough_and_that_one_may_leave_too(
    start_cli: StartCli,
    start_getter: StartGetter,
    content_tree: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """No tracker: the others find each other through the one whose address they were given."""
    content = content_tree(big=4 * MIB)
    folders = [tmp_path / f"get {number}" for number in range(4)]
    seeder = start_cli("seed", str(content))
    hub = start_getter(seeder.wait_event("ready")["magnet"], folders[0], "--seed")
    hub.complete()
    link_to_hub = hub.wait_event("ready")["magnet"]
    assert link_to_hub.count("x.pe=") == 1
    others = [start_getter(link_to_hub, folder, "--seed") for folder in folders[1:3]]
    for one in others:
        one.complete()
        one.wait_event("ready")
    seeder.interrupt()
    slowly = ("--max-down", "150k", "--circuits", "1")
    last = start_getter(link_to_hub, folders[3], *slowly)
    last.wait_event("progress", where=lambda event: event["peers"] >= 2)
    hub.interrupt()
    last.complete()
    for folder in folders:
        assert_same_tree(content, folder / content.name)


def test_six_get_all_from_a_super_seeder_that_leaves_after_one_copy(
    start_cli: StartCli, start_getter: StartGetter, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    content.mkdir()
    size = 6 * MIB
    (content / "file.bin").write_bytes(Random(1).randbytes(size))
    options = ("--super-seed", "--until-copies", "1", "--piece-size", "65536")
    seeder = start_cli("seed", str(content), *options)
    link = seeder.wait_event("ready")["magnet"]
    folders = [tmp_path / f"get {number}" for number in range(6)]
    getters = [start_getter(link, folder, "--seed") for folder in folders]
    assert seeder.wait() == 0
    for one in getters:
        one.complete()
    for folder in folders:
        assert_same_tree(content, folder / content.name)
    last = [event for event in seeder.events if event["event"] == "progress"][-1]
    assert last["state"] == "stopped"
    print(f"{last['uploaded'] / size:.2f} copies sent")
    assert last["uploaded"] < 1.4 * size
