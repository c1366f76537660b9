from pathlib import Path

import click
from click.testing import CliRunner

from torrent_onion.cli.fetch_options import FetchOptions, fetch_options
from torrent_onion.cli.getting import GetRequest, make_spec
from torrent_onion.core.magnet import parse_magnet

LINK = f"magnet:?xt=urn:btih:{'ab' * 20}&x.pe=203.0.113.1:1"


def options_of(*arguments: str) -> FetchOptions | None:
    """What a command gets; None if it is refused."""
    seen: list[FetchOptions] = []

    @click.command("act")
    @fetch_options
    def act(fetch: FetchOptions) -> None:
        seen.append(fetch)

    result = CliRunner().invoke(act, arguments)
    assert result.exit_code == (0 if seen else 2)
    return seen[0] if seen else None


def test_how_the_disk_is_used_reaches_the_engine(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    arguments = [each for folder in folders for each in ("--reuse", str(folder))]
    options = options_of("--preallocate", *arguments)
    assert options is not None
    spec = make_spec(GetRequest(parse_magnet(LINK), (), options), None)
    assert spec.preallocate
    assert spec.reuse == tuple(folders)


def test_neither_is_done_unasked() -> None:
    options = options_of()
    assert options is not None
    spec = make_spec(GetRequest(parse_magnet(LINK), (), options), None)
    assert (spec.preallocate, spec.reuse) == (False, ())


def test_a_folder_to_reuse_must_be_there(tmp_path: Path) -> None:
    assert options_of("--reuse", str(tmp_path / "missing")) is None
