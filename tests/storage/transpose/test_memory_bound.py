"""The bound on memory is kept: the peak of a process of its own, measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from small_atlas import make_peaks, random_chromosomes, write_fasta

N_PEAKS, OPEN = 4_000, 400
BOUND_MB = 290  # beside the libraries, which take 230 MB on Python 3.11 and 310 MB on 3.13
N_CHROMS, CHROM_PEAKS, PEAK_BP, SPACING_BP = 10, 5_000, 300, 400
N_CELLS, CHROM_FRAGMENTS = 5_000, 500_000
FRAGMENTS_BOUND_MB = 330

SCRIPT = """
import json, sys
from pathlib import Path
from atlasstore import preprocess
counts, genome, out, memory, *peaks = sys.argv[1:]
options = dict(zip(["peaks", "barcodes"], peaks))
report = preprocess(counts, genome=genome, out=out, memory=memory, window_bp=192, **options)
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps({"peak": peak * 1024, "work": report.as_json()["work"]}))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc"
)


@pytest.fixture(scope="module")
def libraries_mb():
    """What a process holds before it reads anything."""
    script = "import anndata, atlasstore, numba, psutil; print(psutil.Process().memory_info().rss)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(told.stdout) // 10**6


def write_counts(path, n_cells, rng):
    """Cells with the same number of open peaks, written without a dense matrix."""
    offsets = rng.integers(0, N_PEAKS // OPEN, (n_cells, OPEN), dtype=np.int32)
    columns = np.arange(OPEN, dtype=np.int32) * (N_PEAKS // OPEN) + offsets
    x = sparse.csr_matrix(
        (np.ones(columns.size, np.float32), columns.ravel(), np.arange(n_cells + 1) * OPEN),
        shape=(n_cells, N_PEAKS),
    )
    cells = pd.DataFrame(index=[f"c{i}" for i in range(n_cells)])
    anndata.AnnData(x, obs=cells, var=make_peaks(N_PEAKS)).write_h5ad(path)
    return path


def write_fragments(folder, rng):
    """Fragments of random cells, alike on all chromosomes, half of their ends in peaks."""
    starts = 1_000 + SPACING_BP * np.arange(CHROM_PEAKS)
    names = [f"chr{i}" for i in range(N_CHROMS)]
    bed = "".join(f"{name}\t{at}\t{at + PEAK_BP}\n" for name in names for at in starts)
    (folder / "peaks.bed").write_text(bed)
    (folder / "cells.txt").write_text("".join(f"CELL{i:012}\n" for i in range(N_CELLS)))
    start = np.sort(rng.integers(0, starts[-1], CHROM_FRAGMENTS)).tolist()
    cell = rng.integers(0, N_CELLS, CHROM_FRAGMENTS).tolist()
    lines = [
        f"chr0\t{at}\t{at + 60}\tCELL{who:012}\t1\n" for at, who in zip(start, cell, strict=True)
    ]
    text = "".join(lines)
    with (folder / "fragments.tsv").open("w") as file:
        file.writelines(text.replace("chr0", name) for name in names)
    genome = random_chromosomes(rng, dict.fromkeys(names, int(starts[-1]) + 10_000))
    return folder / "fragments.tsv", write_fasta(folder / "g.fa", genome)


def run(counts, genome, out, memory, *peaks):
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, (counts, genome, out, memory, *peaks))],
        env=os.environ | {"XDG_CACHE_HOME": str(out.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    return made.returncode, made.stdout, made.stderr


@pytest.mark.slow
def test_the_bound_is_kept_and_the_peak_does_not_grow_with_cells(tmp_path, rng, libraries_mb):
    bound_mb = libraries_mb + BOUND_MB
    length = 500 * N_PEAKS // 2 + 10_000
    genome = write_fasta(
        tmp_path / "g.fa", random_chromosomes(rng, {"chrI": length, "chrII": length})
    )
    peaks = []
    for n_cells in (20_000, 60_000):  # 8 and 24 million positives, 64 and 192 MB as CSR
        counts = write_counts(tmp_path / f"{n_cells}.h5ad", n_cells, rng)
        code, out, errors = run(counts, genome, tmp_path / f"{n_cells}.zarr", f"{bound_mb}MB")
        assert code == 0, errors
        found = json.loads(out)
        assert found["peak"] < bound_mb * 10**6
        assert found["peak"] < found["work"]["peak_memory_bytes"] <= bound_mb * 10**6
        peaks.append(found["peak"])
    assert peaks[1] - peaks[0] < 80e6


@pytest.mark.slow
def test_the_bound_is_kept_while_fragments_are_counted(tmp_path, rng, libraries_mb):
    # 5 million; with an allocator that keeps what is freed this takes 380 MB beside the libraries
    bound_mb = libraries_mb + FRAGMENTS_BOUND_MB
    fragments, genome = write_fragments(tmp_path, rng)
    listed = tmp_path / "peaks.bed", tmp_path / "cells.txt"
    code, out, errors = run(fragments, genome, tmp_path / "a.zarr", f"{bound_mb}MB", *listed)
    assert code == 0, errors
    found = json.loads(out)
    assert found["peak"] < bound_mb * 10**6
    assert found["work"]["peak_memory_bytes"] <= bound_mb * 10**6


def test_too_little_memory_is_one_sentence_and_leaves_nothing(tmp_path, rng):
    genome = write_fasta(
        tmp_path / "g.fa", random_chromosomes(rng, {"chrI": 10**6, "chrII": 10**6})
    )
    counts = write_counts(tmp_path / "c.h5ad", 20, rng)
    code, _, errors = run(counts, genome, tmp_path / "a.zarr", "50MB")
    assert code == 1
    assert "TooLittleMemoryError: 50 MB of memory are too few for" in errors
    assert not (tmp_path / "a.zarr.partial").exists()
