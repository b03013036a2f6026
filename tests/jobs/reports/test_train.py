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
    found = facts(polished=solved)
    assert found["loss"] == "0.5000"
    assert found["loss, solved"] == "0.4000"
    assert found["valid auROC, solved"] == "0.650 per cell, 0.660 per peak"
    assert found["stored model"] == "the one with its cells solved"
    assert found["cells solved at the end"] == "49 of 50 converged, in 3.0 s"


def test_a_training_without_an_epoch() -> None:
    assert facts(history=()) == {"epochs": "none"}
