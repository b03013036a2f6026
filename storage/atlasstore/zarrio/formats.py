"""What marks a zarr group as one of our stores: format name, integer version, provenance.

A store carries ``format`` and ``complete: false`` from its first moment; `stamp` writes the
finishing attributes, ``complete: true`` among them, and is called last. A store whose writer died
is therefore distinguished from one that was never ours, and neither is ever read as finished.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from zarr.core.buffer import default_buffer_prototype

from atlasstore.errors import FormatVersionError, NotAStoreError
from atlasstore.files import remote, urls
from atlasstore.redaction import shown, shown_values
from atlasstore.zarrio import metadata
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    import zarr

__all__ = [
    "ATLAS",
    "FORMATS",
    "MODEL",
    "RESULT",
    "WRITTEN",
    "StoreInfo",
    "begin",
    "check",
    "describe_input",
    "provenance",
    "stamp",
]

ATLAS = "atlasbasset.atlas"
MODEL = "atlasbasset.model"
RESULT = "atlasbasset.result"
FORMATS: dict[str, int] = {ATLAS: 2, MODEL: 1, RESULT: 1}
"""Format name -> the newest version this package reads."""
WRITTEN: Mapping[str, int] = FORMATS | {ATLAS: 1}
"""Format name -> the version of a new store; an atlas is of version 2 once it was appended to."""

_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any], str], None]] = {
    ATLAS: metadata.check_atlas,
    MODEL: metadata.check_model,
    RESULT: lambda *_: None,
}
"""Format name -> the check of what else its root says: group or attributes, attributes, URL."""
_PACKAGES = ("atlasbasset", "zarr", "anndata", "numpy")
_HASH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says it is."""

    format: str
    """One of `FORMATS`."""
    version: int
    """Format version the store was written in, at least 1."""
    provenance: Mapping[str, Any]
    """What `provenance` returned when the store was made."""


def begin(group: zarr.Group, format_name: str) -> None:
    """Mark `group` as an unfinished store, before anything else is written into it."""
    group.attrs.update({"format": format_name, "complete": False})


def stamp(group: zarr.Group, format_name: str, version: int, provenance: Mapping[str, Any]) -> None:
    """Mark `group` as a finished store; call it last.

    Raises
    ------
    ValueError
        For a format name or version that this package does not write.
    """
    if not 1 <= version <= FORMATS.get(format_name, 0):
        raise ValueError(f"cannot write {format_name} version {version}: known are {dict(FORMATS)}")
    attributes = {
        **group.attrs,
        "format": format_name,
        "format_version": version,
        "provenance": shown_values(provenance),
        "complete": True,
    }
    finished = dataclasses.replace(group.metadata, attributes=attributes)
    root = json.loads(finished.to_buffer_dict(default_buffer_prototype())[ROOT].to_bytes())
    group.attrs.update({**attributes, metadata.DIGEST: metadata.digest(root)})


def check(
    group: zarr.Group | Mapping[str, Any], expected: str | None = None, *, url: str = "this group"
) -> StoreInfo:
    """Return what a store is, or say in one sentence why it cannot be read.

    Parameters
    ----------
    group
        A zarr group or its attributes.
    expected
        The format the caller reads; any of ours when absent.
    url
        How messages name the store.

    Raises
    ------
    NotAStoreError
        The group is not ours, is of another format than `expected`, or is unfinished.
    FormatVersionError
        The store was written in a newer format version.
    CorruptStoreError
        Its sizes are no whole numbers, absurd, or do not fit together.
    """
    attrs: Mapping[str, Any] = group if isinstance(group, Mapping) else dict(group.attrs)
    name = str(attrs.get("format"))
    if name not in FORMATS:
        raise NotAStoreError(
            f"{url} is not an atlasbasset store (its attributes name no format of ours); give the "
            "URL of an atlas, model or result."
        )
    if expected is not None and name != expected:
        raise NotAStoreError(f"{url} is {_article(name)}, but {_article(expected)} is needed here.")
    _check_finished(attrs, name, url)
    _CHECKS[name](group, attrs, url)
    provenance = attrs.get("provenance", {})
    if not isinstance(provenance, Mapping) or not isinstance(provenance.get("config", {}), Mapping):
        raise metadata.damaged(url, "its provenance, or the configuration in it, is no mapping")
    return StoreInfo(name, attrs["format_version"], provenance)


def _check_finished(attrs: Mapping[str, Any], name: str, url: str) -> None:
    if not attrs.get("complete"):
        raise NotAStoreError(
            f"{url} is an incomplete {_kind(name)}: the job that writes it is still running or has "
            "died; wait, or delete it and run the job again."
        )
    metadata.check_number(attrs, "format_version", url)
    found, newest = attrs["format_version"], FORMATS[name]
    if found > newest:
        raise FormatVersionError(
            f"{url} is {_article(name)} in format version {found}, but this atlasbasset reads "
            f"versions up to {newest}; update your checkout of atlasbasset and run there: "
            "pip install ."
        )


def provenance(
    inputs: Sequence[str | Mapping[str, Any]],
    config: Mapping[str, Any],
    seed: int | None,
    *,
    created: str | None = None,
) -> dict[str, Any]:
    """Return where a store came from, as JSON values.

    Parameters
    ----------
    inputs
        Paths or URLs of files and folders that were read (a folder stands for the files below it),
        or what `describe_input` returned for them.
    config
        The resolved configuration, JSON values only.
    seed
        The seed of every random choice; None where there was none.
    created
        When the work began, UTC, ISO 8601; now by default.

    Returns
    -------
    dict
        ``inputs`` (url, bytes, sha256 of each), ``config``, ``packages`` (name -> version),
        ``seed``, ``created`` (UTC, ISO 8601).
    """
    found = {
        "inputs": [describe_input(i) if isinstance(i, str) else dict(i) for i in inputs],
        "config": dict(config),
        "packages": {name: _package_version(name) for name in _PACKAGES},
        "seed": seed,
        "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return dict(shown_values(found))


def describe_input(url: str) -> dict[str, Any]:
    """Return url, size and sha256 of a file; of a folder, over its files' names and contents."""
    digest, n_bytes = hashlib.sha256(), 0
    with remote.outage_errors(url):
        fs, root = urls.filesystem(urls.stands_for(url))
        is_folder = bool(fs.isdir(root))
        for path in sorted(fs.find(root)) if is_folder else [root]:
            if is_folder:
                digest.update(str(path).removeprefix(str(root)).lstrip("/").encode() + b"\0")
            with fs.open(path, "rb") as file:
                while piece := file.read(_HASH_BYTES):
                    digest.update(piece)
                    n_bytes += len(piece)
    return {"url": shown(url), "bytes": n_bytes, "sha256": digest.hexdigest()}


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _kind(format_name: str) -> str:
    return format_name.rpartition(".")[2]


def _article(format_name: str) -> str:
    kind = _kind(format_name)
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
