"""``kill -9`` at any moment, again and again: the atlas is the same, byte for byte."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import NotAStoreError
from small_atlas import make_peaks, random_chromosomes, write_fasta

TESTS = Path(__file__).resolve().parents[1]
N_CELLS, N_PEAKS = 200, 40
UNITS = ("read/", "begin", "sequences/", "labels/", "report")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    counts = rng.poisson(np.linspace(0.01, 0.5, N_PEAKS), (N_CELLS, N_PEAKS)).astype(np.float32)
    cells = pd.DataFrame({"kind": list("ab") * 100}, index=[f"c{i}" for i in range(N_CELLS)])
    table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(N_PEAKS))
    table.write_h5ad(folder / "counts.h5ad")
    chromosomes = random_chromosomes(rng, {"chrI": 10_500, "chrII": 10_500})
    return [str(folder / "counts.h5ad"), str(write_fasta(folder / "genome.fa", chromosomes))]


def start(inputs, out):
    script = TESTS / "faults" / "preprocess_until_done.py"
    return subprocess.Popen(
        [sys.executable, str(script), *inputs, str(out)],
        env=os.environ | {"PYTHONPATH": str(TESTS), "XDG_CACHE_HOME": str(out.parent / "cache")},
        stderr=subprocess.PIPE,
    )


def finish(inputs, out):
    process = start(inputs, out)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()


def units(out):
    """Names of the files of receipts: a step's own, or below its stage's folder."""
    ledger = Path(f"{out}.partial/ledger")
    found = (path.relative_to(ledger) for path in ledger.rglob("*.json"))
    return {"/".join(path.parts[1:]).removesuffix(".json") for path in found if path.stem[0] != "."}


def kill_after(process, out, kind, seen, extra_s):
    """Kill once a new unit of a kind is done, then a little later: in the middle of things."""
    while process.poll() is None and not any(u.startswith(kind) for u in units(out) - seen):
        time.sleep(0.001)
    time.sleep(extra_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def checksums(store):
    """Of every file, but the time in the provenance, and the root's digest, which holds it."""
    found = {}
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path == store / "zarr.json":
            created = Atlas.open(store).provenance["created"]
            content = content.replace(created.encode(), b"when")
            content = re.sub(rb'"metadata_sha256": *"\w+"', b"", content)
        found[str(path.relative_to(store))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.slow
def test_killed_again_and_again(tmp_path, inputs, rng):
    whole, out = tmp_path / "whole.zarr", tmp_path / "killed.zarr"
    finish(inputs, whole)
    began = None
    for kind in UNITS:
        kill_after(start(inputs, out), out, kind, units(out), rng.uniform(0, 0.02))
        if not out.exists():
            with pytest.raises(NotAStoreError):
                Atlas.open(out)
        began = began or (Path(f"{out}.partial") / "run.json").read_text()
    if not out.exists():  # the last kill may have come too late
        finish(inputs, out)
    assert checksums(out) == checksums(whole)
    assert Atlas.open(out).provenance["created"] in began
    Atlas.open(out).verify()
    assert {p.name for p in tmp_path.iterdir()} <= {
        "whole.zarr", "killed.zarr", "killed.zarr.partial", "cache",
    }  # fmt: skip
