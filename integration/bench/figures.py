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


@dataclass(frozen=True)
class Row:
    """One figure of ours, and what stands beside it.

    Args:
        what: Its title.
        beside: What the yardstick is; empty where there is none.
        unit: Of both.
        ours: One value for each run.
        yardstick: The same, from the same runs; empty where there is none.
        reach: The ratio to reach; where there is no yardstick, the value not to exceed.
        less_is_better: The ratio is not to exceed ``reach`` either.
    """

    what: str
    beside: str
    unit: str
    ours: Sequence[float]
    yardstick: Sequence[float]
    reach: float
    less_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours to the yardstick's, medians both."""
        return median(self.ours) / median(self.yardstick) if self.yardstick else None

    @property
    def is_reached(self) -> bool:
        if self.ratio is None:
            return median(self.ours) <= self.reach
        return self.ratio <= self.reach if self.less_is_better else self.ratio >= self.reach


def print_rows(rows: Sequence[Row]) -> None:
    print(f"\n{'what':44} {'beside':38} {'ours':>8} {'theirs':>8} {'unit':7} {'ratio':>6} reach")
    for row in rows:
        theirs = f"{median(row.yardstick):8.2f}" if row.yardstick else f"{'-':>8}"
        ratio = f"{row.ratio:6.2f}" if row.ratio is not None else f"{'-':>6}"
        reached = "" if row.is_reached else "  not reached"
        print(
            f"{row.what:44} {row.beside:38} {median(row.ours):8.2f} {theirs} {row.unit:7} "
            f"{ratio} {row.reach:g}{reached}"
        )


def write_json(path: Path, rows: Sequence[Row], by_circuits: Sequence[dict[str, float]]) -> None:
    """Write everything that was measured, and where."""
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
                "reach": row.reach,
                "reached": row.is_reached,
            }
            for row in rows
        ],
        "goodput_by_circuits": list(by_circuits),
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
