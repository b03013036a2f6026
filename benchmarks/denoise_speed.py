"""Denoising into a dense table, against writing the same bytes with plain zarr.

    python benchmarks/denoise_speed.py [--cells 100000] [--peaks 20000] [--dtype float32]
        [--repeats 3] [--places local s3] [--workers 0] [--folder DIR]

Both sides write the same array (shape, chunks, shards, codecs) shard by shard, one to local disk
and one to S3 (a server of this machine, over HTTP). "denoise" is the verb from its first shard
until the result is published: it predicts the values, takes their checksums and keeps receipts
besides; the peaks are embedded before (by a small trunk, since that is not the question).
"plain zarr" writes values that are in memory: shards of the same result, again and again. MB are
10^6 bytes before compression. Providers take turns; the last rows are denoise's share of plain
zarr's rate, turn by turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import zarr
from s3_server import BUCKET, s3_server

import atlasbasset
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.results.result import Result
from atlasstore.zarrio.table_plan import TablePlan, plan_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE_SHARDS = 8
_WRITING = "writing predictions"


def make_inputs(folder: Path, n_cells: int, n_peaks: int) -> tuple[str, str]:
    """Write a model of random weights with E = 32 and an atlas of random sequences."""
    rng = np.random.default_rng(0)
    config = replace(TINY, embedding_dim=32)
    model = write_model(
        folder / "model", random_weights(rng, n_cells, config=config), config=config
    )
    codes = rng.integers(0, 4, (n_peaks, config.window_bp + 6), dtype=np.uint8)
    return model, make_atlas(folder / "atlas", rng.random((4, n_peaks)) < 0.5, codes)


def denoise_seconds(inputs: tuple[str, str], out: str, **options: Any) -> float:
    """Denoise; return seconds from the first shard on."""
    began = []

    def hear(event: object) -> None:
        if isinstance(event, Progress) and event.stage == _WRITING and not began:
            began.append(time.perf_counter())

    atlasbasset.denoise(*inputs, out=out, on_event=hear, **options)
    return time.perf_counter() - began[0]


def plain_seconds(like: zarr.Array, plan: TablePlan, out: str, sample: list[NDArray[Any]]) -> float:
    """Write an array like `like` from values in memory; return seconds."""
    began = time.perf_counter()
    group = zarr.create_group(urls.zarr_store(out, read_only=False), zarr_format=3)
    made = group.create_array(
        "X",
        shape=like.shape,
        dtype=like.dtype,
        chunks=like.chunks,
        shards={"shape": like.shards, "index_location": "start"},
        compressors=like.compressors,
        fill_value=like.fill_value,
        config={"write_empty_chunks": True},
    )
    for index, (start, stop) in enumerate(plan.shards()):
        made[start:stop] = sample[index % len(sample)][: stop - start]
    return time.perf_counter() - began


def compare(inputs: tuple[str, str], place: str, plan: TablePlan, args: argparse.Namespace) -> None:
    """Let both write to `place` by turns; append rows."""
    outs = {name: f"{place}/{name.replace(' ', '-')}" for name in ("denoise", "plain zarr")}
    options = {"dtype": args.dtype, "compute": "fp32", "workers": args.workers}
    like, sample = None, []
    rates: dict[str, list[float]] = {name: [] for name in outs}
    for _ in range(args.repeats):
        seconds = {"denoise": denoise_seconds(inputs, outs["denoise"], **options)}
        if like is None:
            like, sample = shards_of(outs["denoise"], plan)
        urls.delete(outs["denoise"])
        seconds["plain zarr"] = plain_seconds(like, plan, outs["plain zarr"], sample)
        urls.delete(outs["plain zarr"])
        for name, taken in seconds.items():
            rates[name].append(plan.n_bytes / taken / 1e6)
    ratio = np.divide(rates["denoise"], rates["plain zarr"])
    where = "s3" if place.startswith("s3") else "local"
    config = {"place": where, "workers": args.workers, "peaks": args.peaks, "dtype": args.dtype}
    rows = [
        harness.row("denoise_speed", f"{name}, {where}", "written", "MB/s", args.cells, r, **config)
        for name, r in rates.items()
    ]
    name = f"denoise / plain zarr, {where}"
    rows.append(
        harness.row("denoise_speed", name, "ratio", "", args.cells, ratio.tolist(), **config)
    )
    harness.append("denoise_speed", rows)


def shards_of(out: str, plan: TablePlan) -> tuple[zarr.Array, list[NDArray[Any]]]:
    """Return a result's table, and some of its shards spread over all cells."""
    table = Result.open(out).table("X")
    whole = [run for run in plan.shards() if run[1] - run[0] == plan.shard_rows]
    chosen = whole[:: max(1, len(whole) // _SAMPLE_SHARDS)] or list(plan.shards())[:1]
    return table, [table[start:stop] for start, stop in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--peaks", type=int, default=20_000)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "uint8"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--places", nargs="+", default=["local", "s3"], choices=["local", "s3"])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where a folder is made, for local disk")
    args = parser.parse_args()
    plan = plan_table("X", (args.cells, args.peaks), args.dtype)
    print(f"{plan.n_bytes / 1e6:,.0f} MB in {plan.n_shards} shards")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        inputs = make_inputs(folder, args.cells, args.peaks)
        for place in args.places:
            with s3_server() if place == "s3" else nullcontext():
                compare(inputs, f"s3://{BUCKET}" if place == "s3" else name, plan, args)


if __name__ == "__main__":
    main()
