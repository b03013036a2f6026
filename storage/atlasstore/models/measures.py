"""What a model's training reached: a few figures, the same in equal models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlasstore.models.model_store import ModelStore

__all__ = ["FIGURES", "MEASURES", "measures"]

MEASURES = "measures"
"""Where the provenance of what was made from a model keeps its measures."""
FIGURES = ("loss", "train_auroc", "valid_auroc_per_cell", "valid_auroc_per_peak")


def measures(store: ModelStore) -> dict[str, Any]:
    """Return what the newest checkpoint says of training: the solve at its end, or the last epoch.

    Returns
    -------
    dict
        ``epochs`` and `FIGURES`, as far as they are recorded; ``mapped``, True of a model that
        `map` made. Of imported models nothing is known.
    """
    checkpoint = store.latest()
    if checkpoint is None:
        return {}
    history = checkpoint.state.get("history") or []
    mapped = checkpoint.state.get("mapped") or {}
    solved = checkpoint.state.get("final_solve") or {}
    last = {**(history[-1] if history else {}), **solved, **mapped}
    found = {name: last[name] for name in FIGURES if isinstance(last.get(name), float)}
    return {
        **({"epochs": len(history)} if history else {}),
        **({"mapped": True} if mapped else {}),
        **found,
    }
