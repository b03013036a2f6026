"""What `denoise` says it would do, and did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlasbasset import plan_denoise
from atlasbasset.verbs.denoise.report import DenoiseReport
from atlasjobs.reports.denoise import denoise_facts
from atlasstore import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import ignore
from command import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.verbs.denoise.plan import DenoisePlan


def planned(trained: Path, **options: Any) -> DenoisePlan:
    model, atlas, out = (str(trained / name) for name in ("model.zarr", "atlas.zarr", "new.zarr"))
    return plan_denoise(model, atlas, **({"out": out, "dtype": "float16"} | options))


def test_the_table_and_its_factors_are_priced(trained: Path) -> None:
    atlas, before = Atlas.open(trained / "atlas.zarr"), snapshot(trained)
    plan = planned(trained)
    n_cells, n_peaks = plan.as_json()["n_cells"], plan.as_json()["n_peaks"]
    assert n_peaks == atlas.n_peaks
    assert plan.as_json()["dense_bytes"] == 2 * n_cells * n_peaks
    assert plan.as_json()["factored_bytes"] == 4 * (33 * n_cells + 32 * n_peaks)
    assert plan.as_json()["n_shards"] == 1
    assert plan.as_json()["memory_bytes"] > plan.as_json()["factored_bytes"]
    assert dict(plan.lines())["workers"] == "this process"
    assert "dense table" in dict(plan.lines())
    assert snapshot(trained) == before


def test_without_a_table_there_is_none_to_price(trained: Path) -> None:
    plan = planned(trained, dense=False, workers=2, gpus_per_worker=0.5)
    assert "dense_bytes" not in plan.as_json()
    assert "dense table" not in dict(plan.lines())
    assert dict(plan.lines())["workers"] == "2 Ray actors of 1 CPUs and 0.5 GPUs"
    assert dict(plan.lines())["memory"].endswith("per worker")


def test_memory_is_that_of_the_largest_stage(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(trained)
    model = 4 * 33 * plan.as_json()["n_cells"]
    n_peaks = plan.as_json()["n_peaks"]
    each = 4 * 448 * 5 * 288  # the widest layer's unfolded input
    assert plan.as_json()["memory_bytes"] == model + min(256, n_peaks) * each
    monkeypatch.setattr("atlasbasset.core.inference.EMBED_BATCH", 0)  # the other stages alone
    n_cells = plan.as_json()["n_cells"]
    for dtype, n_bytes in (("float32", 22), ("uint8", 7)):
        values = planned(trained, dtype=dtype, scale="sigmoid").as_json()
        writing = 2 * 4 * 32 * n_peaks + n_bytes * n_cells * n_peaks
        assert values["memory_bytes"] == model + writing
    spanning = 4 * (32 * (n_cells + n_peaks) + 2 * n_cells * n_peaks)
    spanned = planned(trained, dtype="uint8").memory_bytes
    assert spanned == model + max(spanning, writing)
    factors = 4 * 32 * (n_cells + n_peaks)
    assert planned(trained, dense=False).memory_bytes == model + factors


def test_genes_take_the_place_of_peaks(trained: Path, tmp_path: Path) -> None:
    peak = Atlas.open(trained / "atlas.zarr").var.iloc[0]
    line = f'{peak.chrom}\tx\tgene\t{peak.start + 1}\t{peak.end}\t.\t+\t.\tgene_id "G";\n'
    (tmp_path / "genes.gtf").write_text(line)
    plan = planned(trained, genes=str(tmp_path / "genes.gtf"))
    assert plan.as_json()["n_genes"] == 1
    assert plan.as_json()["dense_bytes"] == 2 * plan.as_json()["n_cells"]
    assert dict(plan.lines())["genes"] == "1 of 1 have a peak near their TSS"


def test_what_the_work_refuses_the_plan_refuses(trained: Path) -> None:
    for wrong, error, message in (
        ({"out": str(trained / "atlas.zarr")}, StoreExistsError, "exists already"),
        ({"genes": "g.gtf", "dtype": "uint8"}, UserInputError, "stored as float32 or float16"),
        (
            {"genes": "g.gtf", "dense": False, "scale": "sigmoid"},
            UserInputError,
            "on the linear scale only",
        ),
        ({"scale": "log"}, UserInputError, "scale must be one of"),
        ({"compute": "fp8"}, UserInputError, "compute must be auto, bf16 or fp32"),
        ({"out": "memory://there", "workers": 2}, UserInputError, "workers cannot reach"),
    ):
        with pytest.raises(error, match=message):
            planned(trained, **wrong)


def test_a_plan_runs_and_then_says_that_it_is_finished(trained: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "denoised.zarr")
    report = planned(trained, out=out).run(on_event=ignore)
    assert (report.result, report.was_finished) == (out, False)
    again = planned(trained, out=out)
    assert dict(again.lines())["result"] == "finished by the same job: nothing to do"
    assert again.run(on_event=ignore).was_finished
    with pytest.raises(StoreExistsError, match="made by another job"):
        planned(trained, out=out, scale="sigmoid")


def test_facts_of_a_report() -> None:
    report = DenoiseReport("r", 3, 4, None, "sigmoid", "uint8", 12, 0.5 / 255, was_finished=False)
    facts = dict(denoise_facts(report))
    assert facts["cells x peaks"] == "3 x 4"
    assert facts["dense table"] == "12 bytes in uint8"
    assert facts["largest error"] == "0.002, by rounding to a byte"
    genes = DenoiseReport("r", 3, 4, 2, "linear", None, 0, None, was_finished=True)
    facts = dict(denoise_facts(genes))
    assert (facts["cells x genes"], facts["dense table"]) == ("3 x 2", "not written")
