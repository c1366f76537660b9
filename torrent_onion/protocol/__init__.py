"""Sans-IO BitTorrent: bytes in, events out; events in, bytes out."""
