from __future__ import annotations

import h5py
import numpy as np
import pytest

from atlasbasset.core.config import TrunkConfig
from atlasbasset.weights import read_keras, write_keras
from atlasstore.errors import UserInputError
from small_model import random_weights


@pytest.fixture(params=[0, 3], ids=["plain", "batches"])
def weights(request, rng):
    return random_weights(rng, 7, config=TrunkConfig(), n_batches=request.param)


def check_same(found, wanted):
    assert set(found.trunk) == set(wanted.trunk)
    for name, values in wanted.trunk.items():
        np.testing.assert_array_equal(found.trunk[name], values)
    for part in ("embedding", "intercept", "batch_embedding", "batch_intercept"):
        np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))


def test_round_trip_and_layout(weights, tmp_path):
    path = tmp_path / "w.h5"
    write_keras(path, weights)
    check_same(read_keras(path), weights)
    with h5py.File(path) as file:
        assert file["conv1d/conv1d/kernel:0"].shape == (17, 4, 288)
        assert file["dense/dense/kernel:0"].shape == (1792, 32)
        assert file["dense_1/dense_1/kernel:0"].shape == (32, 7)
        names = text(file["batch_normalization"].attrs["weight_names"])
        assert [n.rpartition("/")[2] for n in names] == [
            "gamma:0",
            "beta:0",
            "moving_mean:0",
            "moving_variance:0",
        ]


def test_layers_may_be_numbered_from_anywhere(weights, tmp_path):
    """Keras counts layers through a whole session: conv1d_8 may be a file's first."""
    first, moved = tmp_path / "first.h5", tmp_path / "moved.h5"
    write_keras(first, weights)
    with h5py.File(first) as source, h5py.File(moved, "w") as target:
        for name in source:
            kind, _, number = name.partition("_") if "norm" not in name else split_norm(name)
            new = f"{kind}_{int(number or 0) + 7}"
            group = target.create_group(new)
            old_names = text(source[name].attrs["weight_names"])
            new_names = [n.replace(name, new, 1) for n in old_names]
            group.attrs["weight_names"] = new_names
            for old_name, new_name in zip(old_names, new_names, strict=True):
                group[new_name] = source[name][old_name][:]
    check_same(read_keras(moved), weights)


def text(names):
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def split_norm(name):
    number = name.removeprefix("batch_normalization").removeprefix("_")
    return "batch_normalization", "_", number


def test_other_files_get_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(UserInputError, match="cannot be read as HDF5"):
        read_keras(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(UserInputError, match="0 convolutions, 0 normalisations and 0 dense"):
        read_keras(tmp_path / "empty.h5")


@pytest.fixture
def edited(tmp_path, rng):
    """A released file, open for damage."""
    path = tmp_path / "w.h5"
    write_keras(path, random_weights(rng, 3, config=TrunkConfig()))
    with h5py.File(path, "a") as file:
        yield file


BIAS = "dense_1/dense_1/bias:0"


def replace(file, **options):
    del file[BIAS]
    return file.create_dataset(BIAS, **options)


DAMAGE = {
    "is a link to another file": lambda f: f["conv1d"].update(x=h5py.ExternalLink("/etc/x", "/")),
    "is stored in another file": lambda f: replace(
        f, shape=(3,), dtype="f4", external=[("/etc/hostname", 0, 12)]
    ),
    "GB large but not stored": lambda f: replace(f, shape=(10**9,), dtype="f4", chunks=(10**6,)),
    "cell bias is of shape (1, 3)": lambda f: replace(f, data=np.zeros((1, 3))),
    "cell bias is of shape (3,) and type |S1": lambda f: replace(f, data=np.array([b"a"] * 3)),
    "cannot be read as HDF5 weights": lambda f: f["dense"].attrs.pop("weight_names"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_hostile_files(edited, message):
    DAMAGE[message](edited)
    edited.flush()
    name = edited.filename
    edited.close()
    with pytest.raises(UserInputError) as caught:
        read_keras(name)
    assert message in str(caught.value)


def test_a_missing_part(edited):
    edited["dense_1"].attrs["weight_names"] = [b"dense_1/kernel:0"]
    name = edited.filename
    edited.close()
    with pytest.raises(UserInputError, match="cell bias is absent"):
        read_keras(name)
