"""What came from one peer over the last while, looked back on: rates are means, not moments.

Over Tor a rate halves and doubles from second to second, and whoever judges by moments judges by
luck. ``RateMeter`` is another thing: always the last ten seconds, counted in whole ones, for what
is shown.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED_SECONDS: Final = 15.0
"""Longer than anybody looks back."""
POINT_SECONDS: Final = 0.25
"""How far the moments that are remembered lie apart: sixty of them take 6 KB."""


class Goodput:
    """A sum that grows, and what it was at each moment of the last ``REMEMBERED_SECONDS``."""

    __slots__ = ("_points", "_sum")

    def __init__(self) -> None:
        self._sum = 0
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now: float, amount: int) -> None:
        """Count bytes. Call it at each moment of interest, with 0 as well."""
        self._sum += amount
        points = self._points
        if len(points) > 1 and now - points[-2][0] < POINT_SECONDS:
            points.pop()
        points.append((now, self._sum))
        while len(points) > 1 and now - points[1][0] >= REMEMBERED_SECONDS:
            points.popleft()

    def since(self, start: float) -> float:
        """Return the mean in bytes a second from ``start`` to the last moment; 0 if it is later.

        Where nothing was counted for a while (the process was stopped), it reaches back to before
        that: the bytes that came meanwhile are counted at its end.
        """
        began: tuple[float, int] | None = None
        for point in self._points:
            if began is None or point[0] <= start:
                began = point
        if began is None:
            return 0.0
        last, after = self._points[-1]
        return (after - began[1]) / (last - began[0]) if last > began[0] else 0.0
