import errno
import fcntl
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from tor_control.key_file import KeyFileUnusable, LastingAddress, hold_or_create
from tor_control.onion_address import OnionKey

SEED = bytes(range(32))
ADDRESS = LastingAddress(OnionKey.from_seed(SEED), 12345)
TEXT = (
    "torrent-onion key 1\n"
    "# Whoever has this file is the onion service. Keep it, and keep it secret.\n"
    f"# {ADDRESS.key.address}\n"
    f"seed {SEED.hex()}\n"
    "port 12345\n"
)


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def read(path: Path, seed: bytes = b"z" * 32, port: int = 80) -> LastingAddress:
    with hold_or_create(path, seed, port) as address:
        return address


def test_a_new_address_is_made_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert read(path, SEED, 12345) == ADDRESS
    assert path.read_text() == TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path) == ADDRESS
    assert path.read_text() == TEXT


def test_it_is_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        read(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_modes_that_keep_others_out(tmp_path: Path, mode: int) -> None:
    assert read(written(tmp_path, TEXT, mode)) == ADDRESS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601, 0o777])
def test_modes_that_let_others_in_are_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, TEXT, mode)
    with pytest.raises(KeyFileUnusable, match=r"^Others may read the key file .*chmod 600"):
        read(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_comments_may_go(tmp_path: Path) -> None:
    bare = "".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith("#"))
    assert read(written(tmp_path, bare)) == ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "torrent-onion key 1\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("key 1", "key 2"),
        TEXT.replace("port 12345", "port 0"),
        TEXT.replace("port 12345", "port 65536"),
        TEXT.replace("port 12345", "port 080"),
        TEXT.replace(SEED.hex(), SEED.hex()[:-2]),
        TEXT.replace(SEED.hex(), "g" * 64),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("#", "# " + "x" * 2000, 1),
        b"== ed25519v1-secret: type0 ==\0\0\0" + bytes(64),
        b"\xff" * 300,
    ],
)
def test_what_is_no_key_file_is_refused_and_left_as_it_is(
    tmp_path: Path, text: str | bytes
) -> None:
    path = written(tmp_path, text)
    before = path.read_bytes()
    with pytest.raises(KeyFileUnusable, match="is no key file") as caught:
        read(path)
    assert path.read_bytes() == before
    assert SEED.hex() not in str(caught.value)


def test_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnusable):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileUnusable, match="is no key file"):
        read(tmp_path / "pipe")


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnusable, match=r"cannot be used \(No such file or directory\)"):
        read(tmp_path / "missing" / "key")


def test_half_a_file_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyFileUnusable, match="No space left"):
        read(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_the_seed_is_in_no_repr(tmp_path: Path) -> None:
    address = read(tmp_path / "key", SEED)
    assert SEED.hex() not in repr(address)
    assert repr(SEED) not in repr(address)


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_only_one_uses_it_at_a_time(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, TEXT, mode)
    with hold_or_create(path, SEED, 80), pytest.raises(KeyFileUnusable) as caught:
        read(path)
    assert str(caught.value) == f"{path} is in use by another torrent-onion; name another key."
    with pytest.raises(ZeroDivisionError), hold_or_create(path, SEED, 80):
        raise ZeroDivisionError
    assert read(path) == ADDRESS
    assert path.read_text() == TEXT


def test_a_new_one_is_held_too(tmp_path: Path) -> None:
    with (
        hold_or_create(tmp_path / "key", SEED, 80),
        pytest.raises(KeyFileUnusable, match="in use"),
    ):
        read(tmp_path / "key")


def test_of_two_first_starts_at_once_one_is_told_that_it_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes when the first has a new file open and has written nothing to it."""
    path, make = tmp_path / "key", os.open

    def interrupted(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = make(name, flags, mode)
        if flags & os.O_CREAT:
            monkeypatch.setattr(os, "open", make)
            second = stack.enter_context(hold_or_create(path, SEED, 12345))
            assert second == ADDRESS
        return descriptor

    monkeypatch.setattr(os, "open", interrupted)
    with ExitStack() as stack, pytest.raises(KeyFileUnusable, match="in use by another"):
        read(path)
    assert path.read_text() == TEXT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("answer", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_disk_without_second_names_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(answer, "No links there")

    monkeypatch.setattr(os, "link", fail)
    assert read(tmp_path / "key", SEED, 12345) == ADDRESS
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_a_disk_that_cannot_lock_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    assert read(tmp_path / "key", SEED, 12345) == ADDRESS
