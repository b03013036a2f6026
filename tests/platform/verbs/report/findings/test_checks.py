from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.verbs.report.findings import checks
from atlasbasset.verbs.report.findings.cells import SampledCells
from atlasstore.atlas.atlas import Atlas

GOOD = {
    "n_looked_at": 2000,
    "n_unknown": 0,
    "n_judged": 2000,
    "gc_auroc_shifted": 0.7,
    "cpg_auroc_shifted": 0.65,
    "gc_auroc_random": 0.7,
    "cpg_auroc_random": 0.6,
    "count_correlation": 0.4,
    "n_unknown_windows": 0,
}
MISPLACED = {**GOOD, "gc_auroc_shifted": 0.5, "cpg_auroc_shifted": 0.5, "count_correlation": 0.01}
FEW = {"n_looked_at": 50, "n_unknown": 0, "n_judged": 50}


@pytest.mark.parametrize(
    ("recorded", "verdict"),
    [
        (GOOD, "passed"),
        (MISPLACED, "warning"),
        (FEW, "unknown"),
        (None, "unknown"),
        ("odd", "unknown"),
    ],
)
def test_assembly_as_preprocess_found_it(recorded, verdict) -> None:
    atlas = SimpleNamespace(provenance={"peak_check": recorded})
    found = checks.assembly_check(atlas)
    assert found.verdict == verdict
    assert checks.assembly_check(None).verdict == "unknown"


def peaks(starts: list[int], split: list[str]) -> SimpleNamespace:
    var = pd.DataFrame({"chrom": "chr1", "start": starts, "split": split})
    var["end"] = var["start"] + 100
    return SimpleNamespace(
        var=var, window_bp=1000, flank_bp=0, provenance={"config": {"split": "random"}}
    )


def test_overlap_of_held_out_windows() -> None:
    apart = checks.overlap_check(peaks([0, 5000, 9000], ["train", "valid", "test"]))
    assert (apart.verdict, "split: random" in apart.says) == ("passed", True)
    beside = checks.overlap_check(peaks([0, 500, 9000], ["train", "valid", "test"]))
    assert beside.verdict == "warning"
    assert beside.says.startswith("100 % of the valid windows share bases")


def test_held_out_peaks_that_mapped_cells_have_seen() -> None:
    model = SimpleNamespace(url="m.zarr", config={"mapped": {"split": "all"}})
    apart = peaks([0, 5000, 9000], ["train", "valid", "test"])
    found = checks.overlap_check(apart, model)
    assert (found.verdict, found.says[:32]) == ("warning", "The cells of m.zarr were solved ")
    model.config["mapped"]["split"] = "train"
    assert checks.overlap_check(apart, model).verdict == "passed"


def cells(intercept: np.ndarray, depth: np.ndarray | None) -> SampledCells:
    n = len(intercept)
    empty = np.zeros((n, 2), np.float32)
    names = tuple(map(str, range(n)))
    return SampledCells(np.arange(n), names, empty, intercept, depth, None, None, n)


def test_the_intercept_against_depth() -> None:
    depth = np.array([10.0, 100, 1000, 10_000])
    assert checks.depth_check(cells(np.log(depth), depth)).verdict == "passed"
    assert checks.depth_check(cells(np.array([1.0, -1, 1, -1]), depth)).verdict == "warning"
    assert checks.depth_check(cells(np.log(depth), None)).verdict == "unknown"


def labelled(*names: str) -> CellLabels:
    kinds = tuple(sorted(set(names)))
    return CellLabels("key", kinds, np.array([kinds.index(name) for name in names]))


def test_confounding_of_batches_and_labels() -> None:
    batch = labelled(*"xxxyyy")
    apart = checks.confounding_check(labelled(*"aaabbb"), batch)
    assert apart.verdict == "warning"
    assert "x | y" in apart.says
    joined = checks.confounding_check(labelled(*"aaaaaa"), batch)
    assert joined.verdict == "passed"
    missing = checks.confounding_check(None, batch)
    assert (missing.verdict, "--label-key" in missing.says) == ("unknown", True)
    assert "--batch-key" not in missing.says


def test_one_batch_has_nothing_to_be_told_apart_from() -> None:
    alone = checks.confounding_check(labelled(*"aabb"), None, "lane1")
    assert alone.verdict == "passed"
    assert alone.says == "All cells are of one batch (lane1): there is nothing to tell apart."
    assert "--batch-key" in checks.confounding_check(labelled(*"aabb"), None).says


def predicted(mean: float, interval: tuple[float, float] | None, n_peaks: int) -> SimpleNamespace:
    return SimpleNamespace(
        quality=SimpleNamespace(mean_auroc_per_cell=mean),
        certainty=SimpleNamespace(auroc_per_cell=interval),
        rows=np.arange(n_peaks),
    )


@pytest.mark.parametrize(
    ("found", "verdict", "says"),
    [
        (predicted(0.7, (0.65, 0.75), 500), "passed", "0.700"),
        (predicted(0.52, (0.49, 0.55), 500), "warning", "no better than chance"),
        (predicted(0.7, None, 50), "warning", "Only 50 peaks"),
        (predicted(float("nan"), None, 500), "warning", "no better than chance"),
    ],
)
def test_predictions_against_chance(found, verdict, says) -> None:
    check = checks.held_out_check(found)
    assert check.verdict == verdict
    assert says in check.says


@pytest.mark.parametrize(
    ("history", "solved", "verdict"),
    [
        ([], None, "unknown"),
        ([{"loss": 0.5}], None, "passed"),
        ([{"loss": None}], None, "warning"),
        ([{"loss": 0.5}], {"n_converged": 10}, "passed"),
        ([{"loss": 0.5}], {"n_converged": 9}, "warning"),
    ],
)
def test_the_end_of_training(history, solved, verdict) -> None:
    assert checks.convergence_check(history, solved, 10).verdict == verdict


def test_results_of_another_model_are_named() -> None:
    assert checks.same_model_check([]).verdict == "passed"
    found = checks.same_model_check(["old.zarr"])
    assert (found.verdict, "old.zarr" in found.says) == ("warning", True)


def test_a_real_atlas_can_be_asked(stores) -> None:
    assert checks.overlap_check(Atlas.open(stores.atlas)).verdict == "passed"
    assert checks.assembly_check(Atlas.open(stores.atlas)).verdict == "unknown"
