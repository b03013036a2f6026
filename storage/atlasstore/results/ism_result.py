"""Reading ISM results: scores of every base at every position, for regions and groups of cells.

The store is an AnnData zarr of regions x groups (or regions x cells); see ``docs/ism.md``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import NotAStoreError, UserInputError
from atlasstore.genome.sequences import UNKNOWN
from atlasstore.results.result import Result
from atlasstore.zarrio.names import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["IsmResult", "importance", "most_important"]

_MOST_COLUMNS = 1000


class IsmResult:
    """A finished ISM result; made by `IsmResult.open`.

    Attributes
    ----------
    result
        The store itself.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self._regrouped: tuple[pd.DataFrame, NDArray[np.float32]] | None = None

    @classmethod
    def open(cls, url: str | Path) -> IsmResult:
        """Open the ISM result at `url`.

        Raises
        ------
        NotAStoreError
            Nothing is there, it is incomplete, or it is another kind of store.
        """
        result = Result.open(url)
        if result.kind != "ism":
            raise NotAStoreError(
                f"{url} is a result of kind {result.kind}, but one of in-silico mutagenesis is "
                "needed here; make it with: atlasbasset ism."
            )
        return cls(result)

    @property
    def url(self) -> str:
        """Where it is stored."""
        return self.result.url

    @property
    def regions(self) -> pd.DataFrame:
        """One row per region: chrom, start, end, window_start, span_start (first mutated base)."""
        return self.result.obs

    @property
    def groups(self) -> pd.DataFrame:
        """One row per group of cells, or per cell, with ``n_cells``."""
        return self.result.var if self._regrouped is None else self._regrouped[0]

    def grouped(self, groups: pd.DataFrame, embedding: NDArray[np.float32]) -> IsmResult:
        """Return the same scores in other groups of cells.

        Parameters
        ----------
        groups
            One row per group, indexed by name.
        embedding
            Mean embedding of each group's cells, float32 (G, E).
        """
        found = IsmResult(self.result)
        found._regrouped = groups, embedding
        return found

    @property
    def is_grouped(self) -> bool:
        """Whether its columns are groups of cells, not cells."""
        return self._regrouped is not None or bool(self.result.about.get("group_by"))

    @property
    def n_regions(self) -> int:
        """R."""
        return self.result.n_obs

    @property
    def span_bp(self) -> int:
        """Mutated positions of each region."""
        return int(self.result.table("obsm/codes").shape[1])

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bases of regions [start, stop), uint8 (stop - start, span), 0..4."""
        found: NDArray[np.uint8] = self.result.rows("obsm/codes", start, stop)
        return found

    def columns(self, names: Sequence[str] | None = None) -> NDArray[np.int64]:
        """Return the columns of groups (or cells) by name, int64; all by default.

        Raises
        ------
        UserInputError
            A name is unknown, or all of more than 1,000 cells would be taken.
        """
        index = self.groups.index
        unit = "groups" if self.is_grouped else "cells"
        if names is None:
            if len(index) > _MOST_COLUMNS:
                raise UserInputError(
                    f"{self.url} has {len(index):,} {unit}, too many to take all; name some, or "
                    "make the result with --group-by."
                )
            return np.arange(len(index))
        columns = index.get_indexer(pd.Index(list(names), dtype=object)).astype(np.int64)
        unknown = [name for name, column in zip(names, columns, strict=True) if column < 0]
        if unknown or not len(names):
            listed = ", ".join(map(str, index[:5])) + (", ..." if len(index) > 5 else "")
            what = f"no {unit[:-1]} {unknown[0]!r}" if unknown else f"no {unit} were named; it has"
            raise UserInputError(f"{self.url}: {what}; its {unit}: {listed}.")
        return columns

    def scores(self, start: int, stop: int, columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return normalised scores of regions [start, stop) in some groups or cells.

        Returns
        -------
        numpy.ndarray
            float32 (stop - start, span, 4, len(columns)): the change of accessibility (linear
            scale) by each base, in the order A, C, G, T, less the mean of the four.

        Raises
        ------
        CorruptStoreError
            When stored bytes are not what was written.
        """
        effects = self.result.rows("obsm/ism", start, stop)
        # one product of a region: as fast as one of all, and the same whatever the others are
        flat = effects.reshape(len(effects), 4 * self.span_bp, effects.shape[-1])
        product = flat @ self.embedding[columns].T
        found: NDArray[np.float32] = product.reshape(*effects.shape[:-1], len(columns))
        return found

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """Mean embedding of each group, or each cell's, float32 (G, E); read once."""
        if self._regrouped is not None:
            return self._regrouped[1]
        found: NDArray[np.float32] = self.result.rows(f"varm/{EMBEDDING}")
        return found


def importance(scores: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return each position's importance: the score of the base that stands there.

    Parameters
    ----------
    scores
        float32 (..., span, 4, G), as `IsmResult.scores`.
    codes
        uint8 (..., span), 0..4.

    Returns
    -------
    numpy.ndarray
        float32 (..., span, G); 0 where the base is unknown.
    """
    known = np.where(codes == UNKNOWN, 0, codes).astype(np.intp)
    picked = np.take_along_axis(scores, known[..., None, None], axis=-2)[..., 0, :]
    found: NDArray[np.float32] = np.where(codes[..., None] == UNKNOWN, np.float32(0), picked)
    return found


def most_important(matters: NDArray[np.float32], most_bp: int) -> tuple[int, int]:
    """Return the run [start, stop) of at most `most_bp` positions that matters most in all groups.

    Parameters
    ----------
    matters
        float32 (L, G).
    most_bp
        Its length, unless L is shorter.
    """
    length = min(most_bp, len(matters))
    sums = np.concatenate([[0], np.abs(matters).sum(1, dtype=np.float64).cumsum()])
    start = int(np.argmax(sums[length:] - sums[:-length]))
    return start, start + length
