from __future__ import annotations

import io
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

import reference_trunk
from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.trunk import Trunk
from atlasbasset.verbs.weights import _trunk_config
from atlasbasset.weights import read_scvi
from atlasbasset.weights.torch_archive import read_archive
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


def saved(path, value):
    torch.save(value, path)
    return path


def whole_model(state):
    """What a saved model holds beside the state dict."""
    names = np.array([f"barcode{i}" for i in range(6)], dtype=object)
    batches = {"categorical_mapping": np.array(["left", "right"], dtype=object)}
    registry = {"field_registries": {"batch": {"state_registry": batches}}}
    attributes = {"registry_": registry, "is_trained_": True, "history_": None}
    return {"model_state_dict": state, "var_names": names, "attr_dict": attributes}


@pytest.mark.parametrize("form", ["model", "folder", "state", "safetensors"])
def test_every_form(weights, tmp_path, form):
    state = port_state(weights)
    if form == "safetensors":
        path = tmp_path / "state.safetensors"
        safetensors.torch.save_file(state, path)
    else:
        path = saved(tmp_path / "model.pt", state if form == "state" else whole_model(state))
    found = read_scvi(tmp_path if form == "folder" else path)
    assert set(found.trunk) == set(weights.trunk)
    for name, values in weights.trunk.items():
        np.testing.assert_array_equal(found.trunk[name], values)
    for part in ("embedding", "intercept", "batch_embedding", "batch"):
        np.testing.assert_array_equal(getattr(found, part), getattr(weights, part))
    np.testing.assert_array_equal(found.batch_intercept, [0, 0])
    assert found.stem_pool_lead == 1
    named = form in ("model", "folder")
    assert found.obs_names == (tuple(f"barcode{i}" for i in range(6)) if named else None)
    assert found.batches == (("left", "right") if named else None)


def test_without_batches(rng, tmp_path):
    found = read_scvi(saved(tmp_path / "m.pt", port_state(random_weights(rng, 4))))
    assert (found.batch, found.batch_embedding, found.batch_intercept) == (None, None, None)


def test_computes_what_the_port_computes(weights, tmp_path, rng):
    found = read_scvi(saved(tmp_path / "m.pt", port_state(weights)))
    trunk = Trunk(replace(TINY, stem_pool_lead=found.stem_pool_lead)).eval()
    trunk.load_state_dict({n: torch.from_numpy(v) for n, v in found.trunk.items()})
    x = one_hot_input(torch.from_numpy(rng.integers(0, 5, (4, TINY.window_bp))), torch.float64)
    exact = {n: torch.from_numpy(v).double() for n, v in weights.trunk.items()}
    expected = reference_trunk.forward(exact, x.transpose(1, 2), training=False, stem_pool_lead=1).h
    with torch.no_grad():
        h = trunk(x.float())
    np.testing.assert_allclose(h, expected, atol=1e-5 * expected.abs().max())
    # the window is not in a file of weights: it is the published one
    assert replace(_trunk_config(found), window_bp=TINY.window_bp) == trunk.config


def test_tensors_of_every_kind(tmp_path):
    shared = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "part": shared[1:3, ::2],
        "turned": shared.T,
        "doubled": torch.arange(3, dtype=torch.float64),
        "whole": torch.tensor([1, -2]),
        "flag": torch.tensor(True),
        "half": torch.ones(2, dtype=torch.float16),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    found = read_archive(saved(tmp_path / "m.pt", state)).tensors
    assert set(found) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
        assert found[name].dtype == tensor.detach().numpy().dtype


def test_nothing_in_a_file_is_run(tmp_path, weights):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    value = whole_model(port_state(weights)) | {"attr_dict": Harm(), "extra": [Harm()]}
    found = read_scvi(saved(tmp_path / "m.pt", value))
    assert found.batches is None
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not weights at all", "neither a torch.save file nor safetensors"),
        ({"weights": [1, 2]}, "lacks 47 of the 47 tensors"),
        ([1, 2], "it holds no dict of tensors"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "ComplexFloatStorage are not read here"),
    ],
    ids=["text", "no tensors", "list", "complex"],
)
def test_other_files_get_one_sentence(tmp_path, content, message):
    path = tmp_path / "m.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserInputError) as caught:
        read_scvi(path)
    assert message in str(caught.value)


def test_a_missing_tensor_is_named(tmp_path, weights):
    state = port_state(weights)
    del state["tower.3.conv.weight"]
    with pytest.raises(UserInputError, match=r"lacks 1 of the 47 .*tower\.3\.conv\.weight"):
        read_scvi(saved(tmp_path / "m.pt", state))


def test_short_bytes_are_refused(tmp_path, weights):
    path = saved(tmp_path / "m.pt", port_state(weights))
    cut = tmp_path / "cut.pt"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(cut, "w") as shorter:
        for name in whole.namelist():
            content = whole.read(name)
            shorter.writestr(name, content[:-4] if name.endswith("data/0") else content)
    with pytest.raises(UserInputError, match="reaches past its stored bytes"):
        read_scvi(cut)
    (tmp_path / "half.pt").write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserInputError, match=r"neither a torch\.save file"):
        read_scvi(tmp_path / "half.pt")


def test_absent_file(tmp_path):
    with pytest.raises(UserInputError, match="neither"):
        read_scvi(tmp_path / "absent.pt")
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as zipped:
        zipped.writestr("readme", "x")
    (tmp_path / "other.zip").write_bytes(empty.getvalue())
    with pytest.raises(UserInputError, match=r"cannot be read as a torch\.save file"):
        read_scvi(tmp_path / "other.zip")
