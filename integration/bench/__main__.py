"""``./run bench``: each figure beside its yardstick, in one run.

    ./run bench [--quick] [--only NAME]... [--runs N] [--json FILE] [--folder DIR] [--plot FOLDER]

Content lies in memory where the system has a place for that, for disks are no part of what is
measured. Timings are never tests: nothing here fails because it was slow. A part that breaks off
is named in the end, and costs no figure that was taken before.
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from integration.bench import engine_transfer, growth, hashing, onion_transfer, swarm, tracker_load
from integration.bench.figures import Row, print_row, print_rows, write_json

IN_MEMORY = Path("/dev/shm")
PLOT = "plot"

Measure = Callable[[Path, int, int], Iterator[Row]]
"""``measure(folder, amount, runs)``."""

PARTS: dict[str, tuple[Measure, int, int]] = {
    "onion": (onion_transfer.measure, 200, 50),
    "swarm": (swarm.measure, 50, 20),
    "engine": (engine_transfer.measure, 2000, 500),
    "hashing": (hashing.measure, 4000, 500),
    "growth": (growth.measure, 20, 10),
    "tracker": (tracker_load.measure, 1000, 100),
}
"""By name: how it is measured, and how much in a whole run and in a quick one: megabytes, of
growth seconds, and of the tracker thousands of peers."""
PLOTTED = (60, 20)
"""Megabytes for each point of the plot, in a whole run and in a quick one."""


def main() -> None:
    options = _parse()
    runs = options.runs or (1 if options.quick else 3)
    parent = options.folder or (IN_MEMORY if IN_MEMORY.is_dir() else None)
    rows: list[Row] = []
    by_circuits: list[dict[str, float]] = []
    failed: list[str] = []

    def measure(name: str, folder: Path) -> None:
        if name == PLOT:
            size = PLOTTED[options.quick]
            by_circuits.extend(onion_transfer.measure_by_circuits(folder, size, runs))
            draw(by_circuits, options.plot)
            return
        part, whole, quick = PARTS[name]
        for row in part(folder, quick if options.quick else whole, runs):
            rows.append(row)
            print_row(row)

    for name in [*(options.only or PARTS), *([PLOT] if options.plot else [])]:
        print(f"Measuring: {name}", flush=True)
        try:
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                measure(name, Path(folder))
        except Exception:  # noqa: BLE001 - the other parts go on
            traceback.print_exc()
            failed.append(name)
        if options.json:  # after each part: what is known is not lost
            write_json(options.json, rows, by_circuits, failed)
    print_rows(rows)
    if failed:
        sys.exit(f"Broke off, see above: {', '.join(failed)}")


def draw(by_circuits: list[dict[str, float]], folder: Path) -> None:
    # It needs matplotlib, which nothing else does.
    from integration.bench import plot  # noqa: PLC0415 - see above

    plot.draw(by_circuits, folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure, beside yardsticks.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--runs", type=int, help="of each figure; the median counts (default 3)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--folder", type=Path, help="where the content is made")
    parser.add_argument("--plot", type=Path, help="draw goodput by circuits into this folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
