"""What training costs on a cluster, by size: hours, memory of a worker, and money at your prices.

An epoch is peaks x (time of a sequence + cells x time of a pair) / workers. The defaults are the
times of two CPU cores in docs/scaling.md; measure your own nodes by ``benchmarks/step_scaling.py``
or, on a GPU, ``benchmarks/gpu.py``.

python tools/cluster_cost.py --cells 1000000 --workers 4 16 --worker-price 0.30 --head-price 0.10
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

CELL_BYTES = 33 * 4 * 3
"""A cell's embedding and intercept, float32, and Adam's two moments of each."""
LABEL_BYTES = 2
"""Of an open pair."""
BASE_BYTES = 3e9
"""Process, trunk, its moments, and a step's arrays."""
START_S = 600.0
"""Nodes that come and install, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """What a worker does and costs."""

    sequence_ms: float = 3.6
    """Trunk, forward and backward, of one sequence."""
    pair_ns: float = 1.5
    """Loss, forward and backward, of one pair of peak and cell."""
    worker_price: float = 1.0
    """Of a worker's node, an hour."""
    head_price: float = 0.0
    """Of the head, an hour."""
    lost_share: float = 0.0
    """Of the time, repeated after nodes were taken away (spot)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """What is trained on."""

    cells: int
    peaks: int
    density: float
    """Share of the pairs that are open."""
    epochs: int


def hours(atlas: Atlas, nodes: Nodes, workers: int) -> float:
    """Return the time from the start of the nodes to the end of the last epoch, in hours."""
    per_peak_s = nodes.sequence_ms * 1e-3 + atlas.cells * nodes.pair_ns * 1e-9
    training_s = atlas.epochs * atlas.peaks * per_peak_s / workers
    return (START_S + training_s * (1 + nodes.lost_share)) / 3600


def worker_bytes(atlas: Atlas, workers: int) -> float:
    """Return what one worker holds with its labels in memory, in bytes."""
    labels = atlas.cells * atlas.peaks * atlas.density * LABEL_BYTES
    return BASE_BYTES + (atlas.cells * CELL_BYTES + labels) / workers


def price(atlas: Atlas, nodes: Nodes, workers: int) -> float:
    """Return what the nodes cost until the end."""
    per_hour = nodes.worker_price * workers + nodes.head_price
    return hours(atlas, nodes, workers) * per_hour


def config_for(workers: int) -> str:
    """Return the smallest set-up in `cluster-configs` that has so many workers."""
    if workers == 1:
        return "one machine, no cluster"
    return "ray up, or a RayJob" if workers <= 4 else "RayCluster or Slurm"


def table(atlases: list[Atlas], nodes: Nodes, workers: list[int]) -> str:
    """Return the sizes as a table in Markdown."""
    rows = [
        "| cells | workers | set-up | hours | memory of a worker | cost |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {atlas.cells:,} | {n} | {config_for(n)} | {hours(atlas, nodes, n):.1f} "
        f"| {worker_bytes(atlas, n) / 1e9:.0f} GB | {price(atlas, nodes, n):.2f} |"
        for atlas in atlases
        for n in workers
    ]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Print the table for sizes and prices from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--peaks", type=int, default=118_000)
    parser.add_argument("--density", type=float, default=0.02)
    parser.add_argument("--epochs", type=int, default=8)
    for name, field in Nodes.__dataclass_fields__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=field.default)
    given = vars(parser.parse_args(arguments))
    nodes = Nodes(**{name: given[name] for name in Nodes.__dataclass_fields__})
    size = {name: given[name] for name in ("peaks", "density", "epochs")}
    atlases = [Atlas(cells=cells, **size) for cells in given["cells"]]
    print(table(atlases, nodes, given["workers"]))


if __name__ == "__main__":
    main()
