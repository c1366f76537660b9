"""Payload counted: totals since the start, and rates."""

from torrent_onion.policy.rate import RateMeter


class Traffic:
    """What one torrent received and sent. Protocol overhead is not counted."""

    def __init__(self) -> None:
        self.downloaded = 0
        self.uploaded = 0
        self.last_block: float | None = None
        self._download = RateMeter()
        self._upload = RateMeter()

    def came_in(self, size: int, now: float) -> None:
        """``size`` bytes of blocks arrived."""
        self.downloaded += size
        self._download.add(now, size)

    def went_out(self, size: int, now: float) -> None:
        """``size`` bytes of blocks were handed to a connection."""
        self.uploaded += size
        self._upload.add(now, size)

    def download_rate(self, now: float) -> float:
        """Bytes a second."""
        return self._download.rate(now)

    def upload_rate(self, now: float) -> float:
        """Bytes a second."""
        return self._upload.rate(now)
