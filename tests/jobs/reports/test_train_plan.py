"""``--dry-run`` tells the truth and touches nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from atlasbasset import TrainConfig, plan_train
from atlasbasset.engine.memory.limit import MemoryLimit
from atlasbasset.engine.memory.lines import memory_lines
from atlasbasset.engine.memory.parts import Layout
from atlasbasset.engine.memory.plan import plan_training
from atlasstore import Atlas
from atlasstore.errors import UserInputError
from command import TINY_TRAINING, Atlasbasset, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasbasset.engine.config import Recipe

GB = 10**9


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "{new}", "--cells", "70"),
        ("preprocess", "{sim}/counts.h5ad", "--genome", "{sim}/genome.fa", "--out", "{new}"),
        ("train", "{atlas}", "--out", "{new}"),
        ("train", "{atlas}", "--out", "{model}", "--workers", "3", *TINY_TRAINING),
        ("embed", "{model}", "--out", "{new}.h5ad"),
        ("evaluate", "{model}", "{atlas}", "--split", "all"),
        ("denoise", "{model}", "{atlas}", "--out", "{new}", "--peaks", "{sim}/peaks.bed"),
        ("demo", "--out", "{new}"),
    ],
)
def test_a_dry_run_touches_nothing(
    arguments: tuple[str, ...], trained: Path, atlasbasset: Atlasbasset
) -> None:
    places = {
        "new": str(trained / "new"),
        "sim": str(trained / "sim"),
        "atlas": str(trained / "atlas.zarr"),
        "model": str(trained / "model.zarr"),
    }
    before = snapshot(trained)
    command = [argument.format(**places) for argument in arguments]
    done = atlasbasset(*command, "--dry-run", "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)
    assert "Would" in done.err
    assert snapshot(trained) == before
    assert not (trained / "new").exists()


def planned(tiny: Path, *, workers: int = 1, memory: str = "10GB") -> Mapping[str, Any]:
    url, config = str(tiny / "atlas.zarr"), TrainConfig.recipe("paper", batch_size=10)
    out = str(tiny / "new.zarr")
    return plan_train(url, out=out, config=config, workers=workers, memory=memory).as_json()


def held(plan: Mapping[str, Any]) -> dict[str, int]:
    return {part["name"]: part["ram_bytes"] for part in plan["memory"]["held"]}


@pytest.mark.skipif(torch.cuda.is_available(), reason="parts lie on the GPU where there is one")
def test_a_training_plan_says_what_it_holds(tiny: Path) -> None:
    atlas, plan = Atlas.open(tiny / "atlas.zarr"), planned(tiny)
    assert plan["n_parameters"] == 4_513_960 + 33 * 60
    assert plan["steps_per_epoch"] == 4
    parts, memory = held(plan), plan["memory"]
    assert (memory["labels"], memory["codes"], memory["group_peaks"]) == ("ram", "ram", 0)
    assert parts["sequences"] == 60 * 1350
    assert parts["labels"] == 2 * atlas.n_positives + 8 * 61 * len(atlas.blocks)
    assert parts["cell table, Adam"] == 12 * 33 * 60
    besides = max(phase["ram_bytes"] for phase in memory["phases"])
    assert memory["ram_bytes"] == sum(parts.values()) + besides
    assert memory["ram_limit_bytes"] == 10_000_000_000


@pytest.mark.skipif(torch.cuda.is_available(), reason="parts lie on the GPU where there is one")
def test_more_workers_hold_fewer_cells_each(tiny: Path) -> None:
    one, three = (held(planned(tiny, workers=n)) for n in (1, 3))
    assert three["cell table, Adam"] < one["cell table, Adam"] / 2
    assert three["labels"] < one["labels"]
    assert three["sequences"] == one["sequences"]


def test_the_memory_of_a_plan_is_printed_part_by_part(tiny: Path) -> None:
    config = TrainConfig.recipe("paper", batch_size=10)
    plan = plan_train(str(tiny / "atlas.zarr"), out="new", config=config, memory="10GB")
    rows = dict(plan.lines())
    assert "read once" in rows["labels"]
    assert rows["memory"].endswith("per worker of 10.0 GB that it may take")
    assert {"sequences", "cell table, Adam", "checkpoint copy", "a step", "measuring"} <= set(rows)


def test_streamed_labels_and_a_gpu_have_rows_of_their_own(tiny: Path) -> None:
    atlas, config = Atlas.open(tiny / "atlas.zarr"), TrainConfig.recipe("paper", group_peaks=512)
    plan = plan_training(atlas, config, workers=1, limit=MemoryLimit(64 * GB, 64 * GB))
    rows = dict(memory_lines(plan))
    assert "on the GPU" in rows["labels"]
    assert rows["GPU memory"].endswith("of 64.0 GB on each GPU")
    streamed = replace(plan, layout=Layout("streamed", "ram", 512))
    assert "read 512 peaks at a time" in dict(memory_lines(streamed))["labels"]


def test_a_plan_that_does_not_fit_is_refused_and_touches_nothing(tiny: Path) -> None:
    before = snapshot(tiny)
    with pytest.raises(UserInputError, match=r"but 0\.5 GB may be used"):
        planned(tiny, memory="500MB")
    assert snapshot(tiny) == before


def test_a_plan_for_too_many_workers_is_refused(tiny: Path, atlasbasset: Atlasbasset) -> None:
    done = atlasbasset("train", tiny / "atlas.zarr", "--out", "m", "--workers", 1000, "--dry-run")
    assert done.code == 2
    assert "workers must be 1 to" in done.err


def test_a_plan_says_that_a_model_is_finished(trained: Path, atlasbasset: Atlasbasset) -> None:
    command = ("train", trained / "atlas.zarr", "--out", trained / "model.zarr")
    done = atlasbasset(*command, *TINY_TRAINING, "--dry-run")
    assert "finished: all 1 epochs are done, so there is nothing to do" in done.out


def test_a_plan_says_where_a_model_goes_on(
    tiny: Path, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    command = ("train", tiny / "atlas.zarr", "--out", tmp_path / "model.zarr", "--recipe", "paper")
    command = (*command, *TINY_TRAINING)
    assert atlasbasset(*command, "--epochs", 1).code == 0
    done = atlasbasset(*command, "--epochs", 2, "--dry-run")
    assert "resumes after epoch 1" in done.out


def test_a_dry_run_refuses_what_the_training_would_refuse(
    trained: Path, atlasbasset: Atlasbasset
) -> None:
    command = ("train", trained / "atlas.zarr", "--out", trained / "model.zarr", "--dry-run")
    for option, said in ((("--seed", 9), "seed is 9"), (("--max-shift-bp", 50), "stores 3 bp")):
        done = atlasbasset(*command, *TINY_TRAINING, *option)
        assert done.code == 2
        assert said in done.err


@pytest.mark.parametrize(
    ("recipe", "epochs", "said"),
    [("fast", 31, "124 steps in all are few"), ("fast", 32, None), ("paper", 8, None)],
)
def test_few_steps_are_told_where_a_trunk_begins_anew(
    tiny: Path, recipe: Recipe, epochs: int, said: str | None
) -> None:
    config = TrainConfig.recipe(recipe, batch_size=10, epochs=epochs)  # 4 steps an epoch
    plan = plan_train(str(tiny / "atlas.zarr"), out=str(tiny / "new.zarr"), config=config)
    told = dict(plan.lines()).get("few steps", "")
    assert told.startswith(said or "")
    assert bool(told) == (said is not None)
    assert "--epochs 32" in told or said is None
