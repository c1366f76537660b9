"""``python -m torrent_onion.cli`` is ``torrent-onion``."""

from torrent_onion.cli.main import main

main()
