"""The options of the command line reach Tor's configuration."""

from pathlib import Path

import pytest

from torrent_onion.cli.options import TorOptions
from torrent_onion.cli.tor_session import tor_config


def test_every_option_arrives(tmp_path: Path) -> None:
    options = TorOptions("launch", "/opt/tor", tmp_path / "torrc", tmp_path, onion_only=True)
    config = tor_config(options)
    assert (config.where, config.binary) == ("launch", "/opt/tor")
    assert (config.extra_torrc, config.state) == (tmp_path / "torrc", tmp_path)
    assert config.onion_only


@pytest.mark.parametrize("allowed", [False, True])
def test_private_addresses_are_dialled_only_if_that_is_asked_for(allowed: bool) -> None:
    config = tor_config(TorOptions(allow_private_addresses=allowed))
    assert config.allow_private_addresses is allowed
    assert not config.onion_only
