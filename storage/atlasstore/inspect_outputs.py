"""What our own files and folders say of themselves: tracks, tables, pages, unfinished jobs.

None of them is a store: each is told by a file of its name, its columns, or its generator.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.sealed import read_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "TRACKS_FILE",
    "Described",
    "describe_bigwig",
    "describe_finished",
    "describe_our_folder",
    "has_tracks",
    "page_format",
    "table_format",
]

TRACKS_FILE = "tracks.json"
"""What tells a folder of tracks."""
_RECORD = ".job.json"
_RUN, _TRUTH, _PATTERNS = "run.json", "truth.json", "patterns.h5"
_TABLES = {
    "differential peaks": {"peak", "group", "reference", "effect", "model_effect", "q"},
    "differential motifs": {"motif", "group", "reference", "effect", "standard_error", "q"},
    "motif matches": {"region", "motif", "group", "score", "n_null", "hit_p"},
}
"""What a table of ours is -> columns that it has and no other."""
_GENERATOR = re.compile(r'<meta name="generator" content="(atlasbasset [^"]*)"')
_BIGWIG = 0x888FFC26
_BIGWIG_HEADER = struct.Struct("IHH")


class Described(NamedTuple):
    """What a file is."""

    format: str
    sizes: Mapping[str, Any]
    """As `StoreSummary.sizes`."""
    provenance: Mapping[str, Any] = {}
    """Of what we wrote."""


def has_tracks(url: str) -> bool:
    """Whether there is a folder of tracks, also on a server that lists nothing."""
    return urls.exists(urls.join(url, TRACKS_FILE))


def describe_our_folder(url: str, names: Iterable[str]) -> Described | None:
    """Say what a folder of files is, by the file of ours that is in it; None where none is."""
    for name, describe in _FOLDERS.items():
        if name in names:
            return describe(url)
    return None


def _tracks(url: str) -> Described:
    about = _values(urls.join(url, TRACKS_FILE))
    groups = about.get("groups", [])
    sizes = {
        "group_by": about.get("group_by"),
        "n_groups": len(groups),
        "groups": {str(one["name"]): one["n_cells"] for one in groups},
        "kinds": [str(one["name"]) for one in about.get("kinds", [])],
        "annotations": [str(one["name"]) for one in about.get("annotations", [])],
        "page": urls.join(url, "index.html"),
    }
    made_of = {"made_of": about["made_of"]} if "made_of" in about else {}
    return Described("tracks", sizes, {**about.get("provenance", {}), **made_of})


def _unfinished(url: str) -> Described:
    run = _values(urls.join(url, _RUN))
    verb = run.get("config", {}).get("verb") or "preprocess"
    inputs = [one["url"] for one in run.get("inputs", [])]
    sizes = {"verb": verb, "started": run.get("started"), "inputs": inputs}
    return Described("unfinished job", sizes)


def _simulated(url: str) -> Described:
    names = sorted(urls.list_names(url))
    return Described("simulated data", {"n_files": len(names), "files": names})


def _patterns(url: str) -> Described:
    names = sorted(urls.list_names(url))
    return Described("discovered motifs", {"n_files": len(names), "files": names})


def _values(url: str) -> dict[str, Any]:
    try:
        return dict(parsed_json(urls.read_bytes(url)))
    except (ValueError, TypeError) as error:
        raise CorruptStoreError(
            f"{url} cannot be read ({error}); make or copy it again."
        ) from error


_FOLDERS: Mapping[str, Callable[[str], Described]] = {
    TRACKS_FILE: _tracks,
    _RUN: _unfinished,
    _TRUTH: _simulated,
    _PATTERNS: _patterns,
}
"""File that tells a folder -> what describes it."""


def table_format(columns: Iterable[str]) -> str:
    """Return what a table with these columns is; "table" where it is not ours."""
    found = set(columns)
    return next((name for name, own in _TABLES.items() if own <= found), "table")


def page_format(text: str) -> str:
    """Return what made a page; "HTML page" where it is not ours."""
    found = _GENERATOR.search(text)
    return found[1] if found else "HTML page"


def describe_finished(url: str) -> Described:
    """Say which job made the output beside its record, ``OUT.job.json``."""
    out = str(url).removesuffix(_RECORD)
    try:
        said = parsed_json(read_sealed(url))
        job, report, n_bytes = said["job"], dict(said["report"]), int(said["bytes"])
        verb, inputs = job["config"]["verb"], [one["url"] for one in job["inputs"]]
    except (CorruptStoreError, ValueError, TypeError, KeyError) as error:
        raise CorruptStoreError(
            f"{url} is no record of a finished job, or not as it was written under this name; "
            "nothing but the same command's finding its output again depends on it."
        ) from error
    is_there = urls.exists(out) and urls.stored_bytes(out) == n_bytes
    sizes = {
        "verb": verb,
        "output": out,
        "output_as_made": is_there,
        **{k: v for k, v in report.items() if isinstance(v, str | int | float) and k != "out"},
        "inputs": inputs,
    }
    return Described("record of a finished job", sizes)


def describe_bigwig(url: str) -> Described:
    """Say what stands in the head of a bigWig."""
    fs, path = urls.filesystem(url)
    with fs.open(path, "rb") as file:
        head = file.read(_BIGWIG_HEADER.size)
    if len(head) < _BIGWIG_HEADER.size or _BIGWIG_HEADER.unpack(head)[0] != _BIGWIG:
        raise UserInputError(f"{url} is no bigWig, or a damaged one; make or copy it again.")
    _, version, n_zooms = _BIGWIG_HEADER.unpack(head)
    return Described("bigWig", {"version": version, "zoom_levels": n_zooms})
