"""`evaluate --baselines --retrain`: the whole model trained again on changed labels, as the paper.

An atlas of the chosen cells with changed labels is made in a temporary folder of this machine and
trained on with the model's own settings, from new weights. Held-out peaks are judged by the labels
as they are.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from atlasbasset.engine.config import TrainConfig
from atlasbasset.inference.model import load_model
from atlasbasset.metrics.changed_labels import shuffled, thinned
from atlasbasset.verbs.train.train import train
from atlasstore.atlas.as_anndata import block_matrix
from atlasstore.atlas.writer import write_atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.text_units import count
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore
    from atlasstore.plans import Lines

    Change = Callable[[sparse.csr_array], sparse.csr_array]
    """Changes labels, cells x peaks."""

__all__ = ["check_retraining", "retrained", "retraining_lines", "write_changed"]

SHARES = (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
"""Of the reads, as in the paper (Fig. 2)."""


def check_retraining(store: ModelStore) -> None:
    """Raise UserInputError unless the model says how it was trained, and without batches."""
    settings = store.config.get("train")
    if not settings or not store.newest().state["history"]:
        raise UserInputError(
            f"{store.url} was not trained here, so its settings are not known; leave it out "
            "(retrain), or train a model."
        )
    if settings.get("batch_key"):
        raise UserInputError(
            f"{store.url} is batch-corrected, and its cells are not trained again; leave it "
            "out (retrain)."
        )


def retraining_lines(store: ModelStore) -> Lines:
    """Say what training again costs, by the model's own record."""
    history = store.newest().state["history"]
    seconds = sum(float(epoch.get("seconds") or 0) for epoch in history)
    n = len(SHARES) + 1
    text = f"{n} trainings of {count(len(history))} epochs on changed labels"
    return [("training again", f"{text}; the model's own took {_duration(seconds)}")]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def retrained(
    model: Model, atlas: Atlas, cells: NDArray[np.int64], *, on_event: Subscriber
) -> Iterator[tuple[str, Model]]:
    """Yield a name and a model of the cells for each share of reads, and for shuffled labels.

    Parameters
    ----------
    cells
        Rows in the atlas, rising.
    """
    changes: list[tuple[str, Change]] = [
        (f"model trained on {share:.0%} of reads", _thin(share)) for share in SHARES
    ]
    changes.append(("model trained on shuffled labels", lambda labels: shuffled(labels, seed=0)))
    for done, (name, change) in enumerate(changes):
        on_event(Progress("training again", done, len(changes), "models"))
        with tempfile.TemporaryDirectory(prefix="atlasbasset-") as made:
            changed = write_changed(Path(made, "atlas.zarr"), atlas, cells, change)
            out = Path(made, "model.zarr")
            train(changed, out=out, config=_settings(model), on_event=ignore)
            yield name, load_model(out)
    on_event(Progress("training again", len(changes), len(changes), "models"))


def _thin(share: float) -> Change:
    return lambda labels: thinned(labels, share, seed=0)


def _settings(model: Model) -> TrainConfig:
    """Return the model's own settings, from new weights."""
    config = TrainConfig.from_json(dict(model.config["train"]))
    return replace(config, init_from=None, epochs=len(model.store.newest().state["history"]))


def write_changed(out: Path, atlas: Atlas, cells: NDArray[np.int64], change: Change) -> Path:
    """Write an atlas of some cells whose labels of all peaks are changed; return its path."""
    blocks = plan_cell_blocks(len(cells))
    labels = change(_labels(atlas, cells))
    with write_atlas(
        out,
        obs=atlas.obs.iloc[cells],
        var=atlas.var,
        cell_blocks=blocks,
        window_bp=atlas.window_bp,
        flank_bp=atlas.flank_bp,
        provenance=formats.provenance([], {"changed": atlas.url}, 0),
    ) as writer:
        for start, stop in writer.sequence_runs():
            writer.write_sequences(start, atlas.sequence_codes(start, stop))
        for block in blocks:
            rows = labels[block.start : block.stop].astype(np.uint8)
            writer.write_labels(block.index, sparse.csr_array(rows))
    return out


def _labels(atlas: Atlas, cells: NDArray[np.int64]) -> sparse.csr_array:
    """Return the labels of cells, bool (cells, peaks)."""
    parts = []
    for block in atlas.blocks:
        inside = cells[(cells >= block.start) & (cells < block.stop)] - block.start
        parts.append(sparse.csr_array(block_matrix(atlas, block.index))[inside])
    return sparse.csr_array(sparse.vstack(parts, format="csr"), dtype=bool)
