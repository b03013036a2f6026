from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

import reference_trunk
from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.trunk import Trunk
from atlasbasset.weights import read_scvi
from atlasstore.errors import UserInputError
from small_model import TINY, random_weights

PARTS = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean"}
PARTS["running_var"] = "running_var"
CHANNELS, LENGTH = TINY.prebottleneck_filters, TINY.final_length


def port_state(weights):
    """The state dict that the port would save of `weights` (names read off a saved model)."""
    state = {
        "cell_embedding": torch.from_numpy(weights.embedding.T.copy()),
        "cell_bias": torch.from_numpy(weights.intercept),
    }
    if weights.batch is not None:
        state["batch_ids"] = torch.from_numpy(weights.batch)[:, None]
        state["batch_emdedding.weight"] = torch.from_numpy(weights.batch_embedding)
    for name, values in weights.trunk.items():
        stage, _, part = name.replace("prebottleneck", "pre_bottleneck").rpartition(".")
        if part == "weight":
            key = f"{stage}.dense.weight" if stage == "bottleneck" else f"{stage}.conv.weight"
        else:
            key = f"{stage.removesuffix('.norm')}.batch_norm.{PARTS[part]}"
        state[key] = torch.from_numpy(channel_major(values) if "dense" in key else values)
    state["stem.batch_norm.num_batches_tracked"] = torch.tensor(3)
    return state


def channel_major(weight):
    outputs = len(weight)
    by_position = weight.reshape(outputs, LENGTH, CHANNELS)
    return by_position.transpose(0, 2, 1).reshape(outputs, -1).copy()


@pytest.fixture
def weights(rng):
    return random_weights(rng, 6, n_batches=2)


def saved(folder, state):
    """Save a state dict as safetensors, which need no process of their own to be read."""
    safetensors.torch.save_file(state, folder / "m.safetensors")
    return folder / "m.safetensors"


def whole_model(state):
    """What a saved model holds beside the state dict."""
    names = np.array([f"barcode{i}" for i in range(6)], dtype=object)
    batches = {"categorical_mapping": np.array(["left", "right"], dtype=object)}
    registry = {"field_registries": {"batch": {"state_registry": batches}}}
    attributes = {"registry_": registry, "is_trained_": True, "history_": None}
    return {"model_state_dict": state, "var_names": names, "attr_dict": attributes}


@pytest.mark.parametrize("form", ["folder", "state", "safetensors"])
def test_every_form(weights, tmp_path, form):
    state = port_state(weights)
    path = saved(tmp_path, state)
    if form != "safetensors":
        path = tmp_path / "model.pt"
        torch.save(whole_model(state) if form == "folder" else state, path)
    found = read_scvi(tmp_path if form == "folder" else path)
    assert set(found.trunk) == set(weights.trunk)
    for name, values in weights.trunk.items():
        np.testing.assert_array_equal(found.trunk[name], values)
    for part in ("embedding", "intercept", "batch_embedding", "batch"):
        np.testing.assert_array_equal(getattr(found, part), getattr(weights, part))
    np.testing.assert_array_equal(found.batch_intercept, [0, 0])
    assert found.stem_pool_lead == 1
    named = form == "folder"
    assert found.obs_names == (tuple(f"barcode{i}" for i in range(6)) if named else None)
    assert found.batches == (("left", "right") if named else None)


def test_without_batches(rng, tmp_path):
    found = read_scvi(saved(tmp_path, port_state(random_weights(rng, 4))))
    assert (found.batch, found.batch_embedding, found.batch_intercept) == (None, None, None)


def test_computes_what_the_port_computes(weights, tmp_path, rng):
    found = read_scvi(saved(tmp_path, port_state(weights)))
    trunk = Trunk(replace(TINY, stem_pool_lead=found.stem_pool_lead)).eval()
    trunk.load_state_dict({n: torch.from_numpy(v) for n, v in found.trunk.items()})
    x = one_hot_input(torch.from_numpy(rng.integers(0, 5, (4, TINY.window_bp))), torch.float64)
    exact = {n: torch.from_numpy(v).double() for n, v in weights.trunk.items()}
    expected = reference_trunk.forward(exact, x.transpose(1, 2), training=False, stem_pool_lead=1).h
    with torch.no_grad():
        h = trunk(x.float())
    np.testing.assert_allclose(h, expected, atol=1e-5 * expected.abs().max())
    # the window is not in a file of weights: it is the published one
    assert replace(found.trunk_config(), window_bp=TINY.window_bp) == trunk.config


def test_a_missing_tensor_is_named(tmp_path, weights):
    state = port_state(weights)
    del state["tower.3.conv.weight"]
    with pytest.raises(UserInputError, match=r"lacks 1 of the 47 .*tower\.3\.conv\.weight"):
        read_scvi(saved(tmp_path, state))


def test_tensors_of_other_shapes_are_named(tmp_path, weights):
    state = port_state(weights)
    for name, values, message in (
        ("cell_bias", torch.ones(2, 2), r"cell_bias is of shape \(2, 2\)"),
        ("stem.conv.weight", torch.ones(()), r"stem\.conv\.weight is of shape \(\)"),
        ("bottleneck.dense.weight", torch.ones(5, 13), "13 columns, which is no multiple of the 6"),
    ):
        with pytest.raises(UserInputError, match=message):
            read_scvi(saved(tmp_path, state | {name: values}))


def test_other_files_get_one_sentence(tmp_path):
    (tmp_path / "text.pt").write_bytes(b"not weights at all")
    for name in ("text.pt", "absent.pt"):
        with pytest.raises(UserInputError, match=r"neither a torch\.save file nor safetensors"):
            read_scvi(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as zipped:
        zipped.writestr("readme", "x")
    with pytest.raises(UserInputError, match=r"cannot be read as a torch\.save file"):
        read_scvi(tmp_path / "other.zip")
