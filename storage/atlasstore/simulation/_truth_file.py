"""``truth.json`` of a simulation: read and checked, every number as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.errors import AtlasError, CorruptStoreError, FormatVersionError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.peaks import Sites

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ARRAYS", "FORMAT_VERSION", "read_truth"]

FORMAT_VERSION = 2
_TYPES, _BATCHES, _MOTIFS, _PEAKS = _NAMES = ("cell_types", "batches", "motifs", "peaks")
ARRAYS = {
    "type_shares": (_TYPES,),
    "batch_shares": (_BATCHES, _TYPES),
    "activities": (_TYPES, _MOTIFS),
    "batch_activities": (_BATCHES, _MOTIFS),
    "batch_shifts": (_BATCHES, _PEAKS),
    "bias_sequence": (_PEAKS,),
    "bias_random": (_PEAKS,),
}
"""Name of each array -> the lists of names that are as long as its axes."""


_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def read_truth(folder: str | Path) -> dict[str, Any]:
    """Return the fields of a `Truth`; see `Truth.load`."""
    path = urls.join(folder, "truth.json")
    content = urls.read_bytes(path)
    try:
        found = _fields(parsed_json(content), path)
        _check(found)
    except FormatVersionError:
        raise
    except (*_DAMAGED, AtlasError) as error:
        raise CorruptStoreError(f"{path} is damaged ({error}); simulate again.") from error
    return found


def _fields(content: dict[str, Any], path: str) -> dict[str, Any]:
    if int(content["format_version"]) > FORMAT_VERSION:
        raise FormatVersionError(f"{path} was written by a newer atlasbasset; update this one.")
    found: dict[str, Any] = {name: list(content[name]) for name in _NAMES}
    found["config"] = SimulationConfig(**content["config"])
    found["median_depth"] = float(content["median_depth"])
    found["sites"] = _sites(content["sites"])
    if "batch_shares" not in content:  # of version 1: all batches alike
        n_batches, n_peaks = len(found[_BATCHES]), len(found[_PEAKS])
        content["batch_shares"] = [content["type_shares"]] * n_batches
        content["batch_shifts"] = np.zeros((n_batches, n_peaks))
    return found | {name: np.array(content[name], dtype=np.float64) for name in ARRAYS}


def _sites(content: dict[str, Any]) -> Sites:
    strands = set(content["strand"])
    if not strands <= {"+", "-"}:
        raise ValueError(f"strands {sorted(map(str, strands))}")
    reverse = np.array([strand == "-" for strand in content["strand"]], dtype=bool)
    peak, motif, start = (_indices(content[key], key) for key in ("peak", "motif", "start"))
    return Sites(peak, motif, start, reverse)


def _indices(values: Any, name: str) -> NDArray[np.int64]:
    if not all(type(value) is int for value in values):
        raise ValueError(f"sites' {name} are no whole numbers")
    return np.array(values, dtype=np.int64)


def _check(found: dict[str, Any]) -> None:
    """Raise ValueError unless all parts have the sizes that the names give them."""
    for name in _NAMES:
        if not all(isinstance(value, str) for value in found[name]):
            raise ValueError(f"{name} are no names")
    for name, axes in ARRAYS.items():
        shape = tuple(len(found[axis]) for axis in axes)
        if found[name].shape != shape or not np.isfinite(found[name]).all():
            raise ValueError(f"{name} of shape {found[name].shape} where {shape} is needed")
    sites = found["sites"]
    within = {"peak": len(found[_PEAKS]), "motif": len(found[_MOTIFS]), "start": 1 << 62}
    for name, stop in within.items():
        values = getattr(sites, name)
        if values.shape != sites.reverse.shape or ((values < 0) | (values >= stop)).any():
            raise ValueError(f"sites' {name} lie outside of 0 to {stop - 1}")
    if not 0 < found["median_depth"] < np.inf:
        raise ValueError(f"median_depth {found['median_depth']}")
