"""What actors on one node read of a model's cell table: requests and bytes, counted by the server.

    PYTHONPATH=tests python benchmarks/table_reads.py [--cells 200000] [--workers 0 1 4]

`denoise` of a few peaks from and to an S3 server on loopback behind a proxy that notes every
request; the actors are those of a Ray of this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import harness
import numpy as np
import pytest

import atlasbasset
from atlasstore.events import ignore
from atlasstore.files import urls
from flaky_s3 import FlakyProxy, s3_behind_proxy
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

NAME = "table_reads"
BUCKET = "s3://bucket"
PEAKS = 64


def make_stores(n_cells: int) -> None:
    """Write an atlas and a model of as many cells into the bucket."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder, "model"), random_weights(rng, n_cells))
        make_atlas(Path(folder, "atlas"), random_labels(rng, 50, PEAKS), codes)
        fs, _ = urls.filesystem(BUCKET)
        for name in ("model", "atlas"):
            fs.put(f"{folder}/{name}", f"{BUCKET}/{name}", recursive=True)


def table_reads(proxy: FlakyProxy, n_workers: int) -> tuple[int, int]:
    """Denoise; return GET requests of the cell table's chunks, and the bytes they brought."""
    fs, _ = urls.filesystem(BUCKET)
    sizes = {f"/{path}": about["size"] for path, about in fs.find("bucket", detail=True).items()}
    proxy.log.clear()
    share = {} if n_workers == 0 else {"workers": n_workers, "cpus_per_worker": 1 / 4}
    out = f"{BUCKET}/denoised-{n_workers}"
    atlasbasset.denoise(
        f"{BUCKET}/model", f"{BUCKET}/atlas", out=out, dtype="uint8", on_event=ignore, **share
    )
    read = [path for verb, path in proxy.log if verb == "GET" and "/cells/" in path]
    chunks = [path for path in read if sizes.get(path) and not path.endswith("zarr.json")]
    return len(chunks), sum(sizes[path] for path in chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 4])
    args = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # on loopback, for as long as this lasts
    with pytest.MonkeyPatch.context() as patch, s3_behind_proxy(patch) as proxy:
        import ray

        make_stores(args.cells)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        rows = []
        for n in args.workers:
            requests, n_bytes = table_reads(proxy, n)
            about = {"workers": n, "cells": args.cells}
            rows.append(harness.row(NAME, f"{n} actors", "GET", "", n, [requests], **about))
            rows.append(harness.row(NAME, f"{n} actors", "MB", "MB", n, [n_bytes / 1e6], **about))
            print(f"{n} actors: {requests} GET of the cell table, {n_bytes / 1e6:.1f} MB")
        harness.append(NAME, rows)


if __name__ == "__main__":
    main()
