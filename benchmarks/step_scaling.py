"""What one training step costs as cells grow, 2 thousand to 4 million: time and peak memory.

Batch 128, full-size trunk, 2 % positives. Every measurement is a process of its own, and providers
take turns at each number of cells. Ours is the training loop's step as it runs, batches assembled
from sparse labels one ahead in a thread, with one worker and with two (gloo, half the cells and one
thread each); in bfloat16, or where the processor would emulate it in float32 with minimal
convolutions. Plain torch has the same precision, scvi-tools its own module, and the released
TensorFlow code runs in PYTHON (see released_tensorflow.py). They are given dense labels, made again
for each step (TensorFlow: the same ones), and are left out where those do not fit.

    python benchmarks/step_scaling.py [--cells 2000 10000 100000 1000000 4000000] [--repeats 5]
        [--tensorflow PYTHON]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import peers
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.loss_types import Positives
from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.core.step import Batch, Learner, StepPace
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.labels.host import LabelShard
from atlasbasset.engine.launch import use_threads
from atlasbasset.engine.prefetch import Prefetch
from atlasstore.atlas.label_rows import LabelRows
from atlasstore.memory import keeping_freed
from atlasstore.zarrio.blocks import plan_cell_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlasbasset.core.runtime import Runtime
    from atlasstore.zarrio.blocks import CellBlock

BATCH, DENSITY, FLANK, PEAKS = 128, 0.02, 3, 512
GIB = 2**30
PLAIN, SCVI, RELEASED = "plain torch", "scvi-tools fp32", "released TensorFlow code fp32"
DENSE_BYTES = {PLAIN: 30, SCVI: 80, RELEASED: 80}
"""Memory that a dense peer takes for each of the B x N values, about: what it is left out by."""


def labels_of(blocks: list[CellBlock]) -> LabelShard:
    """Draw labels of 512 peaks, block by block."""
    return LabelShard(blocks, [block_labels(block) for block in blocks])


def block_labels(block: CellBlock) -> LabelRows:
    """Draw one block's CSR rows: sorted distinct cells of each peak."""
    rng = np.random.default_rng([1, block.index])
    rows = [
        np.unique(rng.integers(0, block.n_cells, round(DENSITY * block.n_cells), dtype=np.int64))
        for _ in range(PEAKS)
    ]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return LabelRows(indptr, np.concatenate(rows).astype(np.uint16))


def batches(shard: LabelShard) -> Iterator[Batch]:
    """Assemble batches forever, as `engine.feeding` does."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (PEAKS, 1344 + 2 * FLANK), dtype=np.uint8)
    while True:
        peaks = rng.choice(PEAKS, BATCH, replace=False)
        cell, row = shard.positives(peaks)
        yield Batch(
            codes=torch.from_numpy(codes[peaks]),
            shift=torch.from_numpy(rng.integers(-FLANK, FLANK + 1, BATCH)),
            reverse=torch.from_numpy(rng.random(BATCH) < 0.5),
            keep=torch.from_numpy(rng.random((BATCH, 32)) > 0.2),
            positives=Positives(cell, row),
        )


def our_steps(n_cells: int, runtime: Runtime) -> tuple[Callable[[], None], int]:
    """Return a function that takes one of our steps, and the bytes of this worker's labels."""
    blocks = plan_cell_blocks(n_cells)
    share = slice(
        len(blocks) * runtime.rank // runtime.world,
        len(blocks) * (runtime.rank + 1) // runtime.world,
    )
    shard = labels_of(list(blocks[share]))
    config = TrunkConfig()
    dtype = compute_dtype_for("auto", runtime.device)
    trunk, cells = Trunk.initialised(config, seed=0), CellLayer(shard.n_cells, 32)
    trunk.convolution = "minimal" if dtype == torch.float32 else "direct"
    cells.initialise([(b.index, b.n_cells) for b in blocks[share]], seed=0)
    adam = {"betas": (0.95, 0.9995), "eps": 1e-7}
    learner = Learner(
        trunk=trunk,
        cells=cells,
        optimizer=torch.optim.Adam(trunk.parameters(), lr=0.01, fused=True, **adam),
        cell_optimizer=CellAdam(cells, **adam),
        n_cells_total=n_cells,
        compute_dtype=dtype,
    )
    feed = iter(Prefetch(batches(shard)))

    def step() -> None:
        learner.step(next(feed), runtime, StepPace(0.01, visits=1))

    return step, round(PEAKS * DENSITY * shard.n_cells * 2)


def timed(step: Callable[[], None], repeats: int) -> list[float]:
    """Return seconds per step after two to warm up."""
    seconds = []
    for repeat in range(2 + repeats):
        began = time.perf_counter()
        step()
        if repeat >= 2:
            seconds.append(time.perf_counter() - began)
    return seconds


