"""Ray Data: the same bits as one process, whoever is killed, and errors as they are."""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
import psutil
import pytest
from scipy import sparse

import atlasbasset
from atlasbasset.batch.executor import WorkerPool
from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.models.model_store import ModelStore
from atlasstore.resume.receipts import Receipts
from atlasstore.resume.units import Stage, run_units
from small_atlas import make_atlas, make_peaks, random_chromosomes, random_labels, write_fasta
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

pytestmark = pytest.mark.ray

N, P = 60, 1500
TABLES = ("cells/embedding", "cells/intercept", "solve/objective", "solve/gradient_norm")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    model = write_model(folder / "model", random_weights(rng, 3))
    return model, make_atlas(folder / "atlas", random_labels(rng, N, P), codes, max_block_cells=7)


def kill_a_worker():
    processes = psutil.Process().children(recursive=True)
    working = [p for p in processes if "MapWorker" in " ".join(p.cmdline())]
    os.kill(working[0].pid, signal.SIGKILL)
    return len(working)


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_map_to_the_same_bits(cluster, stores, tmp_path):
    one = atlasbasset.map_cells(*stores, out=tmp_path / "one", compute="fp32")
    killed, done = [], {"solving cells": [], "embedding sequences": []}

    def hear(event):
        if isinstance(event, Progress):
            done.setdefault(event.stage, []).append(event.done)
            if event.stage == "solving cells" and event.done and not killed:
                killed.append(kill_a_worker())

    out = tmp_path / "two"
    two = atlasbasset.map_cells(*stores, out=out, compute="fp32", workers=2, on_event=hear)
    assert killed == [2]
    assert done["solving cells"] == sorted(set(done["solving cells"]))
    assert [done["solving cells"][-1], done["embedding sequences"][-1]] == [N, two.n_peaks]
    here, there = (ModelStore.open(report.model) for report in (one, two))
    for table in TABLES:
        rows = [store.newest().rows(table, 0, N) for store in (here, there)]
        np.testing.assert_array_equal(*rows)
    assert two.loss == one.loss
    np.testing.assert_array_equal(two.iterations, one.iterations)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_denoise_to_the_same_bytes(
    cluster, stores, tmp_path, monkeypatch
):
    small_tables(monkeypatch.setattr, chunk_bytes=P, shard_bytes=P)  # a shard for each cell
    killed, done = [], []

    def hear(event):
        if isinstance(event, Progress) and event.stage == "writing predictions":
            done.append(event.done)
            if event.done and not killed:
                killed.append(kill_a_worker())

    options = {"compute": "fp32", "dtype": "uint8", "scale": "probability"}
    atlasbasset.denoise(*stores, out=tmp_path / "one", **options)
    atlasbasset.denoise(*stores, out=tmp_path / "two", workers=2, on_event=hear, **options)
    assert (killed, done) == ([2], [0, 1, 2, 3])
    one, two = (stored(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert {"X/c.0.0", "X/c.1.0", "X/c.2.0"} <= one.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def stored(folder):
    """Content of every file but those that say when the result was made."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if name != "zarr.json" and "provenance" not in name
    }


@dataclass(frozen=True)
class TornUnit:
    torn: int

    def __call__(self, unit):
        if unit["start"] == self.torn:
            raise CorruptStoreError(f"unit {self.torn} is torn")
        return {"infinity": float("inf")}


def test_an_error_keeps_its_class_and_sentence(cluster, tmp_path):
    units = [{"start": i, "stop": i + 1} for i in range(4)]
    stage, done = Stage("trying", "units"), []
    receipts = Receipts(str(tmp_path), units)
    options = {"stage": stage, "on_event": done.append, "executor": WorkerPool(1, 0.5).executor}
    with pytest.raises(CorruptStoreError, match="unit 2 is torn") as found:
        run_units(units, TornUnit(2), receipts=receipts, **options)
    assert Receipts(str(tmp_path), units).done[2] is np.False_
    assert str(found.value) == "unit 2 is torn"
    assert done == [Progress("trying", n, 4, "units") for n in (0, 1, 2)]


@dataclass(frozen=True)
class Squares:
    def __call__(self, unit):
        return {"bytes": unit["start"] ** 2}


def test_actors_log_under_the_run_of_their_driver_with_a_number_each(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.delenv("ATLASBASSET_RUN", raising=False)
    monkeypatch.setenv("ATLASBASSET_LOG", str(tmp_path / "log"))
    units = [{"start": i, "stop": i + 1} for i in range(4)]
    stage, receipts = Stage("trying", "units"), Receipts(str(tmp_path / "receipts"), units)
    executor = WorkerPool(2, 0.5).executor
    run_units(units, Squares(), receipts=receipts, executor=executor, stage=stage, on_event=ignore)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(line["event"] for line in lines) == ["batch_begin"] * 4 + ["batch_end"] * 4
    run = f"{socket.gethostname()}-{os.getpid()}"
    assert {(line["run"], line["stage"]) for line in lines} == {(run, "trying")}
    assert {line["rank"] for line in lines} <= {0, 1}
    assert sum(line.get("n_bytes", 0) for line in lines) == 14


def test_what_workers_cannot_reach_is_refused_before_anything_starts(stores, tmp_path):
    with pytest.raises(UserInputError, match="workers cannot reach"):
        atlasbasset.map_cells(*stores, out="memory://test_on_ray/model", workers=2)


@pytest.mark.slow
def test_preprocessing_by_two_workers_is_the_same_byte_for_byte(cluster, tmp_path, rng):
    counts = rng.poisson(0.3, (90, 40)).astype(np.float32)
    cells = pd.DataFrame(index=[f"c{i}" for i in range(90)])
    table = anndata.AnnData(sparse.csc_matrix(counts), obs=cells, var=make_peaks(40))
    table.write_h5ad(tmp_path / "counts.h5ad")  # by column: counted into a cell-major copy first
    lengths = {"chrI": 10_500, "chrII": 10_500}
    genome = write_fasta(tmp_path / "g.fa", random_chromosomes(rng, lengths))
    options = {"genome": genome, "window_bp": 192, "min_cell_fraction": 0.1}
    for name, workers in (("one", 0), ("two", 2)):
        atlasbasset.preprocess(
            tmp_path / "counts.h5ad", out=tmp_path / name, workers=workers, **options
        )
    one, two = (stored(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert len(one) > 20
