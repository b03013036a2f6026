"""What a job of a million units costs its driver: planning, receipts, and resuming half of it.

python benchmarks/million_units.py [--units 1000000] [--workers 2]

The units do nothing but return a shard's receipt; actors of Ray Data do them and write the
receipts. Measured is the driver alone: processor time (user and system) and its memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness

from atlasbasset.batch.executor import WorkerPool
from atlasstore import memory
from atlasstore.events import ignore
from atlasstore.resume.receipts import Receipts
from atlasstore.resume.units import Ranges, Receipt, Stage, Unit, Work, run_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atlasstore.resume.machine import Machine
    from atlasstore.resume.units import Executor

STAGE = Stage("doing nothing", "rows")


def shard(unit: Unit) -> Receipt:
    return {"table": "X", "start": unit["start"], "crc32": 3_000_000_000, "bytes": 1 << 26}


class Stopped(Exception):
    """As a killed driver."""


class Half:
    """An executor that is killed when half of the batches are done."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self.n_workers = executor, executor.n_workers

    def machine(self) -> Machine:
        """Return the executor's."""
        return self._executor.machine()

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Iterator[tuple[int, Receipt]]:
        """Do half of the batches."""
        for done, found in enumerate(self._executor.run(work, units, at_once=at_once)):
            if done >= len(units) // 2:
                raise Stopped
            yield found


def seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(what: Any) -> tuple[Any, dict[str, float]]:
    cpu, wall, held = seconds(), time.perf_counter(), memory.resident_bytes()
    found = what()
    return found, {
        "processor": seconds() - cpu,
        "wall": time.perf_counter() - wall,
        "grown": (memory.resident_bytes() - held) / 1e6,
    }


def main() -> None:
    """Measure and append rows to results/million_units.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    pool, units = WorkerPool(args.workers), Ranges(args.units, 1)
    steps: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, pool.session(ignore):
        whole, half = str(Path(folder) / "whole"), str(Path(folder) / "half")
        options: dict[str, Any] = {"stage": STAGE, "on_event": ignore}

        def do(url: str, executor: Executor) -> None:
            run_units(units, shard, receipts=Receipts(url, units), executor=executor, **options)

        _, steps["whole job"] = measured(lambda: do(whole, pool.executor))
        rows, steps["reading all receipts"] = measured(
            lambda: sum(1 for _ in Receipts(whole, units))
        )
        assert rows >= args.units
        with suppress(Stopped):
            do(half, Half(pool.executor))
        receipts, steps["resume: what is done"] = measured(lambda: Receipts(half, units))
        assert 0.4 < receipts.done.mean() < 0.7
        _, steps["resume: the rest"] = measured(lambda: do(half, pool.executor))
        assert Receipts(half, units).done.all()
        files = len(list(Path(whole).iterdir()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{files} files of receipts; the driver held {peak:.0f} MB at most, libraries included")
    common = {"workers": args.workers, "files": files, "peak_mb": round(peak)}
    harness.append(
        "million_units",
        [
            harness.row("million_units", name, metric, unit, args.units, [found[key]], **common)
            for name, found in steps.items()
            for key, metric, unit in (
                ("processor", "processor time of the driver", "s"),
                ("wall", "wall time", "s"),
                ("grown", "memory of the driver, growth", "MB"),
            )
        ],
    )


if __name__ == "__main__":
    main()
