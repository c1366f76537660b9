"""Whether an onion service can be found, as far as tor's HS_DESC events tell (pure).

Tor makes two descriptors, for neighbouring periods of time, and hands each to up to eight
directories (rend-spec-v3, WHEN-HSDESC and WHERE-HSDESC). Which one a client asks for, and where, is
the client's choice. So the first ``UPLOADED`` says little: a client that asks another directory a
moment later is told that there is no such service. Everybody finds it when each descriptor was
handed out and each directory has answered.
"""

from dataclasses import dataclass, field

from tor_control.control_port import HsDescEvent

# FAILED is said of downloads too; these are the reasons of a failed upload (control-spec).
_UPLOAD_FAILURES = frozenset({"UPLOAD_REJECTED", "UNEXPECTED"})


@dataclass(slots=True)
class DescriptorUploads:
    """Counts the events of one service; it must see all from before the service was added.

    Args:
        address: Its 56 characters; events of others do not count.
        taken: How many uploads a directory has taken.
        failed: How many were refused.
    """

    address: str
    taken: int = 0
    failed: int = 0
    _started: int = 0
    _made: set[str | None] = field(default_factory=set)
    _handed_out: set[str | None] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Whether every descriptor was handed out, every directory answered, and one said yes."""
        answered = self.taken + self.failed
        return self.taken > 0 and answered >= self._started and self._made <= self._handed_out

    @property
    def is_hopeless(self) -> bool:
        """Whether every directory that was asked so far has refused."""
        return self.taken == 0 and 0 < self._started <= self.failed

    def count(self, event: HsDescEvent) -> None:
        """Take one event into account."""
        if event.address != self.address:
            return
        match event.action:
            case "CREATED":
                self._made.add(event.descriptor)
            case "UPLOAD":
                self._started += 1
                self._handed_out.add(event.descriptor)
            case "UPLOADED":
                self.taken += 1
            case "FAILED" if event.reason in _UPLOAD_FAILURES:
                self.failed += 1
            case _:  # about downloads
                pass
