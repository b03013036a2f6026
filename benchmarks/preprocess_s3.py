"""Preprocessing onto S3 over HTTP, killed three times on the way, against an undisturbed run.

Counts as in `preprocess_scale.py`. Both runs are the command line; the second gets `kill -9` after
a quarter, a half and three quarters of the first one's units and is started again each time. Rows:
seconds, and bytes of all puts over the bytes of the distinct objects of the atlas, which is 1 where
every byte is written once. Fails unless both atlases have the same objects, byte for byte, but for
the time in the provenance.

    python benchmarks/preprocess_s3.py [--cells 20000] [--peaks 100000] [--memory 800MB]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fsspec
import harness
from preprocess_scale import WINDOW_BP, write_counts, write_genome
from s3_server import BUCKET, puts, s3_server

KILL_AT = (0.25, 0.5, 0.75)


def start(counts: Path, genome: Path, out: str, memory: str) -> subprocess.Popen[bytes]:
    """Start `atlasbasset preprocess` as a user would."""
    program = [sys.executable, "-c", "from atlasjobs.cli import main; main()"]
    options = ["--genome", genome, "--out", out, "--memory", memory, "--window-bp", WINDOW_BP]
    command = [*program, "preprocess", counts, *options]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)


def receipts(address: str, out: str) -> int:
    """Return how many units of a job were recorded so far."""
    place = f"{out.removeprefix('s3:/')}.partial/ledger/"
    return sum(path.startswith(place) for path, _ in puts(address))


def whole_run(address: str, inputs: tuple[Path, Path], out: str, memory: str) -> float:
    """Run undisturbed; return seconds."""
    began = time.perf_counter()
    if start(*inputs, out, memory).wait():
        raise RuntimeError("the undisturbed run failed")
    return time.perf_counter() - began


def killed_run(
    address: str, inputs: tuple[Path, Path], out: str, memory: str, n_units: int
) -> float:
    """Run with kills; return seconds of all runs together."""
    began = time.perf_counter()
    for share in KILL_AT:
        process = start(*inputs, out, memory)
        while process.poll() is None and receipts(address, out) < share * n_units:
            time.sleep(0.05)
        process.kill()
        if process.wait() == 0:
            raise RuntimeError(f"the run was over before it was killed at {share} of its units")
        print(f"killed after {receipts(address, out)} of {n_units} units")
    if start(*inputs, out, memory).wait():
        raise RuntimeError("the killed run could not be finished")
    return time.perf_counter() - began


def checksums(out: str) -> dict[str, str]:
    """Return a checksum of every object of an atlas, but of the time in the provenance."""
    fs = fsspec.filesystem("s3")
    fs.invalidate_cache()
    place, found = out.removeprefix("s3://"), {}
    for path in fs.find(place):
        content = fs.cat_file(path)
        if path == f"{place}/zarr.json":
            document = json.loads(content)
            document["attributes"]["provenance"].pop("created")
            content = json.dumps(document).replace(out, "").encode()
        found[path.removeprefix(place)] = hashlib.sha256(content).hexdigest()
    return found


def rewritten(address: str, out: str) -> float:
    """Return bytes of all puts of an atlas's pieces over the bytes of those that are there."""
    place = f"{out.removeprefix('s3:/')}/"
    mine = [(path, size) for path, size in puts(address) if path.startswith(place)]
    chunks = [(path, size) for path, size in mine if not path.endswith("zarr.json")]
    return sum(size for _, size in chunks) / sum(dict(chunks).values())


def main() -> None:
    """Measure and append rows to results/preprocess_s3.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--peaks", type=int, default=100_000)
    parser.add_argument("--memory", default="800MB")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, s3_server() as address:
        inputs = Path(name) / "counts.h5ad", Path(name) / "genome.fa"
        write_counts(inputs[0], args.cells, args.peaks)
        write_genome(inputs[1], args.peaks)
        whole, killed = f"s3://{BUCKET}/whole.zarr", f"s3://{BUCKET}/killed.zarr"
        seconds = {"undisturbed": whole_run(address, inputs, whole, args.memory)}
        n_units = receipts(address, whole)
        seconds["killed 3 times"] = killed_run(address, inputs, killed, args.memory, n_units)
        if checksums(whole) != checksums(killed):
            raise RuntimeError("the two atlases differ")
        rows = []
        for run, out in (("undisturbed", whole), ("killed 3 times", killed)):
            for metric, unit, value in (
                ("time", "s", seconds[run]),
                ("bytes put / bytes stored", "ratio", rewritten(address, out)),
            ):
                rows.append(
                    harness.row(
                        "preprocess_s3", run, metric, unit, args.cells, [value],
                        peaks=args.peaks, memory=args.memory, units=n_units,
                    )
                )  # fmt: skip
    harness.append("preprocess_s3", rows)


if __name__ == "__main__":
    main()
