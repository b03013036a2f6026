"""What turning cell-major counts into peak-major labels costs as cells grow: ours against scipy.

Both read the same .h5ad (CSR, float32, 2.5 % of the peaks open in every cell, in the page cache).
scipy: `anndata.read_h5ad`, then `X.tocsc()`, all in memory, nothing written. Ours: the input read
once into pieces, filters, and the cell blocks sorted, compressed and written to disk, within a
bound on memory. A third provider is the whole `preprocess`, sequences and checksums included.
Every run is a process of its own; rows: seconds after a tiny run of the same kind, which imports
and compiles, and the peak of its memory.

    python benchmarks/preprocess_scale.py [--cells 10000 20000] [--peaks 20000] [--memory 800MB]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

DENSITY_NUM, DENSITY_DEN = 1, 40
WINDOW_BP, SPACING_BP = 192, 400
CELLS_PER_WRITE = 1_000


def write_counts(path: Path, n_cells: int, n_peaks: int) -> None:
    """Write counts without holding them: every cell opens one peak in each run of 40."""
    per_cell, rng = n_peaks * DENSITY_NUM // DENSITY_DEN, np.random.default_rng(0)
    starts = np.arange(n_peaks) * SPACING_BP + 1_000
    var = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 300})
    var.index = pd.Index([f"peak{i}" for i in range(n_peaks)], dtype=object)
    obs = pd.DataFrame(index=pd.Index([f"cell{i}" for i in range(n_cells)], dtype=object))
    with h5py.File(path, "w") as file:
        anndata.io.write_elem(file, "/", anndata.AnnData(obs=obs, var=var))
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        x.attrs["shape"] = np.array([n_cells, n_peaks])
        x["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * per_cell
        n_positives = n_cells * per_cell
        size = {"shape": (n_positives,), "chunks": (min(1 << 20, n_positives),)}
        data = x.create_dataset("data", dtype=np.float32, **size)
        indices = x.create_dataset("indices", dtype=np.int32, **size)
        for start in range(0, n_cells, CELLS_PER_WRITE):
            shape = (min(CELLS_PER_WRITE, n_cells - start), per_cell)
            drawn = rng.integers(0, DENSITY_DEN, shape, dtype=np.int32)
            columns = (drawn + np.arange(per_cell, dtype=np.int32) * DENSITY_DEN).ravel()
            place = slice(start * per_cell, start * per_cell + columns.size)
            indices[place], data[place] = columns, np.ones(columns.size, np.float32)


def write_genome(path: Path, n_peaks: int) -> None:
    """Write one chromosome of random bases, long enough for all peaks."""
    bases = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), 1_000_000)
    line = bases.tobytes().decode() + "\n"
    with path.open("w") as file:
        file.write(">chr1\n")
        file.writelines(line for _ in range(n_peaks * SPACING_BP // 1_000_000 + 1))


def scipy_in_memory(counts: str, _genome: str, _out: str, _memory: str) -> Callable[[], Any]:
    return lambda: anndata.read_h5ad(counts).X.tocsc()


def transposition(counts: str, _genome: str, out: str, memory: str) -> Callable[[], Any]:
    from atlasstore.events import ignore
    from atlasstore.files import urls
    from atlasstore.inputs.samples import plan_samples
    from atlasstore.memory import parse_size
    from atlasstore.preprocess import _inputs as work
    from atlasstore.preprocess import filters
    from atlasstore.preprocess._steps import label_rows
    from atlasstore.resume import ledger
    from atlasstore.resume.executors import ThreadExecutor
    from atlasstore.transpose.block_writer import plan_blocks
    from atlasstore.transpose.stages import Stages, label_plan
    from atlasstore.zarrio import blocks

    def call() -> None:
        workers = ThreadExecutor(parse_size(memory))
        options = {"peaks": None, "min_mapq": 30, "skip_bad": False, "matrix": "X"}
        with ledger.Ledger.open(out, config={}, inputs=[counts]) as job:
            stages = Stages(job, workers, ignore)
            place = urls.join(job.scratch, "inputs")
            inputs = work.look_at_inputs(plan_samples([counts]), place, workers, ignore, **options)
            inputs, read = work.read_inputs(
                inputs, stages, least=1, files=[], skip_bad=False, on_event=ignore
            )
            chosen = filters.choose(
                *stages.totals(read, len(inputs.peaks)),
                lambda kept: stages.kept_depths(read, kept),
                filters.FilterSpec(),
                cells_of_source=inputs.sizes,
            )
            size = blocks.plan_cell_blocks(chosen.n_cells)[0].n_cells
            parts = blocks.plan_parts([0, chosen.n_cells], size)
            pieces = [piece for span in read for piece in span.pieces]
            kept, rows = np.concatenate(chosen.cells), label_rows(chosen.peaks)
            urls.create_group(job.store)
            starts = [part.start for part in parts]
            plan = label_plan(
                workers.machine(),
                np.add.reduceat(chosen.depth, starts).tolist(),
                n_peaks_in=len(rows),
                n_peaks=chosen.n_peaks,
                piece_positives=max(piece.n_positives for piece in pieces),
            )
            stages.write_labels(plan_blocks(parts, pieces, kept=kept, rows=rows), plan)
            job.publish()

    return call


def whole_preprocess(counts: str, genome: str, out: str, memory: str) -> Callable[[], Any]:
    from atlasstore import preprocess

    return lambda: preprocess(counts, genome=genome, out=out, memory=memory, window_bp=WINDOW_BP)


PROVIDERS = {
    "scipy tocsc in memory": scipy_in_memory,
    "atlasbasset transposition": transposition,
    "atlasbasset preprocess": whole_preprocess,
}


def measure_here(provider: str, arguments: list[str]) -> None:
    """Run one provider in this process; print seconds and peak as JSON."""
    import time

    counts, genome, out, memory = arguments
    small = Path(counts).with_name("small.h5ad")  # imports and compiled code are not measured
    PROVIDERS[provider](str(small), genome, f"{out}.small", memory)()
    call = PROVIDERS[provider](*arguments)
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024}))


def measure(provider: str, counts: Path, genome: Path, out: Path, memory: str) -> dict[str, float]:
    """Run one provider in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--run",
        provider,
        *map(str, (counts, genome, out)),
        memory,
    ]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            raise RuntimeError(f"{provider} failed:\n{found.stderr}")
        measured: dict[str, float] = json.loads(found.stdout)
    finally:
        for left in out.parent.glob(f"{out.name}*"):
            shutil.rmtree(left, ignore_errors=True)
    return measured


