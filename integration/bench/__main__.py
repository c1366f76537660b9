"""``./run bench``: each figure beside its yardstick, in one run.

    ./run bench [--quick] [--only NAME]... [--runs N] [--json FILE] [--folder DIR] [--plot FOLDER]

Content lies in memory where the system has a place for that, for disks are no part of what is
measured. Timings are never tests: nothing here fails because it was slow.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from integration.bench import engine_transfer, hashing, onion_transfer
from integration.bench.figures import Row, print_rows, write_json

IN_MEMORY = Path("/dev/shm")

Measure = Callable[[Path, int, int], Iterator[Row]]
"""``measure(folder, megabytes, runs)``."""

PARTS: dict[str, tuple[Measure, int, int]] = {
    "onion": (onion_transfer.measure, 200, 50),
    "engine": (engine_transfer.measure, 2000, 500),
    "hashing": (hashing.measure, 4000, 500),
}
"""By name: how it is measured, and megabytes in a whole run and in a quick one."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure, beside yardsticks.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--runs", type=int, help="of each figure; the median counts (default 3)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--folder", type=Path, help="where the content is made")
    parser.add_argument("--plot", type=Path, help="draw goodput by circuits into this folder")
    options = parser.parse_args()
    runs = options.runs or (1 if options.quick else 3)
    parent = options.folder or (IN_MEMORY if IN_MEMORY.is_dir() else None)
    rows: list[Row] = []
    by_circuits: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=parent) as name:
        for part in options.only or PARTS:
            measure, whole, quick = PARTS[part]
            print(f"Measuring: {part}", flush=True)
            rows += measure(Path(name), quick if options.quick else whole, runs)
        if options.plot:
            # It needs matplotlib, which nothing else does.
            from integration.bench import plot  # noqa: PLC0415 - see above

            size = 50 if options.quick else 200
            by_circuits = onion_transfer.measure_by_circuits(Path(name), size, runs)
            plot.draw(by_circuits, options.plot)
    print_rows(rows)
    if options.json:
        write_json(options.json, rows, by_circuits)


if __name__ == "__main__":
    main()
