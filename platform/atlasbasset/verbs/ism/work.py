"""Mutating regions in silico, unit by unit: every base at every position of a span of each window.

A unit is a run of regions. It writes one shard of each table of an ISM result (`ism_tables`), so
that the tables are cut alike. Per region and position: what putting each base there does to the
embedding, less the mean over the four bases (docs/method.md, "ISM"; the window's own base has 0
before), and, where cells are grouped, the products with the groups' mean embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.core.cost import pass_bytes, reference_bytes
from atlasbasset.core.incremental import Incremental, substitution_effects
from atlasstore.results.writer import write_rows
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs
from atlasstore.zarrio.table_plan import TablePlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.batch.model_source import ModelSource
    from atlasbasset.core.config import TrunkConfig
    from atlasstore.atlas.regions import Regions
    from atlasstore.resume.units import Receipt, Unit

__all__ = ["MutateRegions", "ism_tables", "mutation_bytes", "region_units", "write_windows"]

_SHARD_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20
_LEAST_UNITS = 16
_AT_ONCE = 8  # regions; 4,000 changes of 1.3 kb each
_SHARD_COPIES = 3
"""Of a unit's shards: computed, put together, compressed."""
_WORKING_BYTES = 64 << 20
"""Of the 256 substitutions that are computed at once, about."""
_WRITE_ROWS = 1024
_WINDOWS = "windows"


def ism_tables(
    n_regions: int, span_bp: int, *, width: int, n_groups: int | None
) -> dict[str, TablePlan]:
    """Plan the tables of an ISM result, all cut at the same regions.

    A shard holds a power of two of regions: at most 32 MB of the largest table, and few enough
    for 16 units where there are as many regions.

    Parameters
    ----------
    n_regions, span_bp, width
        R, mutated positions of each, and E.
    n_groups
        G; None where cells stand by themselves, and the tables of groups are left out.

    Returns
    -------
    dict
        Name in the result -> plan.
    """
    float_bytes = 4
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "obsm/scbasset_sequence": ((width,), "float32"),
        "obsm/codes": ((span_bp,), "uint8"),
        "obsm/ism": ((span_bp, 4, width), "float32"),
    }
    if n_groups is not None:
        shapes["X"] = (n_groups,), "float32"
        shapes["obsm/ism_scores"] = (span_bp, 4, n_groups), "float32"
    largest = max(int(np.prod(shape)) for shape, _ in shapes.values()) * float_bytes
    shard = _power_of_two(min(_SHARD_BYTES // largest, n_regions // _LEAST_UNITS))
    return {
        name: TablePlan(name, (n_regions, *shape), dtype, _chunk_rows(shape, dtype, shard), shard)
        for name, (shape, dtype) in shapes.items()
    }


def _chunk_rows(shape: tuple[int, ...], dtype: str, shard: int) -> int:
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return min(shard, _power_of_two(_CHUNK_BYTES // row_bytes))


def _power_of_two(most: int) -> int:
    """Return the largest power of two that is no more, at least 1."""
    return 1 << max(0, most.bit_length() - 1)


def mutation_bytes(config: TrunkConfig, tables: Mapping[str, TablePlan]) -> int:
    """Return what `MutateRegions` holds at most beside the program and the model, bytes."""
    n_regions, in_unit = next((table.shape[0], table.shard_rows) for table in tables.values())
    in_unit = min(n_regions, in_unit)
    shards = sum(table.n_bytes for table in tables.values()) * in_unit // n_regions
    references = min(_AT_ONCE, in_unit) * (reference_bytes(config) + pass_bytes(config))
    return references + _SHARD_COPIES * shards + _WORKING_BYTES


def region_units(tables: dict[str, TablePlan]) -> list[Unit]:
    """Return one unit per shard."""
    return [{"start": start, "stop": stop} for start, stop in tables["obsm/ism"].shards()]


def write_windows(url: str, regions: Regions) -> Receipt:
    """Write the regions' windows as codes, uint8 (R, L), where `MutateRegions` reads them.

    Over what an earlier run of the same job has left there.
    """
    n_regions = len(regions.table)
    array = arrays.create_array(
        scratch_group(url),
        _WINDOWS,
        shape=(n_regions, regions.window_bp),
        dtype=np.uint8,
        chunk_rows=_WRITE_ROWS,
        axes=("region", "position"),
    )
    for start, stop in runs(n_regions, _WRITE_ROWS):
        array[start:stop] = regions.codes(start, stop)
    return {"n_regions": n_regions}


@dataclass(frozen=True, eq=False)
class MutateRegions:
    """Work: mutate a run of regions and write its shard of every table."""

    model: ModelSource
    windows: str
    """What `write_windows` wrote."""
    place: str
    """The result that is written."""
    tables: dict[str, TablePlan]
    """As `ism_tables`."""
    span: tuple[int, int]
    """Positions of a window that are mutated, [start, stop)."""
    groups: NDArray[np.float32] | None = None
    """Mean embedding of each group of cells, (G, E)."""

    @cached_property
    def _engine(self) -> Incremental:
        model = self.model.embedder
        return Incremental(model.trunk, compute_dtype=model.compute_dtype)

    def __call__(self, unit: Unit) -> Receipt:
        """Mutate regions [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        stored = arrays.open_member(self.windows, _WINDOWS)
        codes = arrays.read_array(stored, start, stop, url=self.windows)
        parts = [self._mutated(codes[a:b]) for a, b in runs(len(codes), _AT_ONCE)]
        values = {name: np.concatenate([part[name] for part in parts]) for name in self.tables}
        written = [
            write_rows(self.place, self.tables[name], start, rows) for name, rows in values.items()
        ]
        return {"bytes": sum(shard["bytes"] for shard in written), "shards": written}

    def _mutated(self, codes: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the rows of every table for a few windows."""
        first, last = self.span
        codes_BL = torch.from_numpy(codes)
        reference = self._engine.reference(codes_BL)
        h, engine = reference.h, self._engine
        effects = substitution_effects(
            engine, codes_BL, start=first, stop=last, reference=reference
        )
        effects -= effects.mean(2, keepdim=True)
        found: dict[str, NDArray[Any]] = {
            "obsm/scbasset_sequence": _numpy(h),
            "obsm/codes": codes[:, first:last],
            "obsm/ism": _numpy(effects),
        }
        if self.groups is not None:
            groups = torch.from_numpy(self.groups).to(h)
            found["X"] = _numpy(h @ groups.T)
            found["obsm/ism_scores"] = _numpy(effects @ groups.T)
        return found


def _numpy(values: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.float().cpu().numpy()
    return found
