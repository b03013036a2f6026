"""bigWig and BED files of values at places of the genome."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.shared.track_set import bigtools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["pieces_of", "write_bed", "write_bigwig"]


def pieces_of(
    peaks: pd.DataFrame, values: NDArray[np.float32], chroms: Mapping[str, int]
) -> tuple[list[tuple[str, int, int]], NDArray[np.float64]]:
    """Cut peaks where they begin and end, so that no two pieces overlap.

    Parameters
    ----------
    peaks
        Columns chrom, start, end; 0-based half-open, in any order.
    values
        (P, G).
    chroms
        Lengths of the chromosomes by name, in the order of the pieces.

    Returns
    -------
    list of (chrom, start, end), and numpy.ndarray
        The pieces that lie in a peak, and their values (pieces, G): the mean over the peaks there.
    """
    names = peaks["chrom"].astype(str).to_numpy()
    places: list[tuple[str, int, int]] = []
    found = [np.empty((0, values.shape[1]))]
    for chrom, length in chroms.items():
        rows = np.flatnonzero(names == chrom)
        if not rows.size:
            continue
        start = peaks["start"].to_numpy(np.int64)[rows]
        end = np.minimum(peaks["end"].to_numpy(np.int64)[rows], length)
        edges, covered, means = _cut(start, end, values[rows])
        stretches = np.stack([edges[:-1], edges[1:]], axis=1)[covered]
        places += [(chrom, a, b) for a, b in stretches.tolist()]
        found.append(means[covered])
    return places, np.concatenate(found)


def _cut(
    start: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Return all edges, and for each stretch between two whether peaks are there and their mean."""
    edges = np.unique(np.concatenate([start, end]))
    change = np.zeros((len(edges), values.shape[1] + 1))
    with_one = np.column_stack([np.ones(len(start)), values])
    np.add.at(change, np.searchsorted(edges, start), with_one)
    np.add.at(change, np.searchsorted(edges, end), -with_one)
    total = change.cumsum(axis=0)[:-1]
    covered = total[:, 0] > 0.5
    return edges, covered, total[:, 1:] / np.maximum(total[:, :1], 1)


def write_bigwig(
    path: Path,
    chroms: Mapping[str, int],
    places: Iterator[tuple[str, int, int]] | list[tuple[str, int, int]],
    values: NDArray[Any],
) -> None:
    """Write values (n,) of places, which are in the order of `chroms` and do not overlap."""
    rows = ((c, int(a), int(b), float(v)) for (c, a, b), v in zip(places, values, strict=True))
    bigtools().open(str(path), "w").write(dict(chroms), rows)


def write_bed(path: Path, table: pd.DataFrame) -> None:
    """Write a table of places as a gzip BED; equal tables are equal files."""
    text = table.to_csv(sep="\t", header=False, index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
