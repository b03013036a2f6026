"""What an epoch waits for data: an atlas on local disk and on S3 over HTTP, labels streamed.

The atlas is copied into a moto server of this machine, which shares its cores with the training.

    atlasbasset simulate sim --cells 100000 --peaks 20000 --density 0.025
    atlasbasset preprocess sim/counts.h5ad --genome sim/genome.fa --out sim.zarr
    python benchmarks/feeding.py sim.zarr [--group-peaks 4096]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from s3_server import BUCKET, s3_server

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.launch import run_in_process
from atlasbasset.engine.loop import Run
from atlasbasset.verbs.train.setup import begun_store
from atlasstore import Atlas
from atlasstore.events import ignore

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def s3_copy(atlas: str) -> Iterator[str]:
    """Serve a copy of the atlas over HTTP; yields its URL."""
    import fsspec

    with s3_server():
        fsspec.filesystem("s3").put(atlas.rstrip("/"), f"{BUCKET}/atlas.zarr", recursive=True)
        yield f"s3://{BUCKET}/atlas.zarr"


def epoch(url: str, group_peaks: int) -> dict[str, float]:
    """Train one epoch; return its record and the seconds of the whole run.

    Streaming is said, not left to the memory plan, which would keep these labels in memory.
    """
    config = TrainConfig.recipe("paper", epochs=1, group_peaks=group_peaks)
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.zarr")
        began = time.perf_counter()
        store = begun_store(Atlas.open(url), model, config)
        run_in_process(Run(url, model, config, "streamed" if group_peaks else "ram"), ignore)
        whole = time.perf_counter() - began
        return {**store.newest().state["history"][-1], "whole_run_s": whole}


def main() -> None:
    """Measure and append rows to results/feeding.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas")
    parser.add_argument("--group-peaks", type=int, default=4096)
    args = parser.parse_args()
    with s3_copy(args.atlas) as remote:
        places = {
            "local, in memory": (args.atlas, 0),
            "local, streamed": (args.atlas, args.group_peaks),
            "S3, streamed": (remote, args.group_peaks),
        }
        for name, (url, group_peaks) in places.items():
            record = epoch(url, group_peaks)
            seconds = record["seconds"]
            shares = {
                "share waiting": record["seconds_waiting"] / seconds,
                "auROC, over the epoch": record["seconds_measuring"] / seconds,
            }
            config = {"group_peaks": group_peaks, "whole_run_s": round(record["whole_run_s"], 1)}
            rows = [harness.row("feeding", name, "epoch", "s", group_peaks, [seconds], **config)]
            rows += [
                harness.row("feeding", name, metric, "1", group_peaks, [share], **config)
                for metric, share in shares.items()
            ]
            harness.append("feeding", rows)


if __name__ == "__main__":
    main()
