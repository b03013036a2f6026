"""The released TensorFlow model and scvi-tools' port: their weights give their outputs, through us.

Expected values were computed by those programs in float32. Tolerances: embeddings 1e-5 of the
largest (float32 sums in another order through nine layers), probabilities 1e-4.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import atlasbasset
from atlasbasset.weights import read_keras, write_keras
from atlasstore.errors import UserInputError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def parity(real_data):
    return real_data / "parity"


@pytest.fixture(scope="module")
def expected(parity):
    return dict(np.load(parity / "expected.npz"))


@pytest.fixture(scope="module")
def plain(parity, tmp_path_factory):
    return imported(tmp_path_factory, parity / "tensorflow.h5")


@pytest.fixture(scope="module")
def corrected(parity, expected, tmp_path_factory):
    batches = expected["batch"].astype(str).tolist()
    return imported(tmp_path_factory, parity / "tensorflow_bc.h5", batches=batches)


@pytest.fixture(scope="module")
def port(parity, tmp_path_factory):
    return imported(tmp_path_factory, parity / "scvi_model")


def imported(tmp_path_factory, path, **options):
    out = tmp_path_factory.mktemp("imported") / "model"
    report = atlasbasset.import_weights(path, out=out, **options)
    assert report.n_cells == 50
    return atlasbasset.load_model(out, device="cpu")


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def test_tensorflow(plain, expected):
    x = expected["x"] / 4
    assert relative(plain.embed(x), expected["h"]) < 1e-5
    found = plain.predict(x, scale="probability")
    np.testing.assert_allclose(found, expected["probability"], atol=1e-4, rtol=0)
    np.testing.assert_array_equal(plain.cell_embedding, expected["embedding"])
    np.testing.assert_array_equal(plain.intercept, expected["intercept"])
    cells = atlasbasset.embed(plain)
    np.testing.assert_array_equal(cells.obsm["X_scbasset"], expected["embedding"])
    assert list(cells.obs_names[:2]) == ["cell_0", "cell_1"]


def test_tensorflow_batch_corrected(corrected, expected):
    x = expected["x"] / 4
    h = corrected.embed(x)
    assert relative(h, expected["h_bc"]) < 1e-5
    found = corrected.predict(x, scale="probability")
    np.testing.assert_allclose(found, expected["probability_bc"], atol=1e-4, rtol=0)
    np.testing.assert_array_equal(corrected.batch, expected["batch"])
    assert corrected.batches == ("0", "1", "2")
    own = corrected.predict(x)  # the cell path alone
    np.testing.assert_allclose(own, h @ corrected.cell_embedding.T, rtol=1e-4, atol=1e-5)


def test_scvi_tools(port, parity):
    wanted = np.load(parity / "expected_scvi.npz")
    h = port.embed(wanted["dna_code"])
    assert relative(h, wanted["h"]) < 1e-5
    embedding, intercept = port.table()
    assert relative(h @ embedding.T + intercept, wanted["logits"]) < 1e-5
    found = port.predict(wanted["dna_code"], scale="probability")
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-wanted["logits"])), atol=1e-4, rtol=0)
    assert list(port.obs_names[:2]) == ["cell0", "cell1"]  # from the file
    assert port.batches == ("0", "1", "2")
    np.testing.assert_array_equal(port.batch_intercept, 0)


def test_batches_must_be_told(parity, tmp_path):
    with pytest.raises(UserInputError, match="corrects for 3 batches, but its file does not say"):
        atlasbasset.import_weights(parity / "tensorflow_bc.h5", out=tmp_path / "m")
    with pytest.raises(UserInputError, match="has no batch layer"):
        atlasbasset.import_weights(parity / "tensorflow.h5", out=tmp_path / "m", batches=["a"] * 50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow_bc"])
def test_export_is_the_file_that_came(name, plain, corrected, parity, tmp_path):
    model = plain if name == "tensorflow" else corrected
    written = atlasbasset.export_weights(model, tmp_path / "out.h5")
    with h5py.File(parity / f"{name}.h5") as theirs, h5py.File(written) as ours:
        assert weighted_layers(ours) == weighted_layers(theirs)
        for attribute in ("backend", "keras_version"):
            assert attribute in theirs.attrs
            assert attribute in ours.attrs
        for (_, found), (_, wanted) in zip(tensors(ours), tensors(theirs), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype


def weighted_layers(file):
    """Kind of each layer that has weights, in the order listed, and its weights' names.

    Keras loads by this order; the numbers at the end of layers' names only count instances.
    """
    layers = []
    for layer in text(file.attrs["layer_names"]):
        weights = text(file[layer].attrs["weight_names"])
        if weights:
            assert all(name.startswith(f"{layer}/") for name in weights)
            kind = layer.rstrip("0123456789").rstrip("_")
            layers.append((kind, [name.removeprefix(layer) for name in weights]))
    return layers


def tensors(file):
    return [
        (name, file[layer][name][:])
        for layer in text(file.attrs["layer_names"])
        for name in text(file[layer].attrs["weight_names"])
    ]


def text(names):
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def test_rewritten_file_reads_the_same(parity, tmp_path):
    first = read_keras(parity / "tensorflow_bc.h5")
    write_keras(tmp_path / "again.h5", first)
    again = read_keras(tmp_path / "again.h5")
    assert set(again.trunk) == set(first.trunk)
    for name, values in first.trunk.items():
        np.testing.assert_array_equal(again.trunk[name], values)
    for part in ("embedding", "intercept", "batch_embedding", "batch_intercept"):
        np.testing.assert_array_equal(getattr(again, part), getattr(first, part))


def test_the_port_cannot_become_the_released_model(port, tmp_path):
    with pytest.raises(UserInputError, match="imported from scvi-tools, whose first pooling"):
        atlasbasset.export_weights(port, tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []
