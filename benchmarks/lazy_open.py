"""What opening a shared result costs: a factored store of generated cells, opened lazily.

    python benchmarks/lazy_open.py [--cells 1000000] [--peaks 118043] [--repeats 3] [--folder DIR]

A store without X is written to local disk: embeddings (E = 32), intercepts, names, a cell type and
three depth columns of each cell, coordinates of each peak. Every repeat is a new process, so that
nothing is open and nothing imported: it imports anndata and atlasstore, opens the store as AnnData,
and computes 10 cells x 100 peaks (which reads the factors), one cell, one peak, a block, and
scattered cells x scattered peaks by `predicted`, one after the other. The file system's cache is
warm. Rows: seconds of each step; the size of the store; the most memory that the process held.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import numpy as np
import pandas as pd

from atlasstore.files import urls
from atlasstore.results.writer import create_result, finish_result
from atlasstore.zarrio import formats
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, SEQUENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 32
_MEASURED = """
import json, resource, sys, time

seconds = {}


def step(name):
    global began
    now = time.perf_counter()
    seconds[name] = now - began
    began = time.perf_counter()


began = time.perf_counter()
import anndata, atlasstore
step("import anndata and atlasstore")
adata = atlasstore.open(sys.argv[1]).to_anndata(lazy=True)
step("open and to_anndata(lazy=True)")
adata[:10, :100].X.compute()
step("10 cells x 100 peaks, first")
adata[adata.n_obs // 2].X.compute()
step("one cell, all peaks")
adata[:, adata.n_vars // 2].X.compute()
step("one peak, all cells")
adata[5000:8547, 5000:8547].X.compute()
step("3,547 cells x 3,547 peaks")
chosen = adata[:: max(1, adata.n_obs // 1000), :: max(1, adata.n_vars // 500)]
began = time.perf_counter()
atlasstore.predicted(chosen)
step("predicted, 1 in 1,000 cells x 500 peaks")
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "held": held * 1024}))
"""


def make_store(url: str, n_cells: int, n_peaks: int) -> None:
    """Write a factored result of random embeddings."""
    rng = np.random.default_rng(0)
    create_result(
        url,
        kind="denoised",
        obs=_cells(rng, n_cells),
        var=_peaks(n_peaks),
        obsm={EMBEDDING: _normal(rng, n_cells)},
        varm={SEQUENCE: _normal(rng, n_peaks)},
        about={"scale": "linear"},
    )
    finish_result(url, formats.provenance([], {}, None))


def _normal(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    return rng.standard_normal((n, _WIDTH), dtype=np.float32)


def _cells(rng: np.random.Generator, n: int) -> pd.DataFrame:
    letters = np.frombuffer(b"ACGT", "S1")[rng.integers(0, 4, (n, 16))]
    barcodes = letters.reshape(-1).view("S16").astype(str)
    names = [f"sample{i % 40}_{code}{i}" for i, code in enumerate(barcodes)]
    types = pd.Categorical.from_codes(rng.integers(0, 30, n), [f"type{i}" for i in range(30)])
    counts = {name: rng.integers(500, 30_000, n) for name in ("n_peaks", "n_counts", "n_fragments")}
    intercept = rng.standard_normal(n, dtype=np.float32)
    return pd.DataFrame({"cell_type": types, **counts, INTERCEPT: intercept}, index=names)


def _peaks(n: int) -> pd.DataFrame:
    start = np.arange(n) * 2000 + 500
    names = [f"chr1:{first}-{first + 500}" for first in start]
    return pd.DataFrame({"chrom": "chr1", "start": start, "end": start + 500}, index=names)


def measure(url: str, repeats: int) -> list[dict[str, dict[str, float] | float]]:
    """Return what each of `repeats` processes measured."""
    command = [sys.executable, "-c", _MEASURED, url]
    runs = [
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for _ in range(repeats)
    ]
    return [json.loads(run) for run in runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--peaks", type=int, default=118_043)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where a folder is made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        url = f"{name}/factored.zarr"
        make_store(url, args.cells, args.peaks)
        stored, found = urls.stored_bytes(url) / 1e6, measure(url, args.repeats)
    config = {"peaks": args.peaks, "repeats": args.repeats, "embedding_dim": _WIDTH}
    of_steps = {step: [run["seconds"][step] for run in found] for step in found[0]["seconds"]}
    rows = [
        harness.row("lazy_open", step, "time", "s", args.cells, taken, **config)
        for step, taken in of_steps.items()
    ]
    held = [run["held"] / 1e6 for run in found]
    rows += [
        harness.row("lazy_open", "store", "size", "MB", args.cells, [stored], **config),
        harness.row("lazy_open", "process", "memory", "MB", args.cells, held, **config),
    ]
    harness.append("lazy_open", rows)


if __name__ == "__main__":
    main()
