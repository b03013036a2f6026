"""What a verb made, in lines."""

from __future__ import annotations

from typing import Any

from atlasbasset.verbs.train.report import TrainReport
from atlasjobs.reports.train import training_facts

QUALITY = {
    "loss": 0.5,
    "train_auroc": 0.71,
    "valid_auroc_per_cell": 0.65,
    "valid_auroc_per_peak": 0.66,
}
EPOCH = QUALITY | {"seconds": 10.0, "seconds_measuring": 2.0, "sequences_per_s": 200.0}


def facts(**changes: Any) -> dict[str, str]:
    values = {"model": "m", "n_cells": 50, "stopped_because": "all is done", "history": (EPOCH,)}
    return dict(training_facts(TrainReport(**(values | changes))))


def test_a_training() -> None:
    found = facts()
    assert found["epochs"] == "1 in 12 s: all is done"
    assert found["valid auROC"] == "0.650 per cell, 0.660 per peak"
    assert found["stored model"] == "that of the last epoch"
    assert not any("solved" in name for name in found)


def test_a_training_that_ends_with_a_solve() -> None:
    solved = QUALITY | {"loss": 0.4, "n_converged": 49, "seconds": 3.0, "epoch": 1}
    found = facts(final_solve=solved)
    assert found["loss"] == "0.5000"
    assert found["loss, solved"] == "0.4000"
    assert found["valid auROC, solved"] == "0.650 per cell, 0.660 per peak"
    assert found["stored model"] == "the one with its cells solved"
    assert found["cells solved at the end"] == "49 of 50 converged, in 3.0 s"


def deviations(weight: float | None, *, tried: bool = True, l2: float = 30.0) -> str:
    rows = [
        {"l2_cells": 10.0, "weight": None, "rounds": 0, "loss": 0.14},
        {"l2_cells": 30.0, "weight": None, "rounds": 0, "loss": 0.12},
        {"l2_cells": 30.0, "weight": weight, "rounds": 2, "loss": 0.13},
    ]
    chosen = {"l2_cells": l2, "weight": weight, "rounds": 2, "tried": rows if tried else []}
    solved = QUALITY | {"n_converged": 50, "seconds": 3.0, "peak_deviations": chosen}
    return facts(final_solve=solved)["peak deviations"]


def test_a_training_whose_peaks_deviate() -> None:
    chosen = "Peaks deviate with weight 3, cells have 30, 2 rounds"
    seen = ": neighbours predict unseen peaks at 0.13000 nats with deviations, 0.14000 without."
    assert deviations(3.0) == f"{chosen}{seen}"
    assert deviations(3.0, tried=False) == f"{chosen}."


def test_a_training_whose_peaks_stay() -> None:
    seen = "Peaks stay at their sequences: neighbours predict unseen peaks at 0.13000 nats with "
    assert deviations(None, l2=10.0) == f"{seen}deviations, 0.14000 without."
    held = "deviations, 0.14000 without, 0.12000 with cells held by 30."
    assert deviations(None) == f"{seen}{held}"
    few = "Peaks stay at their sequences: deviations need 100 cells and 100 training peaks"
    assert deviations(None, tried=False).startswith(few)


def test_a_training_without_an_epoch() -> None:
    assert facts(history=()) == {"epochs": "none"}
