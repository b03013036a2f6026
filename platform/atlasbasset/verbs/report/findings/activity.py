"""TF activity: the TFs that set each group of cells apart, and the activity of some in each cell.

Motifs are compared by their raw activity (docs/motifs.md): a z-score gives a motif without effect
the same spread as one with a large effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.report.findings.missing import Missing
from atlasstore.errors import UserInputError
from atlasstore.zarrio.names import EMBEDDING, SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasstore.results.result import Result

__all__ = ["TfActivity", "activity_of", "check_tfs", "holds_embeddings_of", "tf_names"]

_TOP = 5
_MOST_SHOWN = 40
_MOST_COLOURS = 8
_CHECKED_ROWS = 1_000


@dataclass(frozen=True, eq=False, slots=True)
class TfActivity:
    """M motifs in G groups of cells, and some of them in n cells."""

    names: tuple[str, ...]
    """Of the M motifs: the TF, with the motif behind it where a TF has several."""
    groups: tuple[str, ...]
    key: str
    """What the groups are."""
    difference: NDArray[np.float64]
    """float64 (G, M): mean raw activity of a group less the mean over groups."""
    top: tuple[tuple[int, ...], ...]
    """Of each group the motifs with the largest difference, the largest first."""
    shown: tuple[int, ...]
    """Motifs that are in the top of a group, in the order of the groups."""
    chosen: tuple[int, ...]
    """Motifs to colour the cells by."""
    z: NDArray[np.float32]
    """float32 (n, chosen): their z-scores over all cells."""


def activity_of(
    result: Result | None,
    cells: SampledCells,
    groups: CellLabels | None,
    tfs: Sequence[str],
    *,
    model: str,
) -> TfActivity | Missing:
    """Find the TFs that set groups of cells apart.

    Parameters
    ----------
    result
        Of `motifs`, of all the model's cells.
    groups
        Of the sampled cells: labels, or clusters.
    tfs
        Names of TFs or motifs to colour the cells by; by default the first of each group.
    model
        URL of the model, for the command.
    """
    if result is None:
        return Missing(
            "TF activity is not shown: no result of motifs was given.",
            f"motifs {model} ATLAS --motifs JASPAR.meme --out activity.zarr",
        )
    if groups is None:
        return Missing(
            "TFs of groups are not shown: the cells have no groups.",
            "report MODEL ATLAS RESULT --label-key COLUMN --out report.html",
        )
    difference = _differences(_raw(result, cells), groups)
    top = tuple(_top(row) for row in difference)
    names = tf_names(result)
    wanted = check_tfs(result, tfs) or tuple(dict.fromkeys(r[0] for r in top if r))
    chosen = wanted[: max(_MOST_COLOURS, len(tfs))]
    return TfActivity(
        names=names,
        groups=groups.names,
        key=groups.key,
        difference=difference,
        top=top,
        shown=tuple(dict.fromkeys(motif for ranked in top for motif in ranked))[:_MOST_SHOWN],
        chosen=chosen,
        z=_z_scores(result, cells, chosen),
    )


def _top(difference: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the motifs that are most active in a group, none that are less so than in others."""
    order = np.argsort(-difference, kind="stable")[:_TOP]
    return tuple(order[difference[order] > 0].tolist())


def tf_names(result: Result) -> tuple[str, ...]:
    """Return a name of each motif: its TF, and the motif where a TF has several."""
    motifs = _motifs(result)
    if "tf" not in result.var:
        return tuple(motifs)
    tfs = result.var["tf"].astype(str)
    is_twice = tfs.duplicated(keep=False)
    named = zip(tfs, motifs, is_twice, strict=True)
    return tuple(f"{tf} ({motif})" if twice else tf for tf, motif, twice in named)


def _motifs(result: Result) -> list[str]:
    """Return the motifs' own names; earlier results have them as their index."""
    return [str(name) for name in result.var.get("motif", result.var.index)]


def check_tfs(result: Result, tfs: Sequence[str]) -> tuple[int, ...]:
    """Return the columns of TFs or motifs by name.

    Raises
    ------
    UserInputError
        A name is unknown.
    """
    places: dict[str, int] = {}
    tfs_of = result.var.get("tf", result.var.index)
    for names in (tfs_of, _motifs(result), result.var.index, tf_names(result)):
        for column, name in enumerate(names):
            places.setdefault(str(name), column)
    for tf in tfs:
        if tf not in places:
            some = ", ".join(list(places)[:5])
            raise UserInputError(f"{result.url} has no TF {tf!r}; it has {some}, ...")
    return tuple(places[tf] for tf in tfs)


def _raw(result: Result, cells: SampledCells) -> NDArray[np.float32]:
    """Return raw activities of the sampled cells, float32 (n, M)."""
    if result.about.get("scale") == "linear":
        effects: NDArray[np.float32] = result.rows(f"varm/{SEQUENCE}")
        return np.asarray(cells.embedding @ effects.T, np.float32)
    z = _stored_rows(result, cells.rows)
    sd, mean = (result.var[name].to_numpy(np.float32) for name in ("sd", "mean"))
    return np.asarray(z * sd + mean, np.float32)


def _z_scores(result: Result, cells: SampledCells, motifs: Sequence[int]) -> NDArray[np.float32]:
    columns = np.asarray(motifs, np.int64)
    sd, mean = (result.var[name].to_numpy(np.float32)[columns] for name in ("sd", "mean"))
    raw = _raw(result, cells)[:, columns]
    return np.asarray(np.divide(raw - mean, sd, out=np.zeros_like(raw), where=sd > 0))


def _stored_rows(result: Result, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read some rows of X, a range at a time."""
    parts = []
    for start in range(0, result.n_obs, _READ_ROWS):
        inside = rows[(rows >= start) & (rows < start + _READ_ROWS)]
        if inside.size:
            stop = min(start + _READ_ROWS, result.n_obs)
            parts.append(result.rows("X", start, stop)[inside - start])
    return np.concatenate(parts)


_READ_ROWS = 8_192


def _differences(raw: NDArray[np.float32], groups: CellLabels) -> NDArray[np.float64]:
    """Return each group's mean less the mean of all groups' means, float64 (G, M)."""
    means = np.zeros((len(groups.names), raw.shape[1]))
    for code in range(len(groups.names)):
        inside = groups.codes == code
        if inside.any():
            means[code] = raw[inside].mean(axis=0, dtype=np.float64)
    return np.asarray(means - means.mean(axis=0))


def holds_embeddings_of(result: Result, cells: SampledCells) -> bool:
    """Whether a result's cell embeddings are the model's, looked at in the first sampled cells."""
    rows = cells.rows[:_CHECKED_ROWS]
    stored = result.rows(f"obsm/{EMBEDDING}", int(rows[0]), int(rows[-1]) + 1)[rows - rows[0]]
    return bool(np.allclose(stored, cells.embedding[: len(rows)], rtol=1e-4, atol=1e-5))
