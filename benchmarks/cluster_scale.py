"""What 1,000 actors on 10 million cells ask of the driver, a node and the bucket: planned for real.

    python benchmarks/cluster_scale.py [--cells 10000000] [--peaks 500000] [--workers 1000]
        [--per-node 16] [--driven 100000]

Nothing is computed or stored in a bucket. The table, its units and their batches are planned by the
code that plans a job; receipts of `--driven` units are written, read and resumed by it on a local
disk, in one thread; a whole job has their number times what one took. Requests are those
of a job without faults.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness

from atlasbasset.verbs.denoise.work import dense_units
from atlasstore import memory
from atlasstore.events import ignore
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.receipts import Receipts
from atlasstore.resume.units import Ranges, Receipt, Stage, Unit, Work, _batch_size, run_units
from atlasstore.zarrio.blocks import plan_cell_blocks
from atlasstore.zarrio.table_plan import TablePlan, plan_table

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from atlasstore.resume.machine import Machine

NAME = "cluster_scale"
WIDTH, FLOAT_BYTES = 32, 4


@dataclass(frozen=True)
class Planned:
    """A job's table and how its shards are handed out."""

    table: TablePlan
    n_units: int
    n_batches: int
    seconds: float
    grown_bytes: int
    """Of the driver, by the units."""


def planned(cells: int, peaks: int, workers: int) -> Planned:
    """Plan the table and its units as `denoise --dtype float16` does."""
    began, held = time.perf_counter(), memory.resident_bytes()
    table = plan_table("X", (cells, peaks), "float16")
    units = dense_units(table)
    batches = Ranges(len(units), _batch_size(len(units), workers))
    took, grown = time.perf_counter() - began, memory.resident_bytes() - held
    return Planned(table, len(units), len(batches), took, grown)


def shard(unit: Unit) -> Receipt:
    return {"table": "X", "start": unit["start"], "crc32": 3_000_000_000, "bytes": 1 << 25}


def driven(n_units: int, workers: int) -> dict[str, float]:
    """Do the bookkeeping of units that do nothing: seconds to hand out, to resume; bytes, files."""
    units = Ranges(n_units, 1)
    with tempfile.TemporaryDirectory() as folder:
        url = str(Path(folder) / "shards")
        began, executor = time.perf_counter(), _Alone(workers)
        stage = Stage("doing nothing", "rows")
        run_units(
            units,
            shard,
            receipts=Receipts(url, units),
            executor=executor,
            stage=stage,
            on_event=ignore,
        )
        handed, held = time.perf_counter() - began, memory.resident_bytes()
        again = time.perf_counter()
        assert Receipts(url, units).done.all()
        files = list(Path(url).iterdir())
        return {
            "handing out": handed,
            "resuming": time.perf_counter() - again,
            "grown": memory.resident_bytes() - held,
            "bytes": sum(file.stat().st_size for file in files),
            "files": len(files),
        }


class _Alone:
    """One thread, planned for as many workers."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers

    def machine(self) -> Machine:
        """Return what this process may use."""
        return ThreadExecutor(cores=1).machine()

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Do one after the other."""
        yield from enumerate(map(work, units))


def figures(args: argparse.Namespace) -> list[tuple[str, str, str, float]]:
    """Return who, what, its unit, how much."""
    plan, tried = planned(args.cells, args.peaks, args.workers), driven(args.driven, args.workers)
    whole = plan.n_units / args.driven
    blocks = len(plan_cell_blocks(args.cells))
    table = args.cells * (WIDTH + 1) * FLOAT_BYTES
    peaks = args.peaks * WIDTH * FLOAT_BYTES
    nodes = -(-args.workers // args.per_node)
    shard_bytes = plan.table.shard_rows * args.peaks * 2
    return [
        ("result", "bytes before compression", "TB", plan.table.n_bytes / 1e12),
        ("result", "shards", "", plan.n_units),
        ("result", "bytes of a shard", "MB", shard_bytes / 1e6),
        ("driver", "planning the units", "s", plan.seconds),
        ("driver", "memory of the units", "MB", plan.grown_bytes / 1e6),
        ("driver", "batches that are handed out", "", plan.n_batches),
        ("driver", "bookkeeping of all units", "s", tried["handing out"] * whole),
        ("driver", "reading all receipts to resume", "s", tried["resuming"] * whole),
        ("bucket", "bytes of receipts", "MB", tried["bytes"] * whole / 1e6),
        ("bucket", "PUT of receipts", "", plan.n_batches),
        ("bucket", "PUT of shards", "", plan.n_units),
        ("bucket", "GET of cell blocks", "", 2 * blocks),
        ("bucket", "bytes of the cell table read", "GB", table / 1e9),
        ("nodes", "bytes of cell tables that travel to them", "GB", nodes * table / 1e9),
        ("actor", "peaks' embeddings", "GB", peaks / 1e9),
        ("node", "cell table and embeddings", "GB", (table + args.per_node * peaks) / 1e9),
        ("node", "shards written by each", "", plan.n_units / nodes),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000_000)
    parser.add_argument("--peaks", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--per-node", type=int, default=16)
    parser.add_argument("--driven", type=int, default=100_000, help="units driven for real")
    args = parser.parse_args()
    about: dict[str, Any] = {**vars(args)}
    rows = [
        harness.row(NAME, who, what, unit, args.cells, [value], **about)
        for who, what, unit, value in figures(args)
    ]
    harness.append(NAME, rows)
    for who, what, unit, value in [(r["provider"], r["metric"], r["unit"], r["p50"]) for r in rows]:
        print(f"| {who} | {what} | {value} {unit} |")


if __name__ == "__main__":
    main()
