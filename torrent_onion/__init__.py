"""BitTorrent that exists only inside Tor. This package knows no Tor: it is handed a dial."""
