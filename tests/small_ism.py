"""Small ISM results with given scores, written without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.verbs.ism.work import ism_tables
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SITE = np.array([0, 2, 1, 3, 0, 0, 0, 2, 2, 1], np.uint8)  # AGCTAAAGGC
PWM = np.full((len(SITE), 4), 0.04)
PWM[np.arange(len(SITE)), SITE] = 0.88
CHROM = "chr1"
"""Where regions lie."""
FIRST = 1000
"""Where the first base of the first region lies; regions are 10 kb apart."""


def make_ism(
    url: str | Path,
    codes: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[str],
    *,
    is_grouped: bool = True,
    strand: str | None = None,
) -> str:
    """Write an ISM result of codes (R, L) and scores (R, L, 4, G), a group per embedding axis."""
    n_regions, span = codes.shape
    start = FIRST + 10_000 * np.arange(n_regions)
    regions = pd.DataFrame(
        {"chrom": CHROM, "start": start, "end": start + span, "window_start": start - 8}
    ).assign(span_start=start)
    regions.index = pd.Index([f"{CHROM}:{s}-{s + span}" for s in start], dtype=object)
    if strand is not None:
        regions["strand"] = list(strand)
    n_groups = len(groups)
    tables = ism_tables(n_regions, span, width=n_groups, n_groups=None)
    values = {
        "obsm/codes": codes.astype(np.uint8),
        "obsm/ism": scores.astype(np.float32),
        "obsm/scbasset_sequence": np.zeros((n_regions, n_groups), np.float32),
    }
    create_result(
        url,
        kind="ism",
        obs=regions,
        var=pd.DataFrame({"n_cells": 1}, index=list(groups)),
        obsm={},
        varm={"X_scbasset": np.eye(n_groups, dtype=np.float32)},
        tables=list(tables.values()),
        about={"group_by": "cell_type"} if is_grouped else {},
    )
    shards = [
        write_rows(url, plan, first, values[name][first:last])
        for name, plan in tables.items()
        for first, last in plan.shards()
    ]
    finish_result(url, formats.provenance([], {}, None), shards=shards)
    return str(url)


def normalised(values: np.ndarray) -> np.ndarray:
    """Make the four bases of every position sum to zero; axis 2."""
    return values - values.mean(2, keepdims=True)


def planted(url: str | Path, n_regions: int, span: int = 120) -> str:
    """A site that raises accessibility in T cells in every region; noise in B cells."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, (n_regions, span), dtype=np.uint8)
    scores = rng.normal(size=(n_regions, span, 4, 2)) * 0.05
    for row in range(n_regions):
        at = rng.integers(10, span - 30)
        codes[row, at : at + len(SITE)] = SITE
        scores[row, at : at + len(SITE), :, 1] += PWM - 0.25
    return make_ism(url, codes, normalised(scores), ["B", "T"])
