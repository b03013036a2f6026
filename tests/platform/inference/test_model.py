from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import atlasbasset
from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.trunk import Trunk
from atlasbasset.inference.model import load_model
from atlasbasset.inference.sequence_input import checked_sequences
from atlasstore.errors import CorruptStoreError, NotAStoreError, UserInputError
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, L = 40, TINY.window_bp


@pytest.fixture(scope="module")
def weights():
    return random_weights(np.random.default_rng(1), N)


@pytest.fixture(scope="module")
def model(tmp_path_factory, weights):
    folder = tmp_path_factory.mktemp("stores")
    return load_model(write_model(folder / "model", weights), device="cpu")


@pytest.fixture
def codes(rng):
    return rng.integers(0, 5, (7, L), dtype=np.uint8)


def text_of(codes):
    return ["".join("ACGTN"[c] for c in row) for row in codes]


def direct(weights, codes):
    trunk = Trunk(TINY)
    trunk.load_state_dict({k: torch.from_numpy(v) for k, v in weights.trunk.items()})
    with torch.no_grad():
        return trunk.eval()(one_hot_input(torch.from_numpy(codes))).numpy()


def test_is_what_was_stored(model, weights):
    np.testing.assert_array_equal(model.cell_embedding, weights.embedding)
    np.testing.assert_array_equal(model.intercept, weights.intercept)
    assert model.cell_embedding.dtype == model.intercept.dtype == np.float32
    assert list(model.obs_names[:2]) == ["cell0", "cell1"]
    assert list(model.obs.columns) == ["n_peaks"]
    assert (model.batches, model.batch, model.batch_embedding) == ((), None, None)
    assert model.config["train"]["trunk"]["window_bp"] == L
    assert not model.trunk.training
    assert (model.n_cells, model.window_bp) == (N, L)
    assert repr(model) == f"Model('{model.url}': 40 cells)"
    assert atlasbasset.load_model is load_model


def test_embed_takes_every_form_alike(model, weights, codes):
    expected = direct(weights, codes)
    onehot = np.eye(5)[codes][..., :4]
    quarters = onehot + 0.25 * (onehot.sum(2, keepdims=True) == 0)
    lower = [s.lower().replace("n", "x") for s in text_of(codes)]
    forms = [codes, codes.astype(np.int64), onehot.astype(bool), onehot, quarters]
    for given_form in [*forms, text_of(codes), lower, tuple(lower), torch.from_numpy(codes)]:
        found = model.embed(given_form)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    many = 256 // len(codes) + 2  # more than are embedded at once
    found = model.embed(np.tile(codes, (many, 1)))
    np.testing.assert_allclose(found, np.tile(expected, (many, 1)), rtol=1e-5, atol=1e-6)
    assert model.embed(codes[:0]).shape == (0, TINY.embedding_dim)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGT" * (L // 4), "one str was given"),
        (
            ["ACGT" * (L // 4), "ACG"],
            "sequence 1 is 3 bp long, but this model reads windows of 384",
        ),
        (np.zeros((2, L + 6), np.uint8), "row of codes is 390 bp long"),
        (np.full((2, L), 7), "codes run from 7 to 7"),
        (np.full((2, L), -1), "codes run from -1"),
        (np.zeros((2, L - 1, 4), bool), "one-hot sequence is 383 bp long"),
        (np.zeros((2, 4, L), bool), "swap the last two axes"),
        (np.ones((2, L, 4), bool), "sum to 1"),
        (np.full((2, L, 4), np.nan), "sum to 1"),
        (np.zeros((2, L)), "shape (2, 384) and dtype float64"),
        ([1, 2], "shape (2,)"),
        ([["A"] * L], "dtype <U1"),
    ],
)
def test_other_sequences_get_one_sentence(model, sequences, message):
    with pytest.raises(UserInputError) as caught:
        model.embed(sequences)
    assert message in str(caught.value)


@given(st.lists(st.text(alphabet="ACGTacgtNRYé*\n", min_size=8, max_size=8), min_size=1))
def test_text_reads_letter_by_letter(texts):
    expected = [["ACGT".find(letter.upper()) % 5 for letter in text] for text in texts]
    np.testing.assert_array_equal(checked_sequences(texts, window_bp=8), expected)


