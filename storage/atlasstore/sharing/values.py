"""Chosen rows and columns of a result's table, band by band: stored, or predicted from factors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.errors import UserInputError
from atlasstore.results.factors import factor_names, on_scale
from atlasstore.sharing.encoded import decoded_steps, is_encoded
from atlasstore.zarrio.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from atlasstore.results.result import Result

    Rows = NDArray[np.int64]

__all__ = ["Values"]

_STANDARDISED = ("tf_activity",)


@dataclass(frozen=True, eq=False)
class Values:
    """A part of one table of a result.

    Attributes
    ----------
    rows, columns
        Which, rising, int64.
    layer
        Name of the table in layers; None for X.
    decoded
        Whether values that are stored in 256 steps are given as numbers, float32.
    band_bytes
        Read or computed at once.
    """

    result: Result
    rows: Rows
    columns: Rows
    layer: str | None = None
    decoded: bool = False
    band_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if self.layer is not None and not self.result.has(self._name):
            known = [name for name in self.result.tables if name.startswith("layers/")]
            names = ", ".join(name.partition("/")[2] for name in known) or "none"
            raise UserInputError(f"there is no layer {self.layer!r}; known are: {names}.")
        if not self.is_stored and (not self._factors or self.result.kind in _STANDARDISED):
            raise UserInputError(f"{self.result.url} has no table X; name a layer.")

    @property
    def _name(self) -> str:
        return "X" if self.layer is None else f"layers/{self.layer}"

    @property
    def is_stored(self) -> bool:
        """Whether values are read; otherwise they are predicted from the factors."""
        return self.result.has(self._name)

    @property
    def is_decoded(self) -> bool:
        """Whether steps are stored, and numbers given."""
        return self.decoded and self.layer is None and is_encoded(self.result)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        is_as_stored = self.is_stored and not self.is_decoded
        return self.result.table(self._name).dtype if is_as_stored else np.dtype(np.float32)

    @property
    def n_bytes(self) -> int:
        """Size of all values."""
        return len(self.rows) * len(self.columns) * self.dtype.itemsize

    @property
    def _factors(self) -> tuple[str, str] | None:
        names = self.result.tables
        of = {
            part: [n.partition("/")[2] for n in names if n.startswith(f"{part}/")]
            for part in ("obsm", "varm")
        }
        return factor_names(of["obsm"], of["varm"])

    def bands(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first, values): values (n, columns) are those of ``rows[first : first + n]``."""
        read = self._stored if self.is_stored else self._predicted()
        for first, last in self._ranges():
            yield first, read(self.rows[first:last])

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of chosen rows that lie in one band of stored ones."""
        band = self.rows // self._band_rows
        edges = [0, *(np.flatnonzero(np.diff(band)) + 1).tolist(), len(self.rows)]
        yield from pairwise(edges)

    @property
    def _band_rows(self) -> int:
        width = self.result.n_vars if self.is_stored else len(self.columns) + self._n_factors
        return max(1, self.band_bytes // max(1, width * self.dtype.itemsize))

    @property
    def _n_factors(self) -> int:
        names = self._factors
        return 0 if names is None else int(self.result.table(f"obsm/{names[0]}").shape[1])

    def _stored(self, rows: Rows) -> NDArray[Any]:
        start, stop = int(rows[0]), int(rows[-1]) + 1
        found: NDArray[Any] = self.result.rows(self._name, start, stop)[rows - start]
        chosen = found[:, self.columns]
        return decoded_steps(self.result, chosen, self.columns) if self.is_decoded else chosen

    def _predicted(self) -> Any:
        """Return what multiplies the factors of rows with those of the columns."""
        assert self._factors is not None
        left, right = self._factors
        scale = str(self.result.about.get("scale", "linear"))
        of_columns = self.result.rows(f"varm/{right}")[self.columns]
        added = self.result.obs[INTERCEPT].to_numpy() if scale == "probability" else None

        def predict(rows: Rows) -> NDArray[Any]:
            start, stop = int(rows[0]), int(rows[-1]) + 1
            of_rows = self.result.rows(f"obsm/{left}", start, stop)[rows - start]
            return on_scale(scale, of_rows, of_columns, None if added is None else added[rows])

        return predict
