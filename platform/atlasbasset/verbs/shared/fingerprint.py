"""What tells one atlas from another, wherever it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlasstore.atlas.atlas import Atlas

__all__ = ["atlas_fingerprint"]


def atlas_fingerprint(atlas: Atlas) -> dict[str, Any]:
    """Return JSON values that a model keeps of the atlas that it was trained on."""
    return {
        "n_peaks": atlas.n_peaks,
        "n_cells": atlas.n_cells,
        "n_positives": atlas.n_positives,
        "created": atlas.provenance.get("created"),
    }
