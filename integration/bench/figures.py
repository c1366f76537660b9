"""Figures beside their yardsticks, as a table and as JSON.

Only ratios are compared: absolute figures are those of one machine and one moment.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import libtorrent as lt

_MARKS = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Row:
    """One figure of ours, and what stands beside it.

    Args:
        what: Its title.
        beside: What the yardstick is; empty where there is none.
        unit: Of both.
        ours: One value for each run.
        yardstick: The same, from the same runs; empty where there is none.
        reach: The ratio to reach; where there is no yardstick, the value not to exceed. None where
            it is only good to know.
        less_is_better: The ratio is not to exceed ``reach`` either.
    """

    what: str
    beside: str
    unit: str
    ours: Sequence[float]
    yardstick: Sequence[float]
    reach: float | None
    less_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours to the yardstick's, medians both."""
        return median(self.ours) / median(self.yardstick) if self.yardstick else None

    @property
    def is_reached(self) -> bool | None:
        if self.reach is None:
            return None
        if self.ratio is None:
            return median(self.ours) <= self.reach
        return self.ratio <= self.reach if self.less_is_better else self.ratio >= self.reach


def print_rows(rows: Sequence[Row]) -> None:
    """Print them as a table in Markdown."""
    print("\n| what | beside | ours | theirs | unit | ratio | to reach | reached |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print_row(row)


def print_row(row: Row) -> None:
    """Print one line of it."""
    theirs = f"{median(row.yardstick):.2f}" if row.yardstick else ""
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    cells = (row.what, row.beside, f"{median(row.ours):.2f}", theirs, row.unit, ratio)
    line = " | ".join((*cells, _to_reach(row), _MARKS[row.is_reached]))
    print(f"| {line} |", flush=True)


def _to_reach(row: Row) -> str:
    if row.reach is None:
        return ""
    is_limit = row.less_is_better or row.ratio is None
    return f"at most {row.reach:g}" if is_limit else f"{row.reach:g}"


def write_json(
    path: Path,
    rows: Sequence[Row],
    by_circuits: Sequence[dict[str, float]],
    failed: Sequence[str],
) -> None:
    """Write everything that was measured, and where; ``failed`` names the parts that broke off."""
    figures = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rows": [
            {
                "what": row.what,
                "beside": row.beside,
                "unit": row.unit,
                "ours": list(row.ours),
                "yardstick": list(row.yardstick),
                "ratio": row.ratio,
                "less_is_better": row.less_is_better or row.ratio is None,
                "reach": row.reach,
                "reached": row.is_reached,
            }
            for row in rows
        ],
        "goodput_by_circuits": list(by_circuits),
        "failed": list(failed),
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")


def machine() -> dict[str, str | int]:
    """What the figures depend on."""
    return {
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libtorrent": lt.__version__,
        "trio": version("trio"),
    }
