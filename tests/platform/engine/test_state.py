"""Where a run stands, to and from JSON; the stopping rule."""

from __future__ import annotations

import json
import math

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.state import RunState
from tiny import config


def test_round_trip_through_strict_json():
    state = RunState(epoch=2, step=3, best_auroc=0.6, best_epoch=2)
    state.history = [{"epoch": 1, "train_auroc": math.nan}, {"epoch": 2, "train_auroc": 0.6}]
    text = json.dumps(state.as_json(), allow_nan=False)
    found = RunState.from_json(json.loads(text))
    assert math.isnan(found.history[0]["train_auroc"])
    assert found.as_json() == state.as_json()
    assert RunState.from_json(RunState().as_json()) == RunState()


def test_a_state_and_settings_with_former_names_are_read():
    values = RunState(n_ended=2, final_solve={"loss": 0.5}).as_json()
    former = {"n_ended": "n_polished", "final_solve": "polished"}
    stored = {former.get(name, name): value for name, value in values.items()}
    assert RunState.from_json(stored) == RunState.from_json(values)
    settings = config(final_solve=False).as_json()
    settings["polish"] = settings.pop("final_solve")
    assert TrainConfig.from_json(settings).final_solve is False


def test_training_stops_when_the_best_has_not_risen():
    settings, state = config(patience=2, epochs=10), RunState()
    for auroc in (0.5, 0.7, 0.7 + 1e-9, 0.6):
        assert state.stop_reason(settings) is None
        state.end_epoch({"train_auroc": auroc}, settings)
    assert "has not risen in 2 epochs" in str(state.stop_reason(settings))
    assert state.best_epoch == 2
