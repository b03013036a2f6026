"""The whole main path through the command line, tiny but with the full-size trunk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from command import TINY_TRAINING, Atlasbasset


def test_inspect_says_what_each_store_is(trained: Path, atlasbasset: Atlasbasset) -> None:
    atlas = atlasbasset("inspect", trained / "atlas.zarr", "--verify", "--json", "-")
    assert atlas.code == 0, atlas.err
    found = json.loads(atlas.out)
    assert found["format"] == "atlasbasset.atlas"
    assert found["sizes"]["n_cells"] == 60
    assert found["verified"] is True
    assert f"next: atlasbasset train {trained / 'atlas.zarr'} --out model.zarr" in atlas.err
    model = atlasbasset("inspect", trained / "model.zarr")
    assert model.code == 0, model.err
    assert "atlasbasset.model" in model.out


def test_the_way_back_from_a_result_to_the_counts(
    trained: Path, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    """Also when all that it was made from is gone: each store holds what the ones before say."""
    stores = (trained / "model.zarr", trained / "atlas.zarr")
    done = atlasbasset("denoise", *stores, "--no-dense", "--out", tmp_path / "d.zarr")
    assert done.code == 0, done.err
    said = atlasbasset("inspect", tmp_path / "d.zarr").out
    lines = [line.split() for line in said.splitlines() if line.strip().startswith("from ")]
    assert [line[1] for line in lines] == ["model", "atlas", "input", "input"]
    assert [line[2].rstrip(",") for line in lines] == [
        *map(str, stores),
        *(str(trained / "sim" / name) for name in ("counts.h5ad", "genome.fa")),
    ]
    card = (tmp_path / "d.zarr" / "README.md").read_text()
    assert "genome.fa" in card
    assert card.count("sha256") == 2
    assert "validation auROC per cell" in (trained / "model.zarr" / "README.md").read_text()


def test_training_again_goes_on(trained: Path, atlasbasset: Atlasbasset) -> None:
    command = ("train", trained / "atlas.zarr", "--out", trained / "model.zarr", *TINY_TRAINING)
    report = trained / "train.json"
    done = atlasbasset(*command, "--json", report)
    assert done.code == 0, done.err
    assert "resuming after epoch 1" in done.out
    assert json.loads(report.read_text())["last_epoch"]["epoch"] == 1
    assert len((trained / "model.zarr" / "metrics.jsonl").read_text().splitlines()) == 1


def test_embed(trained: Path, atlasbasset: Atlasbasset) -> None:
    done = atlasbasset("embed", trained / "model.zarr", "--out", trained / "cells.h5ad")
    assert done.code == 0, done.err
    cells = anndata.read_h5ad(trained / "cells.h5ad")
    assert cells.obsm["X_scbasset"].shape == (60, 32)
    assert "scbasset_intercept" in cells.obs
    followed = f"next: atlasbasset evaluate {trained / 'model.zarr'} {trained / 'atlas.zarr'}"
    assert done.out.splitlines()[-1] == followed


def test_embed_with_peaks_as_variables(trained: Path, atlasbasset: Atlasbasset) -> None:
    options = ("--variables", "peaks", "--atlas", trained / "atlas.zarr")
    out = trained / "peaks.h5ad"
    done = atlasbasset("embed", trained / "model.zarr", *options, "--out", out, "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n_vars"] == anndata.read_h5ad(out).n_vars > 0


def test_events_of_a_job_go_to_a_tracker(trained: Path, atlasbasset: Atlasbasset) -> None:
    command = ("denoise", trained / "model.zarr", trained / "atlas.zarr", "--no-dense")
    wrong = atlasbasset(*command, "--out", trained / "logged.zarr", "--log-to", "board:x")
    assert wrong.code == 2
    assert "give tensorboard:DIR, mlflow:URI or wandb:PROJECT" in wrong.err
    assert not (trained / "logged.zarr").exists()
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    to = ("--log-to", f"tensorboard:{trained / 'board'}")
    done = atlasbasset(*command, "--out", trained / "logged.zarr", *to)
    assert done.code == 0, done.err
    found = EventAccumulator(str(trained / "board")).Reload()
    assert found.Scalars("progress/embedding_sequences")[-1].value == 1


def test_evaluate_prints_a_table_or_json(trained: Path, atlasbasset: Atlasbasset) -> None:
    command = ("evaluate", trained / "model.zarr", trained / "atlas.zarr", "--ks", 5)
    table = atlasbasset(*command, "--label-key", "cell_type")
    assert table.code == 0, table.err
    assert "auROC per cell" in table.out
    assert "label score, k = 5" in table.out
    done = atlasbasset(*command, "--label-key", "cell_type", "--json", "-")
    found = json.loads(done.out)
    assert found["split"] == "test"
    assert list(found["labels"]["label_score"]) == ["5"]
    assert "auROC per cell" in done.err


def test_evaluate_refuses_rna_of_other_cells(trained: Path, atlasbasset: Atlasbasset) -> None:
    names = pd.DataFrame(index=["AAAC-1", "AAAG-1"])
    rna = anndata.AnnData(np.ones((2, 3), np.float32), names)
    rna.write_h5ad(trained / "rna.h5ad")
    command = ("evaluate", trained / "model.zarr", trained / "atlas.zarr", "--ks", 1)
    done = atlasbasset(*command, "--rna", trained / "rna.h5ad")
    assert done.code == 2
    assert "none of the 2 cells" in done.err


def test_denoise_opens_with_anndata(trained: Path, atlasbasset: Atlasbasset) -> None:
    command = ("denoise", trained / "model.zarr", trained / "atlas.zarr")
    done = atlasbasset(*command, "--out", trained / "denoised.zarr", "--scale", "probability")
    assert done.code == 0, done.err
    result = anndata.read_zarr(trained / "denoised.zarr")
    assert result.shape == (60, 60)
    assert np.all((np.asarray(result.X) >= 0) & (np.asarray(result.X) <= 1))


def test_weights_out_and_in_again(trained: Path, atlasbasset: Atlasbasset) -> None:
    out = atlasbasset("export-weights", trained / "model.zarr", trained / "weights.h5")
    assert out.code == 0, out.err
    back = atlasbasset(
        "import-weights", trained / "weights.h5", "--out", trained / "back.zarr", "--json", "-"
    )
    assert back.code == 0, back.err
    assert json.loads(back.out)["n_cells"] == 60


def test_a_real_process_in_a_pipe_writes_no_control_characters(tiny: Path) -> None:
    command = Path(sys.executable).with_name("atlasbasset")
    done = subprocess.run(
        [command, "inspect", tiny / "atlas.zarr", "--verify"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "checking labels" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""