def peak_rss() -> int:
    """Return this process's peak resident memory, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def report(seconds: list[float], label_bytes: int, place: str) -> None:
    """Leave what was measured where the parent reads it."""
    found = {"seconds": seconds, "peak_rss": peak_rss(), "label_bytes": label_bytes}
    Path(place).write_text(json.dumps(found))


def ours(n_cells: int, repeats: int, place: str) -> None:
    """Measure one worker."""
    with keeping_freed():
        step, label_bytes = our_steps(n_cells, LocalRuntime(torch.device("cpu")))
        report(timed(step, repeats), label_bytes, f"{place}/0.json")


def one_of_two(rank: int, n_cells: int, repeats: int, place: str) -> None:
    """Measure one worker of two."""
    use_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    with keeping_freed():
        step, label_bytes = our_steps(n_cells, DistributedRuntime(torch.device("cpu")))
        report(timed(step, repeats), label_bytes, f"{place}/{rank}.json")
    dist.destroy_process_group()


def is_bfloat16() -> bool:
    return compute_dtype_for("auto", torch.device("cpu")) == torch.bfloat16


def peer(name: str, n_cells: int, repeats: int, place: str, tensorflow: str) -> None:
    """Measure a peer with dense labels made again for each step."""
    shard = labels_of(list(plan_cell_blocks(n_cells)))
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(0, 4, (BATCH, 1344), dtype=np.uint8))
    labels = torch.zeros(BATCH, n_cells)
    label_bytes = round(PEAKS * DENSITY * n_cells * 2)
    if name == RELEASED:
        cell, row = shard.positives(np.arange(BATCH))
        labels[row, cell] = 1
        report(
            timed(peers.released_step(tensorflow, codes, labels.bool()), repeats),
            0,
            f"{place}/0.json",
        )
        return
    if name == PLAIN:
        onehot = torch.nn.functional.one_hot(codes.long(), 4).float().permute(0, 2, 1).contiguous()
        step = peers.plain_step(onehot, labels, bf16=is_bfloat16())
    else:
        found = peers.scvi_step(codes, labels)
        assert found is not None
        step = found

    def whole() -> None:
        cell, row = shard.positives(rng.choice(PEAKS, BATCH, replace=False))
        labels.zero_()[row, cell] = 1
        step()

    report(timed(whole, repeats), label_bytes, f"{place}/0.json")


def measured(provider: str, n_cells: int, repeats: int, tensorflow: str) -> dict[str, Any]:
    """Measure in a process of its own; several workers' memory is added up."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, __file__, "--one", provider, place, "--cells", str(n_cells)]
        command += ["--repeats", str(repeats), "--tensorflow", tensorflow]
        subprocess.run(command, check=True)
        found = [json.loads(p.read_text()) for p in sorted(Path(place).glob("*.json"))]
    held = [f["peak_rss"] - f["label_bytes"] for f in found]
    return {"seconds": found[0]["seconds"], "bytes": sum(held)}


def one(provider: str, place: str, n_cells: int, repeats: int, tensorflow: str) -> None:
    """Do what `measured` asks its child for."""
    if provider == "atlasbasset":
        ours(n_cells, repeats, place)
    elif provider == "atlasbasset, 2 workers":
        spawn(one_of_two, args=(n_cells, repeats, place), nprocs=2)
    else:
        peer(provider, n_cells, repeats, place, tensorflow)


def fits(provider: str, n_cells: int, tensorflow: str) -> bool:
    """Whether a dense peer would fit into what memory there is."""
    if provider.startswith("atlasbasset"):
        return True
    if provider.startswith("scvi") and find_spec("scvi") is None:
        return False
    if provider == RELEASED and not tensorflow:
        return False
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    return DENSE_BYTES[provider] * BATCH * n_cells + GIB < free


def main() -> None:
    """Measure and append rows to results/step_scaling.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = [2_000, 10_000, 100_000, 1_000_000, 4_000_000]
    parser.add_argument("--cells", type=int, nargs="+", default=default)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--providers", nargs="+", default=None)
    parser.add_argument("--tensorflow", metavar="PYTHON", default="")
    parser.add_argument("--one", nargs=2, metavar=("PROVIDER", "PLACE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one, args.cells[0], args.repeats, args.tensorflow)
        return
    providers = args.providers or ["atlasbasset", "atlasbasset, 2 workers", *DENSE_BYTES]
    for n_cells in args.cells:
        rows = []
        for provider in providers:
            if not fits(provider, n_cells, args.tensorflow):
                print(f"{provider} left out at {n_cells} cells")
                continue
            found = measured(provider, n_cells, args.repeats, args.tensorflow)
            config = {"batch": BATCH, "density": DENSITY, "repeats": args.repeats}
            config |= harness.limits() | {"bfloat16": is_bfloat16()}
            rates = [BATCH / s for s in found["seconds"]]
            gib = [found["bytes"] / GIB]
            rows += [
                harness.row(
                    "step_scaling", provider, "throughput", "sequences/s", n_cells, rates, **config
                ),
            ]
            if provider != RELEASED:  # whose memory is another process's
                rows += [
                    harness.row(
                        "step_scaling", provider, "peak memory", "GiB", n_cells, gib, **config
                    )
                ]
        harness.append("step_scaling", rows)


if __name__ == "__main__":
    main()