def test_predict_scales(model, weights, codes):
    h = direct(weights, codes)
    linear = h @ weights.embedding.T
    found = {
        scale: model.predict(codes, scale=scale) for scale in ("linear", "sigmoid", "probability")
    }
    np.testing.assert_allclose(found["linear"], linear, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["sigmoid"], 1 / (1 + np.exp(-linear)), rtol=1e-4)
    logits = linear + weights.intercept
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-logits)), rtol=1e-4)
    assert all(p.dtype == np.float32 and p.shape == (7, N) for p in found.values())
    with pytest.raises(UserInputError, match="scale must be one of linear, sigmoid, probability"):
        model.predict(codes, scale="log")


def test_predict_chosen_cells(model, codes):
    whole = model.predict(codes)
    mask = np.arange(N) % 7 == 3
    for cells, rows in [
        (["cell5", "cell2"], [5, 2]),
        ([5, 2, -1], [5, 2, N - 1]),
        (mask, np.flatnonzero(mask)),
        (np.array(["cell39"]), [39]),
        (model.obs_names[3:5], [3, 4]),
    ]:
        np.testing.assert_allclose(
            model.predict(codes, cells), whole[:, rows], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["cell1", "x", "y"], "2 of 3 cells are unknown (x, y); known ones are called like cell0"),
        (["cell1", "cell1"], "cell1 is listed more than once"),
        ([0, N], f"index {N} is not one of {N} cells"),
        ([True, False], "the mask of cells has 2 values"),
        ("cell1", "chosen by one vector"),
    ],
)
def test_unknown_cells_get_one_sentence(model, codes, cells, message):
    with pytest.raises(UserInputError) as caught:
        model.predict(codes, cells)
    assert message in str(caught.value)


def test_batch_terms_count_in_probabilities_only(tmp_path, rng, codes):
    weights = random_weights(rng, N, n_batches=3)
    model = load_model(write_model(tmp_path / "bc", weights), device="cpu")
    assert model.batches == ("batch0", "batch1", "batch2")
    np.testing.assert_array_equal(model.batch, weights.batch)
    h, of_cell = direct(weights, codes), weights.batch
    own = h @ weights.embedding.T
    shift = h @ weights.batch_embedding.T + weights.batch_intercept
    logits = own + weights.intercept + shift[:, of_cell]
    np.testing.assert_allclose(model.predict(codes), own, rtol=1e-4, atol=1e-5)
    found = model.predict(codes, scale="probability")
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-4)
    rows = np.array([3, 1])
    np.testing.assert_allclose(
        model.predict(codes, rows, scale="probability"), found[:, rows], rtol=1e-5
    )


def test_bf16_is_near_fp32(tmp_path, weights, codes):
    url = write_model(tmp_path / "m", weights)
    exact, near = (load_model(url, compute=c, device="cpu").embed(codes) for c in ("fp32", "bf16"))
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 0.05 * np.abs(exact).max()
    with pytest.raises(UserInputError, match="compute must be auto, bf16 or fp32"):
        load_model(url, compute="fp64")


def test_not_a_model(tmp_path, rng, codes):
    with pytest.raises(NotAStoreError, match="does not exist"):
        load_model(tmp_path / "absent")
    atlas = make_atlas(tmp_path / "atlas", random_labels(rng, 5, 7), codes, flank_bp=0)
    with pytest.raises(NotAStoreError, match="is an atlas, but a model is needed"):
        load_model(atlas)


def test_damaged_weights(tmp_path, weights):
    url = write_model(tmp_path / "m", weights)
    path = next((tmp_path / "m/checkpoints").glob("*/trunk.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptStoreError, match="checksum"):
        load_model(url)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"stem_filters": 8', '"stem_filters": null', "its trunk does not fit its config"),
        ('"window_bp": 384', '"window_bp": "x"', "its config is of no model"),
        ('"trunk": {', '"trunks": {', "its config is of no model|its trunk does not fit"),
        ('"stem_filters": 8', '"stem_filters": 9', "its trunk does not fit its config"),
    ],
)
def test_a_config_that_is_of_no_model(tmp_path, weights, old, new, message):
    """Without its digest, as stores were written once."""
    url = write_model(tmp_path / "m", weights)
    root = json.loads((tmp_path / "m/zarr.json").read_text())
    del root["attributes"]["metadata_sha256"]
    content = json.dumps(root)
    assert old in content
    (tmp_path / "m/zarr.json").write_text(content.replace(old, new))
    with pytest.raises(CorruptStoreError, match=message):
        load_model(url)
