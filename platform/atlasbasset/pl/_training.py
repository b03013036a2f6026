"""`training`: how loss and auROC went, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.inference.model import Model
from atlasstore.errors import UserInputError
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["training"]

_AUROCS = {
    "train_auroc": ("training peaks, per cell", "#4477AA"),
    "valid_auroc_per_cell": ("validation peaks, per cell", "#EE6677"),
    "valid_auroc_per_peak": ("validation peaks, per peak", "#228833"),
}
"""Figure of an epoch -> its label and colour."""


def training(
    model: str | Path | Model | ModelStore, *, axes: Sequence[Axes] | None = None
) -> tuple[Axes, Axes]:
    """Draw the loss and the auROCs of each epoch, also of a training that is still running.

    Parameters
    ----------
    model
        A model, or the path or URL of its store.
    axes
        Two axes to draw into; a new figure by default.

    Returns
    -------
    tuple of matplotlib.axes.Axes
        Loss (cross-entropy per pair of peak and cell, nats), and auROC. Where the cells were solved
        at the end, dots right of the last epoch show the model that is stored.

    Examples
    --------
    >>> loss, auroc = ab.pl.training("model.zarr")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        No epoch has been finished, or the model was not trained here.
    """
    store = _store(model)
    state = store.newest().state
    history: Sequence[dict[str, Any]] = state.get("history") or []
    if not history:
        raise UserInputError(
            f"{store.url} has no epochs to draw: its weights were imported or its cells mapped; "
            "give a model that was trained."
        )
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")[1]
    loss, auroc = axes
    _draw(loss, history, state.get("final_solve"), {"loss": ("training peaks", "#4477AA")})
    loss.set_ylabel("loss, nats per peak and cell")
    _draw(auroc, history, state.get("final_solve"), _AUROCS)
    auroc.set_ylabel("auROC")
    auroc.legend(frameon=False, fontsize=8)
    return loss, auroc


def _store(model: str | Path | Model | ModelStore) -> ModelStore:
    if isinstance(model, Model):
        return model.store
    return model if isinstance(model, ModelStore) else ModelStore.open(model)


def _draw(
    ax: Axes,
    history: Sequence[dict[str, Any]],
    solved: dict[str, Any] | None,
    figures: dict[str, tuple[str, str]],
) -> None:
    epochs = [record["epoch"] for record in history]
    for name, (label, colour) in figures.items():
        values = [_number(record.get(name)) for record in history]
        ax.plot(epochs, values, color=colour, label=label, marker="o", markersize=2)
        if solved is not None:
            at_end = _number(solved.get(name))
            ax.plot([epochs[-1] + 1], [at_end], color=colour, marker="D", linestyle="")
    ax.set_xlabel("epoch" if solved is None else "epoch (diamond: cells solved)")
    ax.locator_params(axis="x", integer=True)


def _number(value: Any) -> float:
    return float(np.nan if value is None else value)
