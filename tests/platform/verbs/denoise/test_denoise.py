from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
import atlasstore
from atlasbasset.batch.model_source import ModelSource, model_identity
from atlasbasset.verbs.denoise import work
from atlasbasset.verbs.shared import embed_peaks_work as embedding
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import AtlasError, PeaksError, StoreExistsError, UserInputError
from atlasstore.events import Notice, Progress
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

N, P, L = 50, 40, TINY.window_bp


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(5).integers(0, 5, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, codes):
    labels = random_labels(np.random.default_rng(6), 9, P)  # other cells than the model's
    return Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))


@pytest.fixture(scope="module", params=[0, 3], ids=["plain", "batches"])
def model(tmp_path_factory, request):
    weights = random_weights(np.random.default_rng(7), N, n_batches=request.param)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


def several_shards(monkeypatch, *, itemsize=4):
    small_tables(monkeypatch.setattr, chunk_bytes=4 * P * itemsize, shard_bytes=16 * P * itemsize)


def predicted(model, codes, scale):
    """(cells, peaks), by the cells' own path: batch terms are never added."""
    own = replace(model, batch=None, batch_embedding=None, batch_intercept=None)
    return own.predict(codes[:, 3:-3], scale=scale).T


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [("linear", "float32"), ("sigmoid", "float16"), ("probability", "float32")],
)
def test_whole_table(model, atlas, codes, tmp_path, monkeypatch, scale, dtype):
    several_shards(monkeypatch)
    out = tmp_path / "result"
    options = {"scale": scale, "dtype": dtype, "compute": "fp32"}
    report = atlasbasset.denoise(model.url, atlas.url, out=out, **options)
    found = anndata.read_zarr(out)
    expected = predicted(model, codes, scale)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 2e-3, "atol": 1e-3}
    np.testing.assert_allclose(found.X, expected, **tolerance)
    assert found.X.dtype == dtype
    assert list(found.obs_names) == list(model.obs_names)
    assert list(found.var_names) == list(atlas.var.index)
    assert {"chrom", "start", "end"} <= set(found.var)
    assert found.uns["scbasset"]["scale"] == scale
    assert report.as_json() == {
        "result": str(out),
        "n_cells": N,
        "n_peaks": P,
        "n_genes": None,
        "scale": scale,
        "dtype": dtype,
        "dense_bytes": N * P * np.dtype(dtype).itemsize,
        "largest_error": None,
        "peak_deviations": False,
        "was_finished": False,
    }


