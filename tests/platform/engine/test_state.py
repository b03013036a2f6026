"""Where a run stands, to and from JSON; the stopping rule; what Ray is asked for."""

from __future__ import annotations

import json
import math

import pytest

from atlasbasset.engine.ray_train import _check_resources
from atlasbasset.engine.state import RunState
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from tiny import config


def test_round_trip_through_strict_json():
    state = RunState(epoch=2, step=3, best_auroc=0.6, best_epoch=2)
    state.history = [{"epoch": 1, "train_auroc": math.nan}, {"epoch": 2, "train_auroc": 0.6}]
    text = json.dumps(state.as_json(), allow_nan=False)
    found = RunState.from_json(json.loads(text))
    assert math.isnan(found.history[0]["train_auroc"])
    assert found.as_json() == state.as_json()
    assert RunState.from_json(RunState().as_json()) == RunState()


def test_training_stops_when_the_best_has_not_risen():
    settings, state = config(patience=2, epochs=10), RunState()
    for auroc in (0.5, 0.7, 0.7 + 1e-9, 0.6):
        assert state.stop_reason(settings) is None
        state.end_epoch({"train_auroc": auroc}, settings)
    assert "has not risen in 2 epochs" in str(state.stop_reason(settings))
    assert state.best_epoch == 2


def test_a_ray_of_this_machine_is_not_asked_for_more_than_it_has():
    with pytest.raises(UserInputError, match="need 3 CPUs \\(there are 2\\)"):
        _check_resources({"CPU": 3}, {"CPU": 2.0}, print, joined=False)
    _check_resources({"CPU": 2}, {"CPU": 2.0}, print, joined=False)


def test_a_cluster_may_still_grow():
    said = []
    _check_resources({"CPU": 2, "GPU": 4}, {"CPU": 2.0}, said.append, joined=True)
    assert said == [Notice("Waiting for the Ray cluster to have 4 GPUs (there are 0).")]
