"""Fragments counted as files grow: fragments/s and peak memory of `preprocess`, a process each.

A bgzip file of random fragments (10,000 cells, 60 % of them in 100,000 peaks of 300 bp), sorted by
position, with the cells' barcodes given as a list.

    python benchmarks/fragments_scale.py [--millions 5 50] [--memory 1GB]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from preprocess_scale import SPACING_BP, WINDOW_BP, write_genome

N_CELLS, N_PEAKS, PEAK_BP = 10_000, 100_000, 300
PER_WRITE = 1_000_000


def write_inputs(folder: Path, n_fragments: int) -> int:
    """Write genome, peaks, barcodes and fragments; return the bytes of the fragments' file."""
    import pysam

    write_genome(folder / "genome.fa", N_PEAKS)
    starts = np.arange(N_PEAKS) * SPACING_BP + 1_000
    bed = "".join(f"chr1\t{start}\t{start + PEAK_BP}\n" for start in starts)
    (folder / "peaks.bed").write_text(bed)
    (folder / "cells.txt").write_text("".join(f"CELL{i:012}-1\n" for i in range(N_CELLS)))
    rng, length = np.random.default_rng(0), N_PEAKS * SPACING_BP
    n_writes = -(-n_fragments // PER_WRITE)
    with pysam.BGZFile(str(folder / "fragments.tsv.gz"), "w1") as file:
        for i in range(n_writes):
            within = length // n_writes
            start = np.sort(rng.integers(i * within, (i + 1) * within, PER_WRITE)) + 1_000
            end, cell = (
                start + rng.integers(30, 600, PER_WRITE),
                rng.integers(0, N_CELLS, PER_WRITE),
            )
            lines = map(
                "chr1\t%d\t%d\tCELL%012d-1\t1\n".__mod__, zip(start, end, cell, strict=True)
            )
            file.write("".join(lines).encode())
    return (folder / "fragments.tsv.gz").stat().st_size


def measure(folder: Path, memory: str) -> dict[str, float]:
    """Preprocess in a process of its own."""
    command = [sys.executable, __file__, "--run", str(folder), memory]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(found.stderr)
    measured: dict[str, float] = json.loads(found.stdout)
    return measured


def measure_here(folder: Path, memory: str) -> None:
    """Preprocess here; print seconds and peak as JSON."""
    from atlasstore import preprocess

    began = time.perf_counter()
    preprocess(
        folder / "fragments.tsv.gz",
        peaks=folder / "peaks.bed",
        barcodes=folder / "cells.txt",
        genome=folder / "genome.fa",
        out=folder / "atlas.zarr",
        memory=memory,
        window_bp=WINDOW_BP,
    )
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024}))


def main() -> None:
    """Measure and append rows to results/fragments_scale.csv."""
    if sys.argv[1:2] == ["--run"]:
        measure_here(Path(sys.argv[2]), sys.argv[3])
        return
    import harness  # here: it imports torch, which a measured process has no use for

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[5, 50])
    parser.add_argument("--memory", default="1GB")
    args = parser.parse_args()
    for millions in args.millions:
        with tempfile.TemporaryDirectory() as name:
            n_bytes = write_inputs(Path(name), millions * PER_WRITE)
            found = measure(Path(name), args.memory)
        config = {"memory": args.memory, "file_bytes": n_bytes, "cells": N_CELLS, "peaks": N_PEAKS}
        rows = [
            harness.row(
                "fragments_scale",
                "atlasbasset preprocess",
                metric,
                unit,
                millions,
                [value],
                **config,
            )
            for metric, unit, value in (
                ("speed", "million fragments/s", millions / found["seconds"]),
                ("peak memory", "MiB", found["peak_mib"]),
            )
        ]
        harness.append("fragments_scale", rows)


if __name__ == "__main__":
    main()