def rows_at(n_cells: int, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure all providers at one number of cells, in turn."""
    import harness

    counts, genome = folder / "counts.h5ad", folder / "genome.fa"
    write_counts(counts, n_cells, args.peaks)
    write_counts(folder / "small.h5ad", 200, 400)
    write_genome(genome, args.peaks)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in args.providers}
    for repeat in range(args.repeats + 1):
        for name, values in found.items():
            measured = measure(name, counts, genome, folder / "out.zarr", args.memory)
            if repeat:  # the first round fills the page cache
                values.append(measured)
    positives = n_cells * (args.peaks * DENSITY_NUM // DENSITY_DEN)
    config = {
        "peaks": args.peaks, "positives": positives, "memory": args.memory,
        "repeats": args.repeats, "cores": os.cpu_count(),
    }  # fmt: skip
    rows = []
    for name, values in found.items():
        seconds, peaks = [v["seconds"] for v in values], [v["peak_mib"] for v in values]
        speed = [positives / s / 1e6 for s in seconds]
        for metric, unit, series in (
            ("time", "s", seconds),
            ("speed", "million positives/s", speed),
            ("peak memory", "MiB", peaks),
        ):
            rows.append(
                harness.row("preprocess_scale", name, metric, unit, n_cells, series, **config)
            )
    return rows


def main() -> None:
    """Measure and append rows to results/preprocess_scale.csv."""
    if sys.argv[1:2] == ["--run"]:
        measure_here(sys.argv[2], sys.argv[3:])
        return
    import harness

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--peaks", type=int, default=20_000)
    parser.add_argument("--memory", default="800MB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--providers", nargs="+", default=list(PROVIDERS), choices=PROVIDERS)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for n_cells in args.cells:
            harness.append("preprocess_scale", rows_at(n_cells, args, Path(folder)))


if __name__ == "__main__":
    main()