def test_factored_form_is_always_there(model, atlas, tmp_path):
    whole, factored = tmp_path / "whole", tmp_path / "factored"
    atlasbasset.denoise(model, atlas, out=whole)
    report = atlasbasset.denoise(model, atlas, out=factored, dense=False)
    assert report.dense_bytes == 0
    work, found = anndata.read_zarr(whole), anndata.read_zarr(factored)
    assert found.X is None
    for table in (work, found):
        product = table.obsm["X_scbasset"] @ table.varm["scbasset_sequence"].T
        np.testing.assert_allclose(product, work.X, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(table.obs["scbasset_intercept"], model.intercept)
    provenance = json.loads(found.uns["scbasset"]["provenance"])
    assert provenance["config"]["atlas"] == atlas.url
    assert provenance["model"]["packages"]["atlasbasset"]
    assert provenance["model"]["measures"] == {}, "imported: nothing is known of its training"


def test_probabilities_of_the_factored_form(model, atlas, tmp_path):
    atlasbasset.denoise(model, atlas, out=tmp_path / "r", scale="probability")
    found = anndata.read_zarr(tmp_path / "r")
    logits = found.obsm["X_scbasset"] @ found.varm["scbasset_sequence"].T
    logits += found.obs["scbasset_intercept"].to_numpy()[:, None]
    np.testing.assert_allclose(found.X, 1 / (1 + np.exp(-logits)), rtol=1e-4)
    assert set(found.uns["scbasset"]) == {"kind", "scale", "provenance", "shards"}
    lazy = atlasstore.open(tmp_path / "r").to_anndata()
    np.testing.assert_allclose(atlasstore.predicted(lazy[3:9]), found.X[3:9], rtol=1e-4)
    atlasbasset.denoise(model, atlas, out=tmp_path / "f", scale="probability", dense=False)
    factored = atlasstore.open(tmp_path / "f").to_anndata(lazy=False)
    np.testing.assert_allclose(factored.X, found.X, rtol=1e-4)


def test_chosen_peaks_and_cells(model, atlas, tmp_path):
    atlasbasset.denoise(model, atlas, out=tmp_path / "whole")
    whole = anndata.read_zarr(tmp_path / "whole")
    cells = ["cell7", "cell3", "cell49"]
    (tmp_path / "cells.txt").write_text("\n".join(cells) + "\n\n")
    first, last = atlas.var.iloc[2], atlas.var.iloc[-1]
    bed = (
        f"{last.chrom}\t{last.end - 1}\t{last.end + 9}\n{first.chrom}\t{first.start}\t{first.end}\n"
    )
    (tmp_path / "some.bed").write_text(bed)
    for name, peaks, chosen, rows in [
        ("a", tmp_path / "some.bed", tmp_path / "cells.txt", [2, P - 1]),
        ("b", [atlas.var.index[9], atlas.var.index[4]], cells, [9, 4]),
    ]:
        atlasbasset.denoise(model, atlas, out=tmp_path / name, peaks=peaks, cells=chosen)
        found = anndata.read_zarr(tmp_path / name)
        assert list(found.obs_names) == cells
        assert list(found.var_names) == list(atlas.var.index[rows])
        np.testing.assert_allclose(found.X, whole[cells].X[:, rows], rtol=1e-4, atol=1e-5)


def test_wrong_input_leaves_nothing(model, atlas, tmp_path):
    (tmp_path / "off.bed").write_text("chrI\t0\t1\nchrX\t5\t9\n")
    (tmp_path / "empty.txt").write_text("\n")
    cases = [
        (
            {"peaks": tmp_path / "off.bed"},
            PeaksError,
            "2 of 2 intervals in .* overlap no peak of the",
        ),
        ({"peaks": ["chr9:1-2"]}, UserInputError, "1 of 1 peaks are unknown"),
        ({"peaks": []}, UserInputError, "the list of peaks is empty"),
        ({"cells": ["cell1", "b", "c"]}, UserInputError, r"2 of 3 cells are unknown \(b, c\)"),
        ({"cells": tmp_path / "empty.txt"}, UserInputError, "the list of cells is empty"),
        ({"cells": tmp_path / "absent.txt"}, UserInputError, "does not exist"),
        ({"scale": "log"}, UserInputError, "scale must be one of"),
        ({"dtype": "int8"}, UserInputError, "dtype must be one of float32, float16, uint8"),
        ({"out": atlas.url}, StoreExistsError, "exists already"),
    ]
    before = sorted(tmp_path.iterdir())
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            atlasbasset.denoise(model, atlas, **{"out": tmp_path / "r", **options})
        assert sorted(tmp_path.iterdir()) == before


def test_values_beyond_float16_are_refused(atlas, tmp_path, rng):
    weights = random_weights(rng, 3)
    weights.embedding[:] *= 1e6
    url = write_model(tmp_path / "m", weights)
    with pytest.raises(UserInputError, match="does not fit float16; use float32"):
        atlasbasset.denoise(url, atlas, out=tmp_path / "r", dtype="float16")
    assert not (tmp_path / "r").exists()  # the peaks' embeddings are kept beside it


def test_events_and_store(model, atlas, tmp_path):
    events = []
    atlasbasset.denoise(model, atlas, out=tmp_path / "r", on_event=events.append)
    assert events[:2] == [Progress("embedding sequences", n, P, "peaks") for n in (0, P)]
    assert events[-1] == Progress("writing predictions", N, N, "cells", 4 * N * P)
    result = atlasstore.open(tmp_path / "r")
    np.testing.assert_allclose(result.linear(3, 9), result.dense[3:9], rtol=1e-4, atol=1e-5)
    assert atlasstore.inspect_store(tmp_path / "r", verify=True).sizes["n_peaks"] == P


@pytest.mark.parametrize("scale", ["linear", "sigmoid", "probability"])
def test_bytes_hold_values_within_the_error_that_is_told(
    model, atlas, tmp_path, monkeypatch, scale
):
    several_shards(monkeypatch)
    options = {
        "scale": scale,
        "cells": ["cell7", "cell3", "cell49", *map("cell{}".format, range(3))],
    }
    atlasbasset.denoise(model, atlas, out=tmp_path / "wide", **options)
    report = atlasbasset.denoise(model, atlas, out=tmp_path / "r", dtype="uint8", **options)
    wide, found = anndata.read_zarr(tmp_path / "wide"), anndata.read_zarr(tmp_path / "r")
    assert found.X.dtype == np.uint8
    about = found.uns["scbasset"]
    assert report.largest_error == pytest.approx(float(about["largest_error"]))
    if scale == "linear":
        assert about["value"] == "X * var.scbasset_scale + var.scbasset_offset"
        columns = ("scbasset_scale", "scbasset_offset")
        steps, offset = (found.var[name].to_numpy(np.float64) for name in columns)
        bound = steps / 2 * 1.001
        assert (found.X.min(0), found.X.max(0)) == (pytest.approx(0), pytest.approx(255))
    else:
        assert about["value"] == "X / 255"
        steps, offset, bound = 1 / 255, 0.0, np.full(P, 0.5 / 255 * 1.001)
    error = np.abs(found.X * steps + offset - wide.X)
    assert (error <= bound).all()
    assert bound.max() == pytest.approx(report.largest_error, rel=2e-3)
    assert error.max() > bound.max() / 2  # the error told is no exaggeration


def test_bytes_of_one_cell_hold_its_values(model, atlas, tmp_path):
    """A span of nothing has no steps."""
    options = {"cells": ["cell4"], "dtype": "uint8"}
    report = atlasbasset.denoise(model, atlas, out=tmp_path / "r", **options)
    found = anndata.read_zarr(tmp_path / "r")
    assert report.largest_error == 0
    np.testing.assert_array_equal(found.X, 0)
    expected = found.obsm["X_scbasset"] @ found.varm["scbasset_sequence"].T
    np.testing.assert_allclose(found.var["scbasset_offset"], expected[0], rtol=1e-4, atol=1e-5)


def test_genes_for_columns(model, atlas, tmp_path):
    peak = atlas.var.iloc[3]
    line = f'{peak.chrom}\tx\tgene\t{peak.start + 1}\t{peak.end}\t.\t+\t.\tgene_id "G";\n'
    (tmp_path / "genes.gtf").write_text(line)
    options = {"genes": tmp_path / "genes.gtf", "cells": ["cell4", "cell1"]}
    report = atlasbasset.denoise(model, atlas, out=tmp_path / "r", **options)
    assert (report.n_cells, report.n_genes) == (2, 1)
    found = atlasstore.open(tmp_path / "r")
    assert (found.kind, list(found.var.index)) == ("gene_accessibility", ["G"])
    near = atlas.var.index[np.flatnonzero(peak_distance(atlas.var, peak) <= 2000)]
    atlasbasset.denoise(
        model, atlas, out=tmp_path / "p", peaks=list(near), cells=["cell4", "cell1"]
    )
    peaks_alone = anndata.read_zarr(tmp_path / "p").X
    np.testing.assert_allclose(found.rows("X")[:, 0], peaks_alone.mean(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserInputError, match="stored as float32 or float16, got 'uint8'"):
        atlasbasset.denoise(model, atlas, out=tmp_path / "u", dtype="uint8", **options)


def peak_distance(var, peak):
    """From each peak to the first base of another one, bp; far on other chromosomes."""
    before = np.maximum(peak.start - (var["end"] - 1), 0)
    after = np.maximum(var["start"] - peak.start, 0)
    return (before + after).where(var["chrom"] == peak.chrom, 10**9).to_numpy()


class Killed(BaseException):
    pass


def killed_in(stage, *, done):
    def on_event(event):
        if isinstance(event, Progress) and event.stage == stage and event.done >= done:
            raise Killed

    return on_event


STAGES = ["embedding sequences", "finding what peaks span", "writing predictions"]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage_it_goes_on_with_what_is_missing(
    model, atlas, tmp_path, monkeypatch, stage
):
    several_shards(monkeypatch, itemsize=1)
    monkeypatch.setattr(embedding, "UNIT_PEAKS", 16)
    monkeypatch.setattr(work, "_THREADS", 1)
    options = {"dtype": "uint8"}
    atlasbasset.denoise(model, atlas, out=tmp_path / "whole", **options)
    out, events = tmp_path / "r", []
    with pytest.raises(Killed):
        atlasbasset.denoise(model, atlas, out=out, on_event=killed_in(stage, done=17), **options)
    atlasbasset.denoise(model, atlas, out=out, on_event=events.append, **options)
    told = {name: [e.done for e in events if e.stage == name] for name in STAGES}
    for name in STAGES[: STAGES.index(stage)]:
        assert told[name] == []  # all units have receipts
    assert told[stage][0] == 32
    assert told["writing predictions"][-1] == N
    found, whole = anndata.read_zarr(out), anndata.read_zarr(tmp_path / "whole")
    np.testing.assert_array_equal(found.X, whole.X)
    pd.testing.assert_frame_equal(found.var, whole.var)


def test_the_same_again_does_nothing_and_another_is_refused(model, atlas, tmp_path):
    (tmp_path / "cells.txt").write_text("cell3\ncell1\n")
    options = {"out": tmp_path / "r", "cells": tmp_path / "cells.txt"}
    first, events = atlasbasset.denoise(model, atlas, **options), []
    (tmp_path / "cells.txt").rename(tmp_path / "renamed.txt")  # the cells count, not the file
    options["cells"] = tmp_path / "renamed.txt"
    again = atlasbasset.denoise(
        model.url, atlas.url, compute="fp32", on_event=events.append, **options
    )
    assert again == replace(first, was_finished=True)
    assert [type(event) for event in events] == [Notice]
    for other in ({"scale": "sigmoid"}, {"cells": ["cell1", "cell3"]}, {"dense": False}):
        with pytest.raises(StoreExistsError, match="made by another job"):
            atlasbasset.denoise(model, atlas, **{**options, **other})


def test_another_model_is_another_job(model, atlas, tmp_path):
    atlasbasset.denoise(model, atlas, out=tmp_path / "r")
    other = replace(model, intercept=model.intercept + 1)
    with pytest.raises(StoreExistsError, match=r"made by another job \(another model\)"):
        atlasbasset.denoise(other, atlas, out=tmp_path / "r")


def test_a_model_of_another_window_is_refused(model, atlas, tmp_path, rng):
    config = replace(TINY, window_bp=576)
    url = write_model(tmp_path / "m", random_weights(rng, 3, config=config), config=config)
    with pytest.raises(UserInputError, match=r"windows of 384 bp, but .* reads 576 bp"):
        atlasbasset.denoise(url, atlas, out=tmp_path / "r")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_workers_notice_a_model_that_has_moved_on(model, tmp_path, rng):
    url = write_model(tmp_path / "m", random_weights(rng, 3))
    begun = ModelSource(url, model_identity(model), "cpu")
    with pytest.raises(AtlasError, match="has changed since the job began"):
        _ = begun.embedder
    same = ModelSource(url, model_identity(atlasbasset.load_model(url, device="cpu")), "cpu")
    assert same.embedder.trunk.config == TINY
