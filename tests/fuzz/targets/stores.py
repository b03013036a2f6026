"""Every kind of store, and the folder of a job that was killed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np

import atlasbasset
import atlasstore
from atlasstore.events import Progress
from atlasstore.results.ism_result import IsmResult
from fuzz.changes import FOLDER, sealed
from fuzz.json_changes import METADATA
from fuzz.target import Target
from fuzz.targets.digests import of_arrays, of_table
from fuzz.targets.inputs import write_whole
from small_ism import make_ism
from small_model import TINY, random_weights, write_model
from small_stores import everything, make_small_atlas, make_small_model, make_small_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["STORES"]

_STORE = {"s.zarr": (*sealed(FOLDER), *METADATA)}


def _made(make: Callable[[Path], str]) -> Callable[[Path], None]:
    return lambda folder: (make(folder / "s.zarr"), None)[1]


def _everything(folder: Path) -> str:
    return everything(str(folder / "s.zarr"))


def _write_trained(folder: Path) -> None:
    write_model(folder / "s.zarr", random_weights(np.random.default_rng(0), 7, n_batches=2))


def _read_trained(folder: Path) -> str:
    model = atlasbasset.load_model(folder / "s.zarr", device="cpu")
    window = np.zeros((1, TINY.window_bp), np.uint8)
    onehot = np.eye(4, dtype=np.float32)[window]
    return f"{of_table(model.obs)} {of_arrays(model.predict(onehot), model.cell_embedding)}"


def _write_ism(folder: Path) -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 4, (3, 20)).astype(np.uint8)
    make_ism(folder / "s.zarr", codes, rng.normal(size=(3, 20, 4, 2)), ["T", "B"])


def _read_ism(folder: Path) -> str:
    atlasstore.inspect_store(folder / "s.zarr", verify=True)
    ism = IsmResult.open(folder / "s.zarr")
    scores = ism.scores(0, ism.n_regions, ism.columns())
    return f"{of_table(ism.regions)} {of_arrays(ism.codes(0, ism.n_regions), scores)}"


class _KilledError(Exception):
    pass


def _die_late(event: object) -> None:
    if isinstance(event, Progress) and event.stage == "writing labels":
        raise _KilledError


def _preprocess(folder: Path, on_event: Callable[[object], None]) -> None:
    os.chdir(folder)  # a job is known by its paths, and the folder is copied
    atlasstore.preprocess(
        "counts.h5ad",
        genome="genome.fa",
        out="out.zarr",
        window_bp=192,
        min_cell_fraction=0,
        memory="1GB",
        on_event=on_event,
    )


def _write_killed(folder: Path) -> None:
    write_whole(folder)
    try:
        _preprocess(folder, _die_late)
    except _KilledError:
        assert (folder / "out.zarr.partial").is_dir()
        return
    raise AssertionError("the job was not killed")


def _read_killed(folder: Path) -> str:
    """Go on with the job; when it was begun is told by its folder."""
    _preprocess(folder, lambda _: None)
    found = everything(str(folder / "out.zarr"))
    shutil.rmtree(folder / "out.zarr")
    return found[: found.index('"provenance"')]


STORES = (
    Target("atlas", _made(make_small_atlas), _everything, _STORE, is_input=False),
    Target("model", _made(make_small_model), _everything, _STORE, is_input=False),
    Target("result", _made(make_small_result), _everything, _STORE, is_input=False),
    Target("trained model", _write_trained, _read_trained, _STORE, is_input=False),
    Target("ISM result", _write_ism, _read_ism, _STORE, is_input=False),
    Target("killed job", _write_killed, _read_killed, {"out.zarr.partial": sealed(FOLDER)},
           is_input=False),
)  # fmt: skip
