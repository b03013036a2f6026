"""What `denoise` says it would do, and did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.verbs.denoise.denoise import DenoiseReport
from atlasjobs.reports.denoise import denoise_facts, denoise_plan
from atlasstore import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from command import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from atlasjobs.output.lines import Plan


def planned(trained: Path, **options: Any) -> Plan:
    settings: dict[str, Any] = {
        "peaks": None,
        "cells": None,
        "genes": None,
        "scale": "linear",
        "dtype": "float16",
        "pool": WorkerPool(),
    }
    places = [str(trained / name) for name in ("model.zarr", "atlas.zarr", "new.zarr")]
    return denoise_plan(*places, **(settings | options))


def test_the_table_and_its_factors_are_priced(trained: Path) -> None:
    atlas, before = Atlas.open(trained / "atlas.zarr"), snapshot(trained)
    plan = planned(trained)
    n_cells, n_peaks = plan.values["n_cells"], plan.values["n_peaks"]
    assert n_peaks == atlas.n_peaks
    assert plan.values["dense_bytes"] == 2 * n_cells * n_peaks
    assert plan.values["factored_bytes"] == 4 * (33 * n_cells + 32 * n_peaks)
    assert plan.values["n_shards"] == 1
    assert plan.values["memory_bytes"] > plan.values["factored_bytes"]
    assert dict(plan.rows)["workers"] == "this process"
    assert "dense table" in dict(plan.rows)
    assert snapshot(trained) == before


def test_without_a_table_there_is_none_to_price(trained: Path) -> None:
    plan = planned(trained, dtype=None, pool=WorkerPool(2, 1, 0.5))
    assert "dense_bytes" not in plan.values
    assert "dense table" not in dict(plan.rows)
    assert dict(plan.rows)["workers"] == "2 Ray actors of 1 CPUs and 0.5 GPUs"
    assert dict(plan.rows)["memory"].endswith("per worker")


def test_memory_is_that_of_the_largest_stage(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(trained)
    model = 4 * 33 * plan.values["n_cells"]
    n_peaks = plan.values["n_peaks"]
    each = 4 * 448 * 5 * 288  # the widest layer's unfolded input
    assert plan.values["memory_bytes"] == model + min(256, n_peaks) * each
    monkeypatch.setattr("atlasbasset.core.inference._BATCH", 0)  # the other stages alone
    n_cells = plan.values["n_cells"]
    for dtype, n_bytes in (("float32", 22), ("uint8", 7)):
        values = planned(trained, dtype=dtype, scale="sigmoid").values
        writing = 2 * 4 * 32 * n_peaks + n_bytes * n_cells * n_peaks
        assert values["memory_bytes"] == model + writing
    spanning = 4 * (32 * (n_cells + n_peaks) + 2 * n_cells * n_peaks)
    spanned = planned(trained, dtype="uint8").values["memory_bytes"]
    assert spanned == model + max(spanning, writing)
    factors = 4 * 32 * (n_cells + n_peaks)
    assert planned(trained, dtype=None).values["memory_bytes"] == model + factors


def test_genes_take_the_place_of_peaks(trained: Path, tmp_path: Path) -> None:
    peak = Atlas.open(trained / "atlas.zarr").var.iloc[0]
    line = f'{peak.chrom}\tx\tgene\t{peak.start + 1}\t{peak.end}\t.\t+\t.\tgene_id "G";\n'
    (tmp_path / "genes.gtf").write_text(line)
    plan = planned(trained, genes=str(tmp_path / "genes.gtf"))
    assert plan.values["n_genes"] == 1
    assert plan.values["dense_bytes"] == 2 * plan.values["n_cells"]
    assert dict(plan.rows)["genes"] == "1 of 1 have a peak near their TSS"


def test_what_the_work_refuses_the_plan_refuses(trained: Path) -> None:
    model, atlas = str(trained / "model.zarr"), str(trained / "atlas.zarr")
    options: dict[str, Any] = {"peaks": None, "cells": None, "genes": None, "scale": "linear"}
    options["dtype"] = "float32"
    with pytest.raises(StoreExistsError, match="exists already"):
        denoise_plan(model, atlas, atlas, pool=WorkerPool(), **options)
    for wrong, message in (
        ({"genes": "g.gtf", "dtype": "uint8"}, "stored as float32 or float16"),
        ({"genes": "g.gtf", "dtype": None, "scale": "sigmoid"}, "on the linear scale only"),
        ({"scale": "log"}, "scale must be one of"),
    ):
        with pytest.raises(UserInputError, match=message):
            planned(trained, **wrong)
    with pytest.raises(UserInputError, match="workers cannot reach"):
        denoise_plan(model, atlas, "memory://there", pool=WorkerPool(2), **options)


def test_facts_of_a_report() -> None:
    report = DenoiseReport("r", 3, 4, None, "sigmoid", "uint8", 12, 0.5 / 255, was_finished=False)
    facts = dict(denoise_facts(report))
    assert facts["cells x peaks"] == "3 x 4"
    assert facts["dense table"] == "12 bytes in uint8"
    assert facts["largest error"] == "0.002, by rounding to a byte"
    genes = DenoiseReport("r", 3, 4, 2, "linear", None, 0, None, was_finished=True)
    facts = dict(denoise_facts(genes))
    assert (facts["cells x genes"], facts["dense table"]) == ("3 x 2", "not written")
