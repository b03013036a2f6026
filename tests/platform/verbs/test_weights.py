from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk
from atlasbasset.weights import write_keras
from atlasstore.errors import NotAStoreError, StoreExistsError, UserInputError
from small_model import TINY, random_weights, write_model

N = 20


@pytest.fixture(scope="module")
def published():
    return random_weights(np.random.default_rng(8), N, config=TrunkConfig(), n_batches=3)


@pytest.fixture(scope="module")
def file(tmp_path_factory, published):
    path = tmp_path_factory.mktemp("weights") / "released.h5"
    write_keras(path, published)
    return path


def labels_of(codes, names):
    return [names[code] for code in codes]


@pytest.fixture(scope="module")
def model(tmp_path_factory, file, published):
    out = tmp_path_factory.mktemp("stores") / "model"
    named = [f"barcode{i}" for i in range(N)]
    batches = labels_of(published.batch, ["a", "b", "c"])
    report = atlasbasset.import_weights(file, out=out, obs_names=named, batches=batches)
    assert json.loads(json.dumps(report.as_json())) == {
        "model": str(out),
        "format": "tensorflow",
        "n_cells": N,
        "batches": ["a", "b", "c"],
        "named_by": "given",
        "ordered_by": "natural order",
    }
    return atlasbasset.load_model(out, device="cpu")


def test_import(model, published, file):
    np.testing.assert_array_equal(model.cell_embedding, published.embedding)
    np.testing.assert_array_equal(model.intercept, published.intercept)
    np.testing.assert_array_equal(model.batch_embedding, published.batch_embedding)
    np.testing.assert_array_equal(model.batch, published.batch)
    assert model.batches == ("a", "b", "c")
    assert list(model.obs["batch"]) == labels_of(published.batch, ["a", "b", "c"])
    assert model.obs_names[3] == "barcode3"
    for name, value in model.trunk.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), published.trunk[name])
    made = model.store.provenance["inputs"][0]
    assert (made["url"], len(made["sha256"])) == (str(file), 64)
    summary = atlasstore.inspect_store(model.url, verify=True)
    assert summary.sizes["epochs_done"] == 0
    assert summary.sizes["n_blocks"] == len(model.store.blocks) > 1


def test_cells_take_the_readout_along(model, tmp_path):
    """The released architecture has no readout after the trunk; predictions stay."""
    rng = np.random.default_rng(9)
    width = model.trunk.config.embedding_dim
    weight, offset = (torch.from_numpy(rng.normal(size=s)) for s in ((width, width), width))
    trunk = Trunk(model.trunk.config).eval()
    trunk.load_state_dict(model.trunk.state_dict())
    trunk.bottleneck.append_readout(weight, offset)
    mapped = replace(model, trunk=trunk)
    atlasbasset.export_weights(mapped, tmp_path / "out.h5")
    atlasbasset.import_weights(
        tmp_path / "out.h5", out=tmp_path / "m", batches=model.batch.astype(str).tolist()
    )
    again = atlasbasset.load_model(tmp_path / "m", device="cpu")
    codes = rng.integers(0, 5, (3, model.window_bp))
    for scale in ("linear", "probability"):
        ours, theirs = (m.predict(codes, scale=scale) for m in (mapped, again))
        if scale == "linear":  # which leaves intercepts out, and so the readout's offset
            ours, theirs = (values - values[:1] for values in (ours, theirs))
        np.testing.assert_allclose(theirs, ours, atol=1e-3 * np.abs(ours).max())


def test_names_and_batches_from_text_files(file, published, tmp_path):
    (tmp_path / "names.txt").write_text("".join(f"c{i}\n" for i in range(N)))
    codes = labels_of(published.batch, ["2", "9", "10"])  # sorted as numbers
    (tmp_path / "batches.txt").write_text("\n".join(codes))
    atlasbasset.import_weights(
        str(file),
        out=tmp_path / "m",
        obs_names=tmp_path / "names.txt",
        batches=str(tmp_path / "batches.txt"),
    )
    model = atlasbasset.load_model(tmp_path / "m", device="cpu")
    assert model.batches == ("2", "9", "10")
    assert model.obs_names[-1] == f"c{N - 1}"
    np.testing.assert_array_equal(model.batch, published.batch)


DONORS = ["donor1", "donor2", "donor10"]


def cell_table(folder, labels, form):
    """The cells in another order; donors as text, or as categories in an order of their own."""
    names = [f"c{i}" for i in range(N)]
    obs = pd.DataFrame({"donor": labels}, index=names).iloc[::-1]
    if form == "csv":
        obs.to_csv(folder / "cells.csv")
    else:
        obs["donor"] = pd.Categorical(obs["donor"], DONORS[::-1])
        anndata.AnnData(obs=obs).write_h5ad(folder / f"cells.{form}")
    return folder / f"cells.{form}", names


