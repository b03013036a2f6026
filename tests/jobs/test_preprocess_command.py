"""`preprocess` as a person runs it: the plan, adding samples, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.atlas.atlas import Atlas
from small_atlas import make_peaks, random_chromosomes, write_fasta

if TYPE_CHECKING:
    from pathlib import Path

    from command import Atlasbasset


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in "ab":
        counts = rng.poisson(0.5, (50, 20)).astype(np.float32)
        cells = pd.DataFrame(index=[f"c{i}" for i in range(50)])
        table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(20))
        table.write_h5ad(tmp_path / f"{name}.h5ad")
    genome = random_chromosomes(rng, {"chrI": 6_000, "chrII": 6_000})
    return {
        "a": str(tmp_path / "a.h5ad"),
        "b": str(tmp_path / "b.h5ad"),
        "genome": str(write_fasta(tmp_path / "g.fa", genome)),
        "out": str(tmp_path / "atlas.zarr"),
    }


def made(atlasbasset: Atlasbasset, inputs: dict[str, str], *more: str) -> str:
    options = ("--genome", inputs["genome"], "--out", inputs["out"], "--window-bp", "192")
    shown = atlasbasset("preprocess", inputs["a"], *options, *more)
    assert shown.code == 0, shown.err
    return shown.out


def test_the_plan_says_passes_bytes_blocks_and_memory(
    atlasbasset: Atlasbasset, inputs: dict[str, str], tmp_path: Path
) -> None:
    shown = made(atlasbasset, inputs, "--dry-run", "--memory", "2GB", "--json", str(tmp_path / "j"))
    for word in ("Would make", "once", "scratch", "2 over each block", "workers", "2.00 GB"):
        assert word in shown
    assert not (tmp_path / "atlas.zarr").exists()
    work = json.loads((tmp_path / "j").read_text())["work"]
    assert 0 < work["peak_memory_bytes"] < work["memory_bytes"] == 2 * 10**9


def test_samples_are_added(atlasbasset: Atlasbasset, inputs: dict[str, str]) -> None:
    made(atlasbasset, inputs)
    shown = atlasbasset("preprocess", inputs["b"], "--append", "--out", inputs["out"])
    assert shown.code == 0, shown.err
    assert "Added to the atlas" in shown.out
    assert Atlas.open(inputs["out"]).n_cells == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--append", "--window-bp", "384"], "--window-bp has no meaning with --append"),
        (["--append", "--genome", "g.fa"], "--genome has no meaning with --append"),
        ([], "a genome is needed"),
        (["--genome", "GENOME", "--memory", "plenty"], "plenty is no size in memory"),
        (["--genome", "GENOME", "--memory", "60MB"], "60 MB of memory are too few"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_2(
    atlasbasset: Atlasbasset, inputs: dict[str, str], options: list[str], message: str
) -> None:
    given = [inputs["genome"] if option == "GENOME" else option for option in options]
    shown = atlasbasset("preprocess", inputs["a"], "--out", inputs["out"], *given)
    assert shown.code == 2
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
