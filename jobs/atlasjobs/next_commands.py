"""The command that follows each verb: the one place that knows.

``{name}`` stands for the verb's own parameter; what a verb was not given stays a word in capitals,
and a part in brackets is left out then.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["NEXT", "next_line"]

_EMBED = "embed {model} --out cells.h5ad"
_ACTIVITY = "motifs {model} {atlas} --motifs MOTIFS.meme --out activity.zarr"
_BASES = "ism {model} --genome {genome} --regions REGIONS.bed --out ism.zarr"

NEXT: Mapping[str, str | None] = {
    "demo": "preprocess COUNTS.h5ad --genome GENOME.fa --out atlas.zarr",
    "simulate": "preprocess {out}/counts.h5ad --genome {out}/genome.fa --out atlas.zarr",
    "preprocess": "train {out} --out model.zarr",
    "train": "embed {out} --out cells.h5ad",
    "watch": _EMBED,
    "map": "embed {out} --out cells.h5ad",
    "import-weights": "embed {out} --out cells.h5ad",
    "export-weights": "import-weights {path} --out imported.zarr",
    "embed": "evaluate {model} {atlas}",
    "evaluate": "report {model} {atlas} [--obs {obs} ][--label-key {label_key} ]"
    "[--batch-key {batch_key} ]--out report.html",
    "annotate": _ACTIVITY,
    "denoise": _ACTIVITY,
    "motifs": "report {model} {atlas} {out} --out report.html",
    "ism": "match {out} --motifs MOTIFS.meme --out sites.csv",
    "match": "discover {result} --group GROUP --out patterns",
    "discover": "report MODEL {result} --out report.html",
    "variants": _BASES,
    "differential": "tracks {model} {atlas} [--obs {obs} ]--group-by {group_by} --out tracks",
    "tracks": "report {model} {atlas} {out} [--obs {obs} ]--label-key {group_by} --out report.html",
    "report": _BASES,
    "list": "copy STORE --out COPY",
    "copy": "inspect {out} --verify",
    "export": "inspect {out}",
    "catalog": "list {prefix}",
    "push": "pull {out} --out model.zarr",
    "pull": "embed {out} --out cells.h5ad",
    "card": "inspect {store}",
    "submit": None,  # it ends with the line of the verb that it ran
    "logs": None,  # of a job, as it printed them
    "status": "logs {job} --follow",
    "stop": "status {job}",
    "resources": "submit -- train ATLAS --out model.zarr",
    "inspect atlasbasset.atlas": "train {store} --out model.zarr",
    "inspect atlasbasset.model": "embed {store} --out cells.h5ad",
    "inspect atlasbasset.result": "report MODEL {store} --out report.html",
    "inspect tracks": "report MODEL {store} --out report.html",
    "inspect AnnData": "annotate MODEL {store}",
    "inspect AnnData of peaks": "preprocess {store} --genome GENOME.fa --out atlas.zarr",
    "inspect MEME motifs": "motifs MODEL ATLAS --motifs {store} --out activity.zarr",
    "inspect BED": "ism MODEL --genome GENOME.fa --regions {store} --out ism.zarr",
    "inspect fragments": "preprocess {store} --peaks PEAKS.bed --genome GENOME.fa --out atlas.zarr",
    "inspect FASTA": "preprocess COUNTS.h5ad --genome {store} --out atlas.zarr",
    "inspect simulated data": "preprocess {store}/counts.h5ad --genome {store}/genome.fa "
    "--out atlas.zarr",
    "inspect differential peaks": "tracks MODEL ATLAS --group-by COLUMN --out tracks",
    "inspect": None,  # of other files nothing is made
}
"""Verb, of `inspect` with what was found -> what to run next; None: nothing is said."""
_WORDS = {"genome": "GENOME.fa"}
_OPTIONAL = re.compile(r"\[([^\]]*\{(\w+)\}[^\]]*)\]")
_GIVEN = re.compile(r"\{(\w+)\}(\S*)")


def next_line(verb: str, params: Mapping[str, Any], found: object = None) -> str | None:
    """Return the line that names the next command; None after a verb that has none.

    Parameters
    ----------
    verb
        The verb's name.
    params
        Its parameters.
    found
        What it returned: the format that `inspect` found, or parameters that became known.
    """
    if isinstance(found, Mapping):
        params = {**params, **{name: one for name, one in found.items() if not params.get(name)}}
    template = NEXT.get(f"{verb} {found}", NEXT.get(verb))
    if template is None or params.get("dry_run"):
        return None
    wanted = _OPTIONAL.sub(lambda part: part[1] if params.get(part[2]) else "", template)
    return f"next: atlasbasset {_GIVEN.sub(lambda gap: _filled(gap, params), wanted)}"


def _filled(gap: re.Match[str], params: Mapping[str, Any]) -> str:
    name, rest = gap.groups()
    value = params.get(name)
    return _WORDS.get(name, name.upper()) + rest if value is None else shlex.quote(f"{value}{rest}")