@pytest.mark.parametrize(
    ("given", "names", "ordered_by"),
    [
        ("list", DONORS, "natural order"),
        ("categories", DONORS[::-1], "categories"),
        ("csv", DONORS, "natural order"),
        ("h5ad", DONORS[::-1], "categories"),
        ("order", ["donor2", "donor10", "donor1"], "given"),
    ],
)
def test_batches_are_numbered_as_the_released_code_does(
    file, published, tmp_path, given, names, ordered_by
):
    labels, options = labels_of(published.batch, names), {}
    if given in ("csv", "h5ad"):
        path, cells = cell_table(tmp_path, labels, given)
        options = {"obs_names": cells, "batch_key": "donor"}
    elif given == "order":
        options = {"batch_order": names}
    batches = {"categories": pd.Categorical(labels, names)}.get(given, labels)
    if given in ("csv", "h5ad"):
        batches = path
    report = atlasbasset.import_weights(file, out=tmp_path / "m", batches=batches, **options)
    assert (list(report.batches), report.ordered_by) == (names, ordered_by)
    model = atlasbasset.load_model(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(model.batch, published.batch)
    assert list(model.obs["batch"]) == labels


def test_wrong_orders_and_tables_of_batches(file, published, tmp_path):
    labels = labels_of(published.batch, DONORS)
    path, cells = cell_table(tmp_path, labels, "csv")
    cases = [
        ({"batches": labels, "batch_order": DONORS[:2]}, "the order names the batches donor1, d"),
        ({"batches": path, "batch_key": "lane", "obs_names": cells}, "no column 'lane'"),
        ({"batches": labels, "batch_key": "donor"}, "batch_key names a column of a table"),
        (
            {"batches": path, "batch_key": "donor", "obs_names": [*cells[:-1], "x"]},
            "lacks 1 of the model's 20 cells",
        ),
    ]
    for options, message in cases:
        with pytest.raises(UserInputError, match=message):
            atlasbasset.import_weights(file, out=tmp_path / "m", **options)
        assert not (tmp_path / "m").exists()


def test_export_and_import_again(model, tmp_path):
    path = atlasbasset.export_weights(model, tmp_path / "sub" / "out.h5")
    assert [p.name for p in path.parent.iterdir()] == ["out.h5"]
    again = tmp_path / "again"
    atlasbasset.import_weights(path, out=again, batches=list(model.obs["batch"]))
    found = atlasbasset.load_model(again, device="cpu")
    sequence = ["ACGT" * 336]
    np.testing.assert_array_equal(
        found.predict(sequence, scale="probability"), model.predict(sequence, scale="probability")
    )
    with pytest.raises(StoreExistsError):
        atlasbasset.export_weights(model.url, path)


def test_only_the_published_architecture_is_exported(tmp_path, rng):
    url = write_model(tmp_path / "tiny", random_weights(rng, 3), config=TINY)
    with pytest.raises(UserInputError, match=r"window_bp = 384, but the released .* at 1344"):
        atlasbasset.export_weights(url, tmp_path / "out.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_wrong_input_leaves_nothing(file, tmp_path):
    batches = ["a", "b", "c", "a"] * 5
    cases = [
        ({"obs_names": ["x"]}, "the model has 20 cells, but 1 names"),
        ({"obs_names": ["x"] * N}, "(1 different)"),
        ({"batches": None}, "its file does not say which cell is of which"),
        ({"batches": batches[:-1]}, "20 cells in 3 batches, but 19 labels of 3 batches"),
        ({"batches": ["a"] * N}, "20 labels of 1 batches"),
        ({"batches": str(tmp_path / "absent.txt")}, "absent.txt does not exist"),
        ({"path": tmp_path / "absent.h5"}, "absent.h5 does not exist"),
        ({"format": "keras"}, "format must be auto, tensorflow or scvi"),
        ({"format": "scvi"}, "neither a torch.save file nor safetensors"),
    ]
    for options, message in cases:
        given = {"path": file, "batches": batches, **options}
        with pytest.raises(UserInputError) as caught:
            atlasbasset.import_weights(given.pop("path"), out=tmp_path / "m", **given)
        assert message in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_weights_that_diverged_are_not_stored(published, tmp_path):
    broken = {"stem.norm.beta": np.full(288, np.nan, np.float32)}
    write_keras(tmp_path / "w.h5", replace(published, trunk=published.trunk | broken))
    with pytest.raises(UserInputError, match=r"stem\.norm\.beta holds values that are not finite"):
        atlasbasset.import_weights(tmp_path / "w.h5", out=tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["w.h5"]


def test_failure_half_way_leaves_nothing(file, tmp_path, monkeypatch):
    def fail(*_args):
        raise OSError("disk full")

    monkeypatch.setattr("atlasbasset.verbs.weights._write_checkpoint", fail)
    with pytest.raises(OSError, match="disk full"):
        atlasbasset.import_weights(file, out=tmp_path / "m", batches=["a", "b", "c", "a"] * 5)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotAStoreError):
        atlasbasset.load_model(tmp_path / "m")


def test_existing_output_is_refused(file, model):
    with pytest.raises(StoreExistsError, match="exists already"):
        atlasbasset.import_weights(file, out=model.url)
