"""Several torrents in one command, over real onions, each by its own."""

from collections.abc import Callable
from pathlib import Path

from integration.conftest import StartCli
from integration.trees import assert_same_tree

MIB = 1 << 20


def test_two_folders_by_one_command_each(
    start_cli: StartCli, content_tree: Callable[..., Path], tmp_path: Path
) -> None:
    contents = [content_tree(big=MIB, seed=seed) for seed in (1, 2)]
    seeder = start_cli("seed", *map(str, contents))
    ready = [seeder.wait_event("ready") for _ in contents]
    assert {event["index"] for event in ready} == {0, 1}
    assert ready[0]["onion"] != ready[1]["onion"]
    folder = tmp_path / "get"
    getter = start_cli("get", *(event["magnet"] for event in ready), "--dir", str(folder))
    assert {getter.complete(), getter.complete()} == {folder / one.name for one in contents}
    assert getter.wait() == 0
    for content in contents:
        assert_same_tree(content, folder / content.name)


def test_serving_ends_when_the_goal_is_reached(
    start_cli: StartCli, content_tree: Callable[..., Path], tmp_path: Path
) -> None:
    content = content_tree(big=MIB)
    key = tmp_path / "key"
    seeder = start_cli("seed", str(content), "--until-copies", "1", "--key", str(key))
    link = seeder.wait_event("ready")["magnet"]
    arguments = ("--dir", str(tmp_path / "get"), "--only", "*.txt", "--sequential")
    some = start_cli("get", link, *arguments)
    some.complete()
    assert some.wait() == 0
    names = {path.suffix for path in (tmp_path / "get").rglob("*") if path.is_file()}
    assert names == {".txt"}
    rest = start_cli("get", link, "--dir", str(tmp_path / "all"))
    rest.complete()
    assert_same_tree(content, tmp_path / "all" / content.name)
    assert seeder.wait() == 0
    assert seeder.events[-1]["state"] == "stopped"
    assert key.stat().st_mode & 0o777 == 0o600
