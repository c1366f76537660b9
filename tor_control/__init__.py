"""Everything about Tor and the network of the operating system. It knows no BitTorrent."""
