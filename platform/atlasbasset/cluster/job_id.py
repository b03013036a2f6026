"""The id of a job: the same for the same work, so that submitting twice is submitting once."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING

from atlasbasset.cluster.shipped import is_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from atlasbasset.cluster.shipped import Shipment

__all__ = ["job_id"]


def job_id(
    words: Sequence[str],
    *,
    shipment: Shipment,
    wheel: Path | None = None,
    sent: Mapping[str, str],
    resources: Mapping[str, float],
) -> str:
    """Return the id of a verb's command line.

    Parameters
    ----------
    words
        The verb and its arguments.
    shipment, wheel
        What goes along; their content counts.
    sent
        Environment variables that were asked for by name. Of keys the name alone counts: they are
        renewed while a job runs.
    resources
        Cores and GPUs of the job's own process, where they are not the usual ones.
    """
    choices: dict[str, str | float] = dict(resources)
    choices |= {f"env {name}": "" if is_key(name) else value for name, value in sent.items()}
    if wheel is not None:
        choices["wheel"] = _content_digest(wheel)
    parts = [*words, shipment.digest(), *([choices] if choices else [])]
    text = json.dumps(parts, sort_keys=True)
    return f"{words[0]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _content_digest(wheel: Path) -> str:
    """Return the SHA-256 of names and content, whenever the wheel was packed."""
    found = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            content = archive.read(name)
            found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
