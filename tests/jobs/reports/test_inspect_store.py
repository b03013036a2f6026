"""Which format `inspect` names for the next command, and how sizes are printed."""

from __future__ import annotations

from typing import Any

import pytest

from atlasjobs.reports.inspect_store import kind_of, store_facts
from atlasstore import StoreSummary


def summary(kind: str = "AnnData", *, provenance: object = None, **sizes: Any) -> StoreSummary:
    of_anndata = {"X": "csr_matrix", "var_columns": [], "var_names": [], "obsm": {}, "layers": []}
    return StoreSummary("u", kind, None, of_anndata | sizes, 9, provenance or {}, False)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (summary(var_names=["chr1:5-9", "chr2-1-4"]), "AnnData of peaks"),
        (
            summary(var_names=["p1", "p2"], var_columns=["Chrom", "start", "end"]),
            "AnnData of peaks",
        ),
        (summary(var_names=["GATA1", "chr1:5-9"]), "AnnData"),
        (summary(), "AnnData"),
        (summary(var_names=["chr1:5-9"], X=None), "AnnData"),
        (summary(var_names=["chr1:5-9"], provenance={"seed": 1}), "AnnData"),
        (summary("differential peaks (parquet)"), "differential peaks"),
        (summary("BED"), "BED"),
    ],
)
def test_an_anndata_of_peaks_is_told_from_others(found: StoreSummary, kind: str) -> None:
    assert kind_of(found) == kind


def test_what_is_absent_is_none_in_obsm_as_in_layers() -> None:
    lines = dict(store_facts(summary()))
    assert (lines["obsm"], lines["layers"]) == ("none", "none")
