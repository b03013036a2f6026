"""Checkpoints that are written beside the steps: published whole or not at all."""

from __future__ import annotations

import time

import pytest
import torch

import atlasbasset
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine.build_learner import new_learner
from atlasbasset.engine.checkpoints import Saver
from atlasbasset.engine.labels.host import WorkerData
from atlasbasset.engine.state import RunState
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.models.checkpoint import CheckpointWriter
from atlasstore.models.model_store import ModelStore
from tiny import atlas, config

CPU = torch.device("cpu")


@pytest.fixture
def saving(tmp_path):
    opened = Atlas.open(atlas(tmp_path / "a.zarr"))
    store = begun_store(opened, str(tmp_path / "m"), config())
    data = WorkerData(opened, range(len(opened.blocks)))
    learner = new_learner(config(), data, store, n_cells=opened.n_cells, device=CPU)
    return Saver(store, first_cell=0, runtime=LocalRuntime(CPU)), learner, store


def wait_until_done(saver):
    while not saver.written():
        time.sleep(0.01)


def test_it_is_published_only_when_asked_for(saving):
    saver, learner, store = saving
    saver.save(learner, RunState(total_steps=3), None)
    wait_until_done(saver)
    assert store.latest() is None
    saver.publish()
    assert store.latest().state["total_steps"] == 3
    saver.close()


def test_values_are_those_of_the_call_whatever_happens_afterwards(saving):
    saver, learner, store = saving
    expected = learner.cells.embedding.detach().numpy().copy()
    saver.save(learner, RunState(), None)
    with torch.no_grad():
        learner.cells.embedding.zero_()
    saver.finish()
    found = store.newest().rows("cells/embedding", 0, len(expected))
    assert (found == expected).all()


def test_a_write_that_failed_is_never_taken_for_done(saving, monkeypatch):
    """It raises where workers ask one another, so that nobody publishes."""
    saver, learner, store = saving
    saver.save(learner, RunState(total_steps=1), None)
    saver.finish()

    def full(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(CheckpointWriter, "write_rows", full)
    saver.save(learner, RunState(total_steps=2), None)
    with pytest.raises(OSError, match="no space left"):
        wait_until_done(saver)
    assert store.latest().state["total_steps"] == 1


def test_a_run_that_ended_with_a_solve_goes_on(tmp_path):
    """Under a checkpoint name of its own, and solves again."""
    atlas_url, model = atlas(tmp_path / "a.zarr"), tmp_path / "m"
    for epochs in (1, 2):
        report = atlasbasset.train(
            atlas_url, out=model, config=config(epochs=epochs, final_solve=True)
        )
        assert report.final_solve["epoch"] == epochs
    state = ModelStore.open(model).newest().state
    assert state["n_ended"] == 2
    assert state["total_steps"] == 2 * 7
