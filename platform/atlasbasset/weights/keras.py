"""The released TensorFlow weights (``save_weights`` to .h5): read and written back.

Keras numbers its layers as they are made (``conv1d_8``, ``dense_2``, ...), from an arbitrary first
number; their order is all that counts: eight convolutions, nine normalisations, then the dense
layers bottleneck, cells and, with batch correction, batches. Keras kernels are (K, C, F) and
(inputs, outputs); ours are (F, C, K) and (outputs, inputs). Both flatten position-major.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from atlasbasset.weights.published import PublishedWeights, as_floats
from atlasstore import memory
from atlasstore.errors import TooLittleMemoryError, UserInputError
from atlasstore.files.hdf5 import check_hdf5, check_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_keras", "write_keras"]

_BN_PARTS = {
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_N_TOWER = 6
_LAYERS = ("conv1d", "batch_normalization", "dense")
_Layer = dict[str, "NDArray[Any]"]
"""A layer's weights by their Keras names."""


def stage_names() -> list[str]:
    """Return our stages in the published order, convolution by convolution."""
    return ["stem", *(f"tower.{i}" for i in range(_N_TOWER)), "prebottleneck"]


def read_keras(path: str | Path) -> PublishedWeights:
    """Read a released .h5 weight file.

    Raises
    ------
    UserInputError
        When the file is not HDF5 or its layers are not those of the published model.
    """
    try:
        check_whole(path, error=UserInputError)
        with h5py.File(path, "r") as file:
            check_hdf5(file, name=str(path), error=UserInputError)
            _check_size(file, path)
            layers = {kind: _layers(file, kind) for kind in _LAYERS}
    except UserInputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserInputError(
            f"{path} cannot be read as HDF5 weights ({error}); give the .h5 file that save_weights "
            "wrote."
        ) from error
    _check_layers(layers, path)
    return _assembled(layers, path)


def _check_size(file: h5py.File, path: str | Path) -> None:
    """Refuse more weights than memory holds: compressed, they may come in a small file."""
    sizes: list[int] = []
    file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    needed, free = sum(sizes), memory.free_bytes()
    if needed > free / 2:  # as stored, and as float32
        raise TooLittleMemoryError(
            f"{path} declares {needed / 1e9:,.1f} GB of weights, and {free / 1e9:,.1f} GB of "
            "memory are free; give a file of the published model."
        )


def _layers(file: h5py.File, kind: str) -> list[_Layer]:
    """Return the weights of every layer named `kind` or `kind`_<number>, in order of creation."""
    numbered = {int(m[1] or 0): name for name in file if (m := _numbered(kind, name))}
    return [_layer_weights(file[numbered[number]]) for number in sorted(numbered)]


def _numbered(kind: str, name: str) -> re.Match[str] | None:
    return re.fullmatch(rf"{kind}(?:_(\d{{1,9}}))?", name)


def _layer_weights(group: h5py.Group) -> _Layer:
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["weight_names"]]
    return {n.rsplit("/", 1)[-1].split(":")[0]: np.asarray(group[n]) for n in names}


def _check_layers(layers: dict[str, list[_Layer]], path: str | Path) -> None:
    found = tuple(len(layers[kind]) for kind in _LAYERS)
    if found not in ((8, 9, 2), (8, 9, 3)):
        raise UserInputError(
            f"{path} has {found[0]} convolutions, {found[1]} normalisations and {found[2]} dense "
            "layers, but the published model has 8, 9 and 2 (3 with batch correction)."
        )


def _assembled(layers: dict[str, list[_Layer]], path: str | Path) -> PublishedWeights:
    convolutions, norms, dense = (layers[kind] for kind in _LAYERS)
    trunk: dict[str, NDArray[Any]] = {}
    for stage, layer in zip(stage_names(), convolutions, strict=True):
        trunk[f"{stage}.weight"] = _transposed(layer, 3, f"{stage} kernel", path)
    for stage, layer in zip([*stage_names(), "bottleneck"], norms, strict=True):
        for ours, their in _BN_PARTS.items():
            values = _part(layer, their, 1, f"{stage} {their}", path)
            trunk[f"{stage}.norm.{ours}"] = values
    trunk["bottleneck.weight"] = _transposed(dense[0], 2, "bottleneck kernel", path)
    batch = dense[2] if len(dense) == 3 else None
    return PublishedWeights(
        trunk=trunk,
        embedding=_transposed(dense[1], 2, "cell kernel", path),
        intercept=_part(dense[1], "bias", 1, "cell bias", path),
        batch_embedding=None if batch is None else _transposed(batch, 2, "batch kernel", path),
        batch_intercept=None if batch is None else _part(batch, "bias", 1, "batch bias", path),
    )


def _part(
    layer: _Layer, part: str, n_axes: int, name: str, path: str | Path
) -> NDArray[np.float32]:
    if part not in layer:
        raise UserInputError(
            f"{path}: {name} is absent; give the .h5 file that save_weights wrote."
        )
    return as_floats(layer[part], n_axes, name=name, path=path)


def _transposed(layer: _Layer, n_axes: int, name: str, path: str | Path) -> NDArray[np.float32]:
    """Return a kernel with its axes reversed: Keras' (K, C, F) and (inputs, outputs) as ours."""
    return np.ascontiguousarray(_part(layer, "kernel", n_axes, name, path).T)


def write_keras(path: str | Path, weights: PublishedWeights) -> None:
    """Write `weights` as the released code's ``load_weights`` reads them.

    Layers are listed in the order in which the released ``make_model`` (``make_model_bc`` with
    batch correction) makes them; layers without weights are left out, as Keras allows.
    """
    layers = _keras_layers(weights)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.6.0"
        for layer, parts in layers.items():
            group = file.create_group(layer)
            names = [f"{layer}/{part}:0" for part in parts]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, parts.values(), strict=True):
                group.create_dataset(name, data=values)


def _keras_layers(weights: PublishedWeights) -> dict[str, dict[str, NDArray[Any]]]:
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for index, stage in enumerate(stage_names()):
        kernel = weights.trunk[f"{stage}.weight"].transpose(2, 1, 0)
        layers[_keras_name("conv1d", index)] = {"kernel": kernel}
        layers[_keras_name("batch_normalization", index)] = _norm_parts(weights, stage)
    layers["dense"] = {"kernel": weights.trunk["bottleneck.weight"].T}
    layers["batch_normalization_8"] = _norm_parts(weights, "bottleneck")
    cells = {"kernel": weights.embedding.T, "bias": weights.intercept}
    if weights.batch_embedding is not None and weights.batch_intercept is not None:
        # the released model lists the batch layer before the cell layer it was made after
        batches = {"kernel": weights.batch_embedding.T, "bias": weights.batch_intercept}
        layers["dense_2"] = batches
    layers["dense_1"] = cells
    return layers


def _keras_name(kind: str, index: int) -> str:
    return kind if index == 0 else f"{kind}_{index}"


def _norm_parts(weights: PublishedWeights, stage: str) -> dict[str, NDArray[Any]]:
    return {their: weights.trunk[f"{stage}.norm.{ours}"] for ours, their in _BN_PARTS.items()}
