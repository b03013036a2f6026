"""What a store holds, but for what says when and how fast it was made: equal for equal work."""

from __future__ import annotations

import hashlib
from typing import Any

from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore

_TIMED = ("seconds", "sequences_per", "memory")
"""Beginnings of the figures of an epoch that differ from run to run."""


def stored(url: str) -> dict[str, str]:
    """Checksum of every file but those that say when the result was made."""
    fs, root = urls.filesystem(url)
    fs.invalidate_cache()
    names = {path.removeprefix(root).strip("/"): path for path in fs.find(root)}
    return {
        name: hashlib.sha256(fs.cat_file(path)).hexdigest()
        for name, path in names.items()
        if name != "zarr.json" and "provenance" not in name
    }


def mapped(url: str) -> dict[str, str]:
    """Checksums of a model that `map` made; its state says how long solving took."""
    timed = ("manifest.json", "latest.json")
    return {name: found for name, found in stored(url).items() if not name.endswith(timed)}


def learned(model: Any) -> tuple[list[dict[str, Any]], dict[str, bytes], dict[str, Any]]:
    """The bits of a trained model: what was measured, cells, and checksums of trunk and moments."""
    store = ModelStore.open(model)
    checkpoint = store.newest()
    figures = [
        {name: value for name, value in record.items() if not name.startswith(_TIMED)}
        for record in checkpoint.state["history"]
    ]
    bits = {name: checkpoint.rows(name, 0, store.n_cells).tobytes() for name in checkpoint.tables}
    return figures, bits, {name: checkpoint.checksums[name] for name in checkpoint.checksums}
