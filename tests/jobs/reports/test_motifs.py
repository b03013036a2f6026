"""What ``atlasbasset motifs`` says before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from atlasbasset import plan_motifs
from atlasbasset.verbs.motifs.report import MotifReport
from atlasjobs.reports.motifs import motifs_facts
from atlasstore.errors import MotifError, StoreExistsError, UserInputError
from atlasstore.models.model_store import ModelStore
from command import Atlasbasset, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.verbs.motifs.plan import MotifsPlan


def planned(
    folder: Path, out: str = "new", *, motifs: str = "sim/motifs.meme", **options: Any
) -> MotifsPlan:
    model, atlas, meme = (str(folder / name) for name in ("model.zarr", "atlas.zarr", motifs))
    chosen = {"out": str(folder / out), "n_backgrounds": 100} | options
    return plan_motifs(model, atlas, motifs=meme, **chosen)


def test_a_plan_counts_sequences_work_and_bytes(trained: Path) -> None:
    before = snapshot(trained)
    plan = planned(trained)
    values, rows = plan.as_json(), dict(plan.lines())
    assert values["n_sequences"] == 100 * (1 + 4)
    assert values["n_units"] == 2
    assert values["dense_bytes"] == 60 * 4 * 4
    assert values["scratch_bytes"] == 100 * 5 * 32 * 4
    assert 290e6 < values["memory_bytes"] < 320e6  # 64 backgrounds' references, and 256 insertions
    assert values["gflop_full_passes"] == pytest.approx(500 * 0.933, rel=0.01)
    saved = values["gflop_full_passes"] / values["gflop"]
    assert 3 < saved < 4  # 5 passes of a background, or 1 and 4 tenths
    assert f"{saved:.1f} times less" in rows["work"]
    assert rows["workers"] == "this process"
    assert "sigmoids" not in rows
    assert snapshot(trained) == before


def test_a_plan_of_sigmoids_and_of_workers(trained: Path) -> None:
    plan = planned(trained, scale="sigmoid", workers=2)
    rows = dict(plan.lines())
    assert rows["sigmoids"] == "30,000"
    assert rows["workers"] == "2 Ray actors"
    assert plan.as_json()["scratch_bytes"] == 100 * 5 * 32 * 4 + 60 * 4 * 4


def test_a_plan_of_both_strands_and_of_labels(trained: Path) -> None:
    cells = ModelStore.open(trained / "model.zarr").obs.index[:2]
    table = pd.DataFrame({"leiden": ["0", "1"]}, index=cells)
    plan = planned(trained, obs=table, both_strands=True)
    one = planned(trained)
    assert plan.as_json()["n_sequences"] == 2 * one.as_json()["n_sequences"]
    assert plan.as_json()["scratch_bytes"] == 2 * one.as_json()["scratch_bytes"]
    assert plan.as_json()["gflop"] == pytest.approx(2 * one.as_json()["gflop"])
    assert "58 of 60 cells are not in the table" in dict(plan.lines())["labels"]
    assert "labels" not in dict(one.lines())


def test_a_plan_refuses_what_the_verb_would_refuse(trained: Path) -> None:
    with pytest.raises(StoreExistsError, match="exists already"):
        planned(trained, "atlas.zarr")
    with pytest.raises(UserInputError, match="seed must be 0 or more"):
        planned(trained, seed=-1)
    with pytest.raises(MotifError, match="does not exist"):
        planned(trained, motifs="absent.meme")


def test_facts() -> None:
    report = MotifReport("r.zarr", 1000, 734, 500, "linear", 2_936_000, ("GATA1", "SPI1"), False)
    assert dict(motifs_facts(report)) == {
        "cells x motifs": "1,000 x 734",
        "backgrounds": "500",
        "scale": "linear",
        "z-scores": "2.94 MB",
        "differ most between cells": "GATA1, SPI1",
    }


def test_the_command(trained: Path, tmp_path: Path, atlasbasset: Atlasbasset) -> None:
    command = ("motifs", trained / "model.zarr", trained / "atlas.zarr", "--n-backgrounds", 8)
    files = ("--motifs", trained / "sim" / "motifs.meme", "--out", tmp_path / "activity.zarr")
    dry = atlasbasset(*command, *files, "--dry-run")
    assert dry.code == 0, dry.err
    assert "Would score motifs" in dry.out
    assert not (tmp_path / "activity.zarr").exists()
    done = atlasbasset(*command, *files, "--json", tmp_path / "report.json")
    assert done.code == 0, done.err
    assert "60 x 4" in done.out
    assert (tmp_path / "report.json").exists()
    again = atlasbasset(*command, *files)
    assert "nothing was done" in again.out
    other = atlasbasset(*command, *files, "--seed", 3)
    assert other.code == 2
    assert "made by another job (seed 0, now 3)" in other.err
