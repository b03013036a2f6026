"""What was run on which data with which versions, as the stores' provenance says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.cards.store_card import card_of
from atlasstore.files import urls
from atlasstore.redaction import shown_values
from atlasstore.results.reader import AXES
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.report.given import Given
    from atlasbasset.verbs.shared.track_set import TrackSet
    from atlasstore.cards.card import Card
    from atlasstore.results.result import Result

__all__ = ["InputFile", "StoreOrigin", "origins", "version_warning"]


_KINDS = {
    "denoised": "denoised accessibility",
    "gene_accessibility": "accessibility of genes",
    "tf_activity": "TF activity",
    "ism": "mutagenesis",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a store was made from."""

    url: str
    stored: str
    """Its size, with unit."""
    sha256: str


@dataclass(frozen=True, slots=True)
class StoreOrigin:
    """Where a store came from."""

    kind: str
    url: str
    holds: str
    """Rows and columns, in words."""
    stored: str
    """Its size, with unit."""
    created: str
    seed: str
    versions: Mapping[str, str]
    """Package -> version."""
    inputs: tuple[InputFile, ...]
    config: str
    """The resolved configuration, indented JSON."""
    card: Card | None
    """What the store says of itself, with what a person said; a folder of tracks has none."""


def origins(given: Given) -> tuple[StoreOrigin, ...]:
    """Return one entry for each store, in the order of the work."""
    found = []
    if (atlas := given.atlas) is not None:
        holds = f"{count(atlas.n_cells)} cells x {count(atlas.n_peaks)} peaks"
        found.append(_origin("atlas", atlas.url, holds, atlas.provenance))
    store = given.model.store
    settings = {**store.provenance, "config": store.config}
    found.append(_origin("model", store.url, f"{count(store.n_cells)} cells", settings))
    ism = None if given.ism is None else given.ism.result
    results = [result for result in (given.activity, ism, *given.others) if result is not None]
    tracks = () if given.tracks is None else (_of_tracks(given.tracks),)
    return (*found, *(_of_result(result) for result in results), *tracks)


def _of_tracks(tracks: TrackSet) -> StoreOrigin:
    holds = f"{count(len(tracks.groups))} groups, {', '.join(tracks.kinds)}"
    provenance = tracks.about.get("provenance") or {}
    return _origin("tracks", tracks.url, holds, provenance, has_card=False)


def _of_result(result: Result) -> StoreOrigin:
    rows, columns = AXES.get(result.kind, ("rows", "columns"))
    holds = f"{count(result.n_obs)} {rows} x {count(result.n_vars)} {columns}"
    return _origin(_KINDS.get(result.kind, result.kind), result.url, holds, result.provenance)


def _origin(
    kind: str, url: str, holds: str, provenance: Mapping[str, Any], *, has_card: bool = True
) -> StoreOrigin:
    inputs = provenance.get("inputs") or ()
    seed = provenance.get("seed")
    return StoreOrigin(
        kind,
        url,
        holds,
        size(urls.stored_bytes(url)),
        str(provenance.get("created", "not recorded")),
        "none" if seed is None else str(seed),
        {str(k): str(v) for k, v in dict(provenance.get("packages") or {}).items()},
        tuple(_input(one) for one in inputs if isinstance(one, Mapping)),
        json.dumps(shown_values(dict(provenance.get("config") or {})), indent=2, default=str),
        card_of(url) if has_card else None,
    )


def _input(one: Mapping[str, Any]) -> InputFile:
    n_bytes = one.get("bytes")
    stored = size(n_bytes) if isinstance(n_bytes, int) else "unknown"
    return InputFile(str(one.get("url")), stored, str(one.get("sha256", "not recorded")))


def version_warning(found: tuple[StoreOrigin, ...]) -> str | None:
    """Return a sentence where the stores were written by several versions of atlasbasset."""
    versions = {one.kind: one.versions.get("atlasbasset") for one in found}
    if len(set(versions.values())) < 2:
        return None
    listed = ", ".join(f"{kind} {version or 'unknown'}" for kind, version in versions.items())
    return f"The stores were written by several versions of atlasbasset: {listed}."
