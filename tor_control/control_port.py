"""What the rest of ``tor_control`` needs of a control connection, and nothing more (pure).

``controller.py`` implements :class:`ControlPort` over stem; tests use a scripted one. Two rules for
whoever implements it: a command's line may hold a private key, so it is never logged or put into an
error; and events are queued from the moment the subscription is open, so that none is lost between
two commands.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HsDescEvent:
    """One ``650 HS_DESC`` event (control-spec, "HiddenService descriptors").

    Args:
        action: Upper case, as tor says it: ``CREATED``, ``UPLOAD``, ``UPLOADED``, ``FAILED``...
        address: The 56 characters before ``.onion``.
        reason: The value of ``REASON=`` where there is one.
        descriptor: The descriptor's id where there is one; ``UPLOADED`` has none.
    """

    action: str
    address: str
    reason: str | None = None
    descriptor: str | None = None


class ControlPort(Protocol):
    """One authenticated control connection to tor."""

    @property
    def tor_version(self) -> tuple[int, ...]:
        """Tor's version as numbers, for example ``(0, 4, 9, 11)``."""
        ...

    async def command(self, line: str) -> list[str]:
        """Send one command and wait for the whole of its reply.

        Args:
            line: The command without line end.

        Returns:
            The reply's lines without status codes: ``["ServiceID=...", "OK"]``.

        Raises:
            CommandRejected: Tor answered with 4xx or 5xx.
            CommandFiltered: It was ``510 Command filtered``, or something in front of tor said so.
            TorLost: The connection is gone, or ended before the reply was whole.
            ControlFailed: No answer came in time, or one that makes no sense.

        Cancelling abandons the reply; whether tor carried the command out is then unknown.
        """
        ...

    def subscribe_hs_desc(self) -> AbstractAsyncContextManager[AsyncIterator[HsDescEvent]]:
        """Open a subscription to every ``HS_DESC`` event; tor sends them once the block is entered.

        The iterator raises TorLost when the connection is gone. Several may be open at once.

        Raises:
            ControlFailed: As for :meth:`command`.
        """
        ...
