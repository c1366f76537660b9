"""The only awaits on the BitTorrent side: trio tasks around the pure layers."""
