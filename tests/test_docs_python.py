"""The code of docs/python.md runs, block after block, on simulated counts.

Training is cut to one epoch of a tiny trunk; all else runs as it stands. A block that needs a
package which is not installed is left out.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import pytest

import atlasbasset
import atlasstore
from small_model import TINY
from tiny import config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
NEEDED = {"scanpy": "import scanpy", "tensorboard": "tensorboard:", "logomaker": "pl.ism_logo"}


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with counts.h5ad, genome.fa and motifs.meme."""
    sizes = {"n_cells": 60, "n_peaks": 60, "n_cell_types": 2, "n_motifs": 4, "density": 0.3}
    atlasstore.simulate(tmp_path / "work", **sizes)
    monkeypatch.chdir(tmp_path / "work")
    train = partial(atlasbasset.train, config=config(epochs=1, trunk=TINY))
    monkeypatch.setitem(vars(atlasbasset), "train", train)
    before = mpl.get_backend()
    mpl.use("agg")
    yield tmp_path / "work"
    mpl.use(before)


@pytest.mark.filterwarnings("ignore")  # of the packages that the page goes on with
def test_every_block_runs(workplace):
    known, n_run = {}, 0
    for block in blocks():
        absent = [p for p, used in NEEDED.items() if used in block and find_spec(p) is None]
        if not absent:
            exec(compile(block, str(PAGE), "exec"), known)
            n_run += 1
    assert n_run >= len(blocks()) - 3
    assert known["adata"].obsm["tf_activity"].shape == (60, 4)
    assert known["markers"].layers["denoised"].shape == (60, 20)
    assert known["new"].obs["mapped_cell_type"].notna().all()
    assert known["block"].shape == (10, 60)
    assert known["cells"].shape == (60, 60)
    assert (workplace / "again.zarr").exists() == (find_spec("tensorboard") is not None)
