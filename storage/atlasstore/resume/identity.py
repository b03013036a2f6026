"""What makes two runs the same job, and how two jobs differ."""

from __future__ import annotations

import json
import re
import zlib
from importlib.metadata import version
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from atlasstore.files import remote, urls
from atlasstore.redaction import shown_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["changed_input", "difference", "job_difference", "job_identity"]

_SHOWN = 60
"""Characters of a value that a message shows."""


def job_identity(config: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Any]:
    """Return what makes two runs the same job, as it is read back from JSON.

    Parameters
    ----------
    config
        The resolved configuration, JSON values.
    inputs
        Files and stores that must stay as they are.
    """
    stamps = [_stamp(name) for name in inputs]
    found = {"package": version("atlasbasset"), "config": dict(config), "inputs": stamps}
    same: dict[str, Any] = json.loads(json.dumps(shown_values(found)))
    return same


def _stamp(url: str) -> dict[str, Any]:
    """Return what tells that an input was changed, without reading it; little for a pattern."""
    fs, path = urls.filesystem(urls.stands_for(url))
    fs.invalidate_cache()
    with remote.outage_errors(url):
        if fs.isdir(path):
            return {"url": url, **_folder_stamp(fs.find(path, detail=True))}
        if not fs.exists(path):
            return {"url": url, "bytes": None, "changed": None}
        info = fs.info(path)
    return {"url": url, "bytes": info.get("size"), "changed": str(_changed(info))}


def _folder_stamp(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Tell a folder whose files were replaced in place, also by others of the same size."""
    rows = sorted((name, file["size"], str(_changed(file))) for name, file in files.items())
    return {
        "bytes": sum(size for _, size, _ in rows),
        "files": len(rows),
        "changed": zlib.crc32(json.dumps(rows).encode()),
    }


def _changed(info: Mapping[str, Any]) -> Any:
    return next((info[k] for k in ("ETag", "etag", "mtime", "LastModified") if k in info), None)


def job_difference(found: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """Say in what two identities (`job_identity`) differ; nothing where they are the same."""
    if found["config"] != job["config"]:
        return difference(found["config"], job["config"])
    if changed := changed_input(found, job):
        return f"{changed} has changed since"
    if found["package"] != job["package"]:
        return f"by atlasbasset {found['package']}, this is {job['package']}"
    return ""


def changed_input(found: Mapping[str, Any], job: Mapping[str, Any]) -> str | None:
    """Return the first input that is another one now."""
    pairs = zip_longest(found["inputs"], job["inputs"], fillvalue={"url": "the list of inputs"})
    return next((str(a["url"]) for a, b in pairs if a != b), None)


def difference(a: Mapping[str, Any], b: Mapping[str, Any], *, within: str = "") -> str:
    """Say in what two configurations differ, key by key, below the key `within`."""
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return ", ".join(_differs(within + key, a.get(key), b.get(key)) for key in keys)


def _differs(key: str, a: Any, b: Any) -> str:
    """Say how a value differs, in few characters."""
    if isinstance(a, dict) and isinstance(b, dict):
        if any(_is_digest(a[k]) and a[k] != b.get(k) for k in a):
            return f"another {key}"
        return difference(a, b, within=f"{key} ")
    if _is_digest(a) and _is_digest(b):
        return f"other {key.removesuffix('_sha256')}"
    before, now = _brief(a), _brief(b)
    if before == now:
        now = f"{len(b)} others" if isinstance(b, list) else "another one"
    return f"{key} {before}, now {now}"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _brief(value: Any) -> str:
    text = str(value)
    if len(text) <= _SHOWN:
        return text
    if isinstance(value, list):
        return f"{len(value)} entries"
    return f"{text[: _SHOWN - 3]}..."
