"""What of launching needs no tor: its log, its folders."""

from pathlib import Path

import pytest

from tor_control.errors import TorLaunchFailed
from tor_control.tor_slot import (
    has_room_for_sockets,
    make_socket_folder,
    make_state_folder,
    reason_in_log,
    take_slot,
)

BANNER = "Nov 23 07:08:12.500 [notice] Tor 0.4.9.11 running on Linux with Libevent.\n"
ROOT = "Nov 23 07:08:13.000 [warn] You are running Tor as root. You don't need to.\n"
UNKNOWN = "Nov 23 07:08:50.807 [warn] Failed to parse/validate config: Unknown option 'Foo'.\n"
ABOVE = "Nov 23 07:08:50.807 [err] Reading config failed--see warnings above.\n"
DISK = "Nov 23 07:08:50.807 [err] Could not write to disk.\n"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", None),
        (BANNER, None),
        (BANNER + ROOT, None),
        (
            BANNER + ROOT + UNKNOWN + ABOVE,
            "Failed to parse/validate config: Unknown option 'Foo'",
        ),
        (BANNER + UNKNOWN + DISK, "Could not write to disk"),
        (BANNER + UNKNOWN + ABOVE + BANNER, None),
        ("no banner\n" + DISK, "Could not write to disk"),
    ],
)
def test_the_reason_is_found_in_the_last_life(log: str, reason: str | None) -> None:
    assert reason_in_log(log) == reason


async def test_the_first_free_slot_is_taken(tmp_path: Path) -> None:
    first = await take_slot(tmp_path)
    second = await take_slot(tmp_path)
    assert first.folder == tmp_path / "tor/1"
    assert second.folder == tmp_path / "tor/2"
    first.release()
    again = await take_slot(tmp_path)
    assert again.folder == first.folder
    again.release()
    second.release()


async def test_a_folder_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "tor").mkdir(mode=0o755)
    slot = await take_slot(tmp_path)
    assert (tmp_path / "tor").stat().st_mode & 0o777 == 0o700
    assert slot.data.stat().st_mode & 0o777 == 0o700
    slot.release()


async def test_an_unusable_state_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TorLaunchFailed, match="--state"):
        await take_slot(tmp_path / "file")


async def test_a_pid_file_alone_makes_nothing_stale(tmp_path: Path) -> None:
    slot = await take_slot(tmp_path)
    slot.pid_file.write_text("1\n")
    assert slot.stale_pid() is None
    assert not slot.is_used_by_tor()
    assert await slot.end_stale_tor()
    slot.pid_file.write_text("nonsense")
    assert slot.stale_pid() is None
    slot.release()


def test_sockets_are_in_the_state_folder_if_its_path_is_short_and_plain() -> None:
    assert has_room_for_sockets(Path("/home/somebody/.local/state/torrent-onion"))
    assert not has_room_for_sockets(Path("/" + "x" * 100))
    assert not has_room_for_sockets(Path("/Users/somebody/Library/Application Support/x"))


def test_sockets_are_elsewhere_if_it_is_not(short_path: Path) -> None:
    folder = make_socket_folder({"XDG_RUNTIME_DIR": str(short_path)})
    assert folder.parent == short_path
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_place_is_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "missing"))
    with pytest.raises(TorLaunchFailed, match="TMPDIR"):
        make_socket_folder({})
    long = tmp_path / ("x" * 100)
    long.mkdir()
    with pytest.raises(TorLaunchFailed, match="TMPDIR"):
        make_socket_folder({"XDG_RUNTIME_DIR": str(long)})
    assert list(long.iterdir()) == []


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TorLaunchFailed, match="--state"):
        make_state_folder(tmp_path / "file" / "state")
