"""``--dry-run`` tells the truth and touches nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atlasbasset import TrainConfig
from atlasbasset.core.trunk import Trunk
from atlasjobs.plans import training_sizes
from atlasstore import Atlas

from .conftest import TINY_TRAINING, Atlasbasset, snapshot

if TYPE_CHECKING:
    from pathlib import Path


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


def test_training_sizes(tiny: Path) -> None:
    atlas, config = Atlas.open(tiny / "atlas.zarr"), TrainConfig(batch_size=10)
    sizes = training_sizes(atlas, config, workers=1)
    trunk = sum(p.numel() for p in Trunk(config.trunk).parameters())
    assert sizes.n_parameters == trunk + 33 * 60 == 4_513_960 + 33 * 60
    assert sizes.steps_per_epoch == 4
    assert sizes.sequence_bytes == 60 * 1350
    assert sizes.cell_bytes == 12 * 33 * 60
    assert sizes.label_bytes == 2 * atlas.n_positives + 8 * 61 * len(atlas.blocks)


def test_more_workers_hold_fewer_cells_each(tiny: Path) -> None:
    atlas = Atlas.open(tiny / "atlas.zarr")
    one, three = (training_sizes(atlas, TrainConfig(), workers=n) for n in (1, 3))
    assert three.cell_bytes < one.cell_bytes / 2
    assert three.label_bytes < one.label_bytes
    assert three.sequence_bytes == one.sequence_bytes


def test_a_plan_for_too_many_workers_is_refused(tiny: Path, atlasbasset: Atlasbasset) -> None:
    done = atlasbasset("train", tiny / "atlas.zarr", "--out", "m", "--workers", 1000, "--dry-run")
    assert done.code == 2
    assert "workers must be 1 to" in done.err


def test_a_plan_says_where_a_model_goes_on(trained: Path, atlasbasset: Atlasbasset) -> None:
    done = atlasbasset(
        "train",
        trained / "atlas.zarr",
        "--out",
        trained / "model.zarr",
        "--dry-run",
        *TINY_TRAINING,
    )
    assert "goes on after epoch 1" in done.out


def test_a_dry_run_refuses_what_the_training_would_refuse(
    trained: Path, atlasbasset: Atlasbasset
) -> None:
    command = ("train", trained / "atlas.zarr", "--out", trained / "model.zarr", "--dry-run")
    for option, said in ((("--seed", 9), "seed is 9"), (("--max-shift-bp", 50), "stores 3 bp")):
        done = atlasbasset(*command, *TINY_TRAINING, *option)
        assert done.code == 2
        assert said in done.err
