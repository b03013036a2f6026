"""The demo's parts; the demo itself is run by `make demo`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from atlasbasset import TrainConfig, load_model, train
from atlasbasset.metrics import LabelScore, PredictionQuality, label_score
from atlasbasset.verbs.evaluate import Evaluation
from atlasjobs import demo as demo_package
from atlasjobs.demo import DemoFolder, DemoResult, DemoSettings, run_demo
from atlasjobs.demo.picture import save_picture
from atlasjobs.demo.truth import (
    Ceiling,
    DenoisingAgreement,
    denoising_agreement,
    start_label_scores,
    truth_ceiling,
)
from atlasstore import Atlas
from atlasstore.errors import StoreExistsError
from atlasstore.simulation import Truth

if TYPE_CHECKING:
    from pathlib import Path

    from command import Atlasbasset

TINY = DemoSettings(
    n_cells=60,
    n_peaks=60,
    n_cell_types=2,
    n_motifs=4,
    split_fractions=(0.6, 0.2, 0.2),
    epochs=1,
    n_auroc_peaks=20,
)


def evaluation(label_score: float, auroc: float) -> Evaluation:
    found = np.full(4, auroc)
    return Evaluation(
        model="m",
        atlas="a",
        split="test",
        prediction=PredictionQuality(found, found, found, found),
        depth_correlation=None,
        labels=LabelScore({10: 1.0, 50: label_score}, {}, 0.25, 60, 60, 0, ()),
    )


def result(label_score: float, auroc: float = 0.6) -> DemoResult:
    records = tuple(
        {"epoch": i + 1, "loss": 0.6 - 0.1 * i, "valid_auroc_per_cell": 0.5 + 0.1 * i}
        for i in range(3)
    )
    return DemoResult(
        settings=TINY,
        evaluation=evaluation(label_score, auroc),
        start={50: 0.95},
        ceiling=Ceiling(0.8, 0.75),
        denoising=DenoisingAgreement(0.9, 0.4),
        history=records,
        seconds={"simulate": 1.0},
    )


def test_success_is_a_label_score_and_the_prediction_of_unseen_sequences() -> None:
    assert result(0.9).succeeded
    assert not result(0.899).succeeded
    assert "0.899" in result(0.899).shortfall
    assert not result(1.0, 0.57).succeeded
    assert "0.570" in result(1.0, 0.57).shortfall


def test_a_demo_that_fails_to_learn_exits_1_with_a_sentence(
    tmp_path: Path, atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_package, "run_demo", lambda *_: result(0.3))
    done = atlasbasset("demo", "--out", tmp_path / "demo", "--json", tmp_path / "out.json")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "label score at k = 50 is 0.300 (needed: 0.9)" in done.err
    assert json.loads((tmp_path / "out.json").read_text())["succeeded"] is False


def test_a_folder_is_gone_on_with_only_by_the_same_demo(tmp_path: Path) -> None:
    out = str(tmp_path / "demo")
    first = DemoFolder.claim(out, TINY)
    assert DemoFolder.claim(out, TINY) == first
    with pytest.raises(StoreExistsError, match="another version or settings"):
        DemoFolder.claim(out, replace(TINY, seed=1))
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreExistsError, match="holds no demo"):
        DemoFolder.claim(str(tmp_path / "mine"), TINY)


def test_the_picture_is_drawn(tmp_path: Path, rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(60, 32)).astype(np.float32)
    save_picture(result(1.0), embedding, ["a", "b"] * 30, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_the_ceiling_is_the_simulations_own(tiny: Path) -> None:
    atlas = Atlas.open(tiny / "atlas.zarr")
    found = truth_ceiling(tiny / "sim", atlas)
    held_out = atlas.to_anndata()[:, atlas.peak_rows("test")]
    expected = Truth.load(tiny / "sim").ceiling(
        held_out.obs, held_out.X, peaks=held_out.var_names.tolist()
    )
    # float32 scores against float64: ties may fall differently
    assert found.auroc_per_cell == pytest.approx(expected.mean_per_cell, abs=1e-5)
    assert found.auroc_per_peak == pytest.approx(expected.mean_per_peak, abs=1e-5)


def test_the_start_is_scored_as_training_starts(tiny: Path, tmp_path: Path) -> None:
    atlas = Atlas.open(tiny / "atlas.zarr")
    config = TrainConfig.recipe("fast", epochs=1, final_solve=False, learning_rate=1e-9)
    train(tiny / "atlas.zarr", out=tmp_path / "model", config=config)
    kept = load_model(tmp_path / "model").cell_embedding
    started = label_score(kept, atlas.obs["cell_type"].to_numpy(), [5]).mean
    assert start_label_scores(atlas, k=5)[5] == pytest.approx(started[5], abs=0.03)


def test_denoising_by_the_truth_itself_agrees_wholly(tiny: Path) -> None:
    atlas = Atlas.open(tiny / "atlas.zarr")
    truth = Truth.load(tiny / "sim")
    held_out = atlas.to_anndata()[:, atlas.peak_rows("test")].copy()
    rates = truth.rates(held_out.obs["cell_type"].tolist())
    columns = [truth.peaks.index(name) for name in held_out.var_names]
    held_out.X = np.log(rates[:, columns])
    found = denoising_agreement(tiny / "sim", atlas, held_out)
    assert found.denoised == pytest.approx(1.0)
    assert 0 < found.labels < 0.9


def test_a_tiny_demo_runs_whole_and_again_keeps_its_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlasjobs.output.console import Output

    out = str(tmp_path / "demo")
    first = run_demo(out, TINY, Output())
    told = capsys.readouterr().out
    assert "6/7 denoise" in told
    assert f"Report {out}/report.html" in told
    assert "$ atlasbasset train" in told
    assert "Where the time went" in told
    times = told.split("Where the time went")[1].split()
    stages = [
        "simulate",
        "preprocess",
        "train",
        "embed",
        "evaluate",
        "denoise",
        "report",
        "compare",
    ]
    assert [word for word in times if word in stages] == stages
    assert "\x1b" not in told
    second = run_demo(out, TINY, Output())
    assert capsys.readouterr().out.count("kept from an earlier run") == 5
    assert second.history == first.history
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["evaluation"]["split"] == "test"
    assert summary["start_label_scores"].keys() == {"50"}
    assert (tmp_path / "demo" / "demo.png").is_file()


def test_the_commands_told_are_the_ones_run(tmp_path: Path, atlasbasset: Atlasbasset) -> None:
    """What the demo prints could be typed: the program accepts it."""
    import typer.main

    from atlasjobs.cli import app
    from atlasjobs.demo import stages

    where = DemoFolder(tmp_path)
    told = [
        stages._simulate_command(where, TINY),
        stages._preprocess_command(where, TINY),
        stages._train_command(where, TINY),
        stages._evaluate_command(where),
        stages._denoise_command(where),
        stages._report_command(where),
    ]
    group = typer.main.get_command(app)
    for line in told:
        verb, *rest = line.split()
        group.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]
