"""A small atlas, model and result with all their parts, and everything that can be read of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import atlasstore
from atlasstore.atlas.atlas import Atlas
from atlasstore.inspect_store import inspect_store
from atlasstore.models.model_store import ModelStore
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio.table_plan import plan_table
from small_atlas import make_atlas, random_labels

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_PEAKS, WIDTH = 4, 3, 2
RESULT = {"seed": 2}
"""Provenance of a result."""


def make_small_atlas(url: str | Path) -> str:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (N_PEAKS, 198), dtype=np.uint8)
    labels = random_labels(rng, N_CELLS, N_PEAKS, density=0.5)
    return make_atlas(url, labels, codes, max_block_cells=2)


def make_small_model(url: str | Path) -> str:
    """Two checkpoints, batches, and labels that came later."""
    store = ModelStore.create(
        url,
        obs=cells(),
        config={"seed": 1},
        block_cells=2,
        batches=["left", "right"],
        provenance={"seed": 3},
    )
    for step in (1, 2):
        writer = store.write_checkpoint(step)
        writer.begin({"cells/embedding": (WIDTH,), "cells/intercept": ()})
        for block in store.blocks:
            for name, shape in (("embedding", (WIDTH,)), ("intercept", ())):
                values = np.full((block.n_cells, *shape), step + block.index, np.float32)
                writer.write_rows(f"cells/{name}", block.start, values)
        writer.write_tensors("trunk", {"w": np.arange(5, dtype=np.float32)})
        writer.write_tensors("peaks", {"deviation": np.eye(WIDTH, dtype=np.float32)})
        state = {"epoch": step, "history": [{"epoch": n + 1, "loss": 0.5} for n in range(step)]}
        writer.commit(state)
        store.write_metrics(state["history"])
    labels = {"leiden": pd.Categorical(["0", "1", "1", None]), "score": np.zeros(N_CELLS)}
    store.write_labels(pd.DataFrame(labels, index=store.obs.index))
    return str(url)


def make_small_result(url: str | Path) -> str:
    plan = plan_table("X", (N_CELLS, N_PEAKS), "float32")
    create_result(
        str(url),
        kind="denoised",
        obs=cells(),
        var=pd.DataFrame({"chrom": ["c1"] * N_PEAKS}, index=[f"p{i}" for i in range(N_PEAKS)]),
        obsm={"X_scbasset": np.zeros((N_CELLS, WIDTH), np.float32)},
        varm={"scbasset_sequence": np.ones((N_PEAKS, WIDTH), np.float32)},
        tables=[plan],
        about={"scale": "linear", "flags": np.zeros(2, np.int64), "n": 0, "on": False},
    )
    receipt = write_rows(str(url), plan, 0, np.zeros((N_CELLS, N_PEAKS), np.float32))
    finish_result(str(url), RESULT, shards=[receipt])
    return str(url)


def cells() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": pd.Categorical(["a", "b", "a", "b"]),
            "depth": np.zeros(N_CELLS, np.int64),
            "flag": pd.array([True, None, False, True], dtype="boolean"),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )


def everything(url: str) -> str:
    """Read and verify all of a store; return its values as text."""
    inspect_store(url, verify=True)
    store = atlasstore.open(url)
    found = {"provenance": store.provenance, "obs": store.obs.to_csv()}
    if isinstance(store, Atlas):
        rows = [store.labels(block.index) for block in store.blocks]
        found |= {
            "var": store.var.to_csv(),
            "codes": store.sequence_codes(0, store.n_peaks).tolist(),
            "labels": [(r.indptr.tolist(), r.indices.tolist()) for r in rows],
        }
    elif isinstance(store, ModelStore):
        newest = store.newest()
        names = ("cells/embedding", "cells/intercept")
        found |= {
            "config": store.config,
            "batches": store.batches,
            "state": newest.state,
            "trunk": {name: w.tolist() for name, w in newest.tensors("trunk").items()},
            "peaks": newest.tensors("peaks")["deviation"].tolist(),
            "cells": [newest.rows(name, 0, store.n_cells).tolist() for name in names],
        }
    elif isinstance(store, Result):
        found |= {
            "var": store.var.to_csv(),
            "about": repr(store.about),
            "tables": [store.rows(name).tolist() for name in store.tables],
        }
    return json.dumps(found, sort_keys=True)
