"""The demo's parts; the demo itself is run by `make demo`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
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
    activity_agreement,
    denoising_agreement,
    most_varied_peaks,
    site_agreement,
    start_label_scores,
    truth_ceiling,
)
from atlasstore import Atlas
from atlasstore.errors import StoreExistsError
from atlasstore.genome.motifs import read_meme
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
    n_backgrounds=4,
    n_mutated_peaks=2,
    predicted_region="chr1:0-9000",
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
        activity=0.8,
        sites=0.7,
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


def test_true_activities_agree_wholly(tiny: Path) -> None:
    truth = Truth.load(tiny / "sim")
    obs = Atlas.open(tiny / "atlas.zarr").obs
    planted = truth.activities[[truth.cell_types.index(name) for name in obs["cell_type"]]]
    mean, sd = planted.mean(0) + 3.0, np.full(len(truth.motifs), 0.5)  # known up to each's mean
    var = pd.DataFrame({"motif": truth.motifs, "mean": mean, "sd": sd}, index=truth.motifs)
    activity = anndata.AnnData((planted - planted.mean(0)) / sd, obs=obs, var=var)
    assert activity_agreement(tiny / "sim", activity) == pytest.approx(1.0)
    activity.X = -activity.X
    assert activity_agreement(tiny / "sim", activity) == pytest.approx(-1.0)


def test_bases_of_active_sites_are_told_from_others(tiny: Path) -> None:
    """The planted bases are found where importance is high at sites that act, and only there."""
    truth = Truth.load(tiny / "sim")
    peaks = [truth.peaks[row] for row in np.unique(truth.sites.peak)[:3]]
    ism = PlantedIsm(truth, peaks, widths(tiny / "sim"))
    assert site_agreement(tiny / "sim", ism) == pytest.approx(1.0)
    ism.shift = 20
    assert site_agreement(tiny / "sim", ism) < 0.8


def widths(simulated: Path) -> list[int]:
    return [motif.width for motif in read_meme(simulated / "motifs.meme")]


class PlantedIsm:
    """Mutagenesis as the truth has it: only the bases of active sites matter."""

    def __init__(self, truth: Truth, peaks: list[str], widths: list[int]) -> None:
        self.truth, self.peaks, self.widths, self.shift = truth, peaks, widths, 0
        self.n_regions = len(peaks)
        ends = [name.rpartition(":")[2].split("-") for name in peaks]
        starts = [(int(a) + int(b)) // 2 - 200 for a, b in ends]
        self.regions = pd.DataFrame({"span_start": starts}, index=peaks)

    def columns(self, names: list[str]) -> np.ndarray:
        return np.arange(len(names))

    def codes(self, start: int, stop: int) -> np.ndarray:
        return np.zeros((stop - start, 400), np.uint8)

    def scores(self, start: int, stop: int, columns: np.ndarray) -> np.ndarray:
        found = np.zeros((stop - start, 400, 4, len(columns)), np.float32)
        for row, (peak, first) in enumerate(self.regions["span_start"].items()):
            for site in np.flatnonzero(self.truth.sites.peak == self.truth.peaks.index(peak)):
                motif = self.truth.sites.motif[site]
                at = self.truth.sites.start[site] - first + self.shift
                found[row, at : at + self.widths[motif], 0] += self.truth.activities[:, motif]
        return found


def test_the_peaks_that_vary_most_are_taken_in_their_order() -> None:
    values = np.array([[0, 1, 0, 5], [0, -1, 0.1, -5]], np.float32)
    denoised = anndata.AnnData(values, var=pd.DataFrame(index=list("abcd")))
    assert most_varied_peaks(denoised, 2) == ["b", "d"]


def test_a_tiny_demo_runs_whole_and_again_keeps_its_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlasjobs.output.console import Output

    out = str(tmp_path / "demo")
    first = run_demo(out, TINY, Output())
    told = capsys.readouterr().out
    assert "6/10 denoise" in told
    assert "r, TF activity with the truth" in told
    assert "auROC of planted sites, ISM" in told
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
        "motifs",
        "ism",
        "tracks",
        "report",
        "compare",
    ]
    assert [word for word in times if word in stages] == stages
    assert "\x1b" not in told
    second = run_demo(out, TINY, Output())
    assert capsys.readouterr().out.count("kept from an earlier run") == 8
    assert second.history == first.history
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    page = (tmp_path / "demo" / "report.html").read_text()
    assert all(f'id="figure-{name}-1"' in page for name in ("locus", "logo"))
    assert 'id="figure-tf-activity"' in page
    assert summary["evaluation"]["split"] == "test"
    assert summary["start_label_scores"].keys() == {"50"}
    assert (tmp_path / "demo" / "demo.png").is_file()


def test_the_commands_told_are_the_ones_run(tmp_path: Path, atlasbasset: Atlasbasset) -> None:
    """What the demo prints could be typed: the program accepts it."""
    import typer.main

    from atlasjobs.cli import app
    from atlasjobs.demo.commands import DemoCommands

    told = DemoCommands(DemoFolder(tmp_path), TINY)
    (tmp_path / "tracks").mkdir()
    lines = [
        told.simulate,
        told.preprocess,
        told.train,
        told.embed,
        told.evaluate,
        told.denoise,
        told.motifs,
        told.ism(["chr1:100-600", "chr1:900-1400"]),
        told.tracks,
        told.report,
    ]
    assert "tracks --label-key" in told.report
    group = typer.main.get_command(app)
    for line in lines:
        verb, *rest = line.split()
        group.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]
