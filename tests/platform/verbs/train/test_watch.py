from __future__ import annotations

import json
from pathlib import Path

import pytest

import atlasbasset
from atlasbasset.engine.events import CellsSolved, EpochEnd, TrainingEnd
from atlasbasset.engine.state import RunState
from atlasstore.errors import NotAStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from command import run
from flaky_s3 import s3_behind_proxy
from small_model import random_weights, write_model
from small_report import EPOCHS, SOLVED

N_CELLS = 12


@pytest.fixture
def model(tmp_path, rng) -> str:
    url = write_model(tmp_path / "model.zarr", random_weights(rng, N_CELLS))
    group = urls.open_group(url, mode="r+")
    group.attrs["config"] = {**group.attrs["config"], "train": {"epochs": 8}}
    return url


class Trainer:
    """Stands for a training elsewhere: each wait writes the next checkpoint."""

    def __init__(self, url: str, states: list[dict]) -> None:
        self.url, self.states, self.waits = url, states, []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        store = ModelStore.open(self.url)
        before = store.newest()
        writer = store.write_checkpoint(len(self.waits))
        writer.begin({"cells/embedding": (5,), "cells/intercept": ()})
        for name in ("embedding", "intercept"):
            for block in store.blocks:
                values = before.rows(f"cells/{name}", block.start, block.stop)
                writer.write_rows(f"cells/{name}", block.start, values)
        writer.write_tensors("trunk", before.tensors("trunk"))
        writer.commit({**RunState().as_json(), **self.states[len(self.waits) - 1]})


def standing(epochs: int, **more: object) -> dict:
    history = [{**EPOCHS[0], "epoch": number + 1} for number in range(epochs)]
    return {"epoch": epochs, "best_epoch": epochs, "history": history, **more}


def test_a_training_is_followed_to_its_end(model) -> None:
    solved = {"final_solve": SOLVED, "n_ended": 1}
    states = [standing(1), standing(1), standing(3, notices=["slow"]), standing(8)]
    trainer, heard = Trainer(model, [*states, standing(8, **solved)]), []
    state = atlasbasset.watch(model, every_s=7, on_event=heard.append, sleep=trainer)
    assert state.epoch == 8
    assert trainer.waits == [7.0] * 5
    ends = [event.record["epoch"] for event in heard if isinstance(event, EpochEnd)]
    assert ends == list(range(1, 9))
    assert [event.record for event in heard if isinstance(event, CellsSolved)] == [SOLVED]
    assert heard[-1] == TrainingEnd("all 8 epochs are done", 8)
    assert [event.message for event in heard if hasattr(event, "message")] == ["slow"]


@pytest.mark.s3
@pytest.mark.slow
def test_a_training_in_a_bucket_is_followed_though_another_process_writes_it(model) -> None:
    """Objects are put there by another client, of which the watcher's listings know nothing."""
    boto3 = pytest.importorskip("boto3")
    with pytest.MonkeyPatch.context() as environment, s3_behind_proxy(environment) as proxy:
        client = boto3.client("s3", endpoint_url=proxy.url)
        states = [standing(2), standing(8), standing(8, final_solve=SOLVED, n_ended=1)]
        trainer, folder, heard = Trainer(model, states), Path(model), []

        def put_all(seconds: float | None = None) -> None:
            if seconds is not None:
                trainer(seconds)
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    key = f"model.zarr/{path.relative_to(folder)}"
                    client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())

        put_all()
        state = atlasbasset.watch("s3://bucket/model.zarr", on_event=heard.append, sleep=put_all)
    assert state.epoch == 8
    assert trainer.waits == [10.0] * 3
    ends = [event.record["epoch"] for event in heard if isinstance(event, EpochEnd)]
    assert ends == list(range(1, 9))


def test_once_tells_how_things_stand(model, tmp_path) -> None:
    Trainer(model, [standing(3)])(0)
    done = run("watch", model, "--once", "--json", tmp_path / "standing.json")
    assert done.code == 0, done.err
    assert "3/8" in done.out
    assert json.loads((tmp_path / "standing.json").read_text())["epoch"] == 3


def test_wrong_input(model, tmp_path) -> None:
    with pytest.raises(UserInputError, match="above 0"):
        atlasbasset.watch(model, every_s=0)
    with pytest.raises(NotAStoreError):
        atlasbasset.watch(tmp_path / "none.zarr")
