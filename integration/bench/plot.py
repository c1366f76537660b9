"""Goodput by number of circuits, as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

NAME = "goodput"


def draw(measured: Sequence[dict[str, float]], folder: Path) -> None:
    """Write both files."""
    mpl.rcParams["svg.hashsalt"] = NAME  # the same figures give the same file
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    circuits = [row["circuits"] for row in measured]
    axes.plot(circuits, [row["raw"] for row in measured], "o--", color="0.5", label="bare sockets")
    axes.plot(circuits, [row["ours"] for row in measured], "o-", color="C0", label="torrent-onion")
    axes.set_xlabel("circuits to one onion peer (--circuits)")
    axes.set_ylabel("goodput (MB/s)")
    axes.set_xticks(circuits)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / f"{NAME}.png", dpi=150)
    figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})
