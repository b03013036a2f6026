"""From a store back to the model, the atlas and the files that it was made from.

A store's provenance holds that of the stores it was made from, so the way back is known wherever
the store lies, also when the others are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.text_units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasstore.plans import Lines

__all__ = ["Origin", "lineage", "lineage_lines"]

_STORES = ("model", "atlas")
_SHOWN_INPUTS = 20
"""Lines for the files of a store; a folder of BAM files has thousands."""
_MOST_DEPTH = 16
"""Of provenance in provenance; what is nested deeper was not written by us."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A store or file that another store was made from."""

    kind: str
    """``model``, ``atlas``, ``trunk`` (the model whose trunk a training began with), ``input``."""
    url: str
    """As it was named when it was read; "" where that is not recorded."""
    created: str
    """When a store was made, UTC; "" where that is not recorded."""
    sha256: str
    """Of a file's content; "" of a store."""
    n_bytes: int | None
    """Of a file."""
    depth: int
    """Steps back: 1 for what the store itself was made from."""


def lineage(provenance: Mapping[str, Any]) -> tuple[Origin, ...]:
    """Return everything that a store was made from, nearest first, each once.

    Parameters
    ----------
    provenance
        A store's.

    Examples
    --------
    >>> made = {"config": {"atlas": "a.zarr"}, "inputs": [], "created": "2026-11-26"}
    >>> [(origin.kind, origin.url) for origin in lineage(made)]
    [('atlas', 'a.zarr')]
    """
    found: dict[tuple[str, str, str], Origin] = {}
    for origin in _origins(provenance, 1):
        found.setdefault((origin.kind, origin.url, origin.created or origin.sha256), origin)
    return tuple(found.values())


def _origins(provenance: Mapping[str, Any], depth: int) -> Iterator[Origin]:
    if depth > _MOST_DEPTH:
        return
    config = _mapping(provenance.get("config"))
    for name in _STORES:
        made = _mapping(provenance.get(name))
        if made or name in config:
            url, created = _text(config.get(name)), _text(made.get("created"))
            yield Origin(name, url, created, "", None, depth)
            yield from _origins(made, depth + 1)
    if start := _mapping(config.get("start")):
        yield Origin(
            "trunk", _text(start.get("model")), "", _text(start.get("sha256")), None, depth
        )
    yield from _files(provenance.get("inputs"), depth)
    appended = provenance.get("appended")
    for made in appended if isinstance(appended, list) else ():
        yield from _files(_mapping(made).get("inputs"), depth)


def _files(inputs: Any, depth: int) -> Iterator[Origin]:
    for one in inputs if isinstance(inputs, list) else ():
        about = _mapping(one)
        n_bytes = about.get("bytes")
        known = n_bytes if isinstance(n_bytes, int) else None
        yield Origin("input", _text(about.get("url")), "", _text(about.get("sha256")), known, depth)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def lineage_lines(origins: tuple[Origin, ...]) -> Lines:
    """Return the way back as lines of what and which, deeper ones set in."""
    files = [origin for origin in origins if origin.kind == "input"]
    shown = [o for o in origins if o.kind != "input" or o in files[:_SHOWN_INPUTS]]
    lines = [(f"{'  ' * (o.depth - 1)}from {o.kind}", _described(o)) for o in shown]
    if left := len(files) - _SHOWN_INPUTS:
        lines += [("from input", f"and {left:,} more files")] if left > 0 else []
    return lines


def _described(origin: Origin) -> str:
    parts = [origin.url or "not recorded"]
    parts += [f"made {origin.created}"] if origin.created else []
    parts += [size(origin.n_bytes)] if origin.n_bytes is not None else []
    parts += [f"sha256 {origin.sha256[:12]}"] if origin.sha256 else []
    return ", ".join(parts)
