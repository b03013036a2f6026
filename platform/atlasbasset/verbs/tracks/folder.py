"""The folder of tracks: a bigWig file for each group and kind, and the page that shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.shared.regions import Region
from atlasbasset.verbs.tracks.files import pieces_of, write_bed, write_bigwig
from atlasbasset.verbs.tracks.page import write_page
from atlasbasset.verbs.tracks.sequence import write_lengths, write_sequence
from atlasstore.redaction import shown_values
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasstore.genome.fasta import Genome

__all__ = ["KINDS", "TrackFolder", "colours"]

KINDS = {
    "denoised": "chance of being open at a peak in a cell of typical depth, as the model has it",
    "observed": "share of the group's cells in which the peak is open",
    "predicted": "the model's chance of being open for windows along the genome",
}
"""Kind -> what it shows."""
_N_LOCI = 3
_VIEW_BP = 20_000
"""On either side of the peak that the page shows first."""


def colours(n: int) -> list[str]:
    """Return n colours that are told apart without red-green vision, again from the seventh on."""
    from matplotlib import style
    from matplotlib.colors import to_rgb

    cycle = style.library["tableau-colorblind10"]["axes.prop_cycle"].by_key()["color"]
    bright = [str(colour) for colour in cycle if len(set(to_rgb(colour))) > 1]  # greys: observed
    return [bright[place % len(bright)] for place in range(n)]


def _file_names(groups: Sequence[str]) -> list[str]:
    """Return a name for each group's files, none twice, in letters that every server takes."""
    plain = [re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "group" for name in groups]
    lower = [name.lower() for name in plain]
    return [
        f"{name}-{place + 1}" if lower.count(name.lower()) > 1 else name
        for place, name in enumerate(plain)
    ]


@dataclass(frozen=True, eq=False, slots=True)
class TrackFolder:
    """A folder that is being written."""

    path: Path
    lengths: dict[str, int]
    """Of the chromosomes."""
    labels: CellLabels
    files: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> each group's file."""

    def write_peaks(self, kind: str, peaks: pd.DataFrame, values: NDArray[np.float32]) -> None:
        """Write values (P, G) at peaks."""
        places, found = pieces_of(peaks, values, self.lengths)
        for path, column in zip(self._paths(kind), found.T, strict=True):
            write_bigwig(path, self.lengths, places, column)

    def write_windows(
        self,
        kind: str,
        regions: Sequence[Region],
        parts: Sequence[NDArray[np.float32]],
        step_bp: int,
    ) -> None:
        """Write values (windows, G) of regions: each holds for its step."""
        order = sorted(range(len(regions)), key=lambda n: self._place(regions[n]))
        values = np.concatenate([parts[n] for n in order])
        for group, path in enumerate(self._paths(kind)):
            places = (place for n in order for place in _steps(regions[n], step_bp))
            write_bigwig(path, self.lengths, places, values[:, group])

    def _place(self, region: Region) -> tuple[int, int]:
        return list(self.lengths).index(region.chrom), region.start

    def _paths(self, kind: str) -> list[Path]:
        (self.path / kind).mkdir()
        self.files[kind] = [f"{kind}/{name}.bw" for name in _file_names(self.labels.names)]
        return [self.path / name for name in self.files[kind]]

    def write_page(
        self,
        peaks: pd.DataFrame,
        denoised: NDArray[np.float32],
        *,
        model: str,
        identity: Mapping[str, str],
        atlas: str,
        genes: pd.DataFrame | None,
        sequence: Genome | None,
        regions: Sequence[Region],
    ) -> None:
        """Write what else the page needs, and the page."""
        write_lengths(self.path / "chromosomes.tsv", self.lengths)
        if sequence is not None:
            write_sequence(self.path / "genome.fa", sequence, self.lengths)
        loci = _loci(peaks, denoised, regions)
        about = {
            "title": f"Accessibility by {self.labels.key}",
            "says": _says(len(peaks), len(self.labels.names)),
            "name": "genome",
            "group_by": self.labels.key,
            "made_of": shown_values({"model": model, "atlas": atlas}),
            "chromosomes": "chromosomes.tsv",
            "sequence": sequence and {"fasta": "genome.fa", "index": "genome.fa.fai"},
            "locus": self._first_view(loci, regions),
            "loci": [str(locus) for locus in loci],
            "kinds": [{"name": kind, "says": KINDS[kind]} for kind in self.files],
            "groups": self._groups(),
            "annotations": self._annotations(peaks, genes),
            "model_identity": dict(identity),
            "provenance": formats.provenance([], {"group_by": self.labels.key}, None),
        }
        write_page(self.path, about)

    def _groups(self) -> list[dict[str, Any]]:
        names, counts = self.labels.names, self.labels.counts
        return [
            {
                "name": name,
                "n_cells": int(counts[place]),
                "colour": colour,
                "files": {kind: files[place] for kind, files in self.files.items()},
            }
            for place, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True))
        ]

    def _annotations(self, peaks: pd.DataFrame, genes: pd.DataFrame | None) -> list[dict[str, str]]:
        tables = {} if genes is None else {"genes": _gene_table(genes)}
        found = []
        for name, table in (tables | {"peaks": peaks[["chrom", "start", "end"]]}).items():
            file = f"{name}.bed.gz"
            write_bed(self.path / file, _ordered(table, self.lengths))
            found.append({"name": name.capitalize(), "file": file})
        return found

    def _first_view(self, loci: Sequence[Region], regions: Sequence[Region]) -> str:
        """Return the surroundings of the first locus, 1-based; without one the first region."""
        if not loci:
            return f"{regions[0].chrom}:{regions[0].start + 1}-{regions[0].end}"
        first = loci[0]
        start = max(0, first.start - _VIEW_BP)
        end = min(self.lengths[first.chrom], first.start + _VIEW_BP)
        return f"{first.chrom}:{start + 1}-{end}"


def _loci(
    peaks: pd.DataFrame, denoised: NDArray[np.float32], regions: Sequence[Region]
) -> list[Region]:
    """Return the peaks that differ most between groups, each highest in another group.

    Where regions were predicted, the peaks inside them; none where no peak is.
    """
    columns = (peaks[name].tolist() for name in ("chrom", "start", "end"))
    places = [Region(str(chrom), start, end) for chrom, start, end in zip(*columns, strict=True)]
    inside = np.array([not regions or _lies_in(place, regions) for place in places])
    spread = np.where(inside, np.ptp(denoised, axis=1), -1.0)
    best: dict[int, Region] = {}  # the first of each group, as they come by spread
    for row in np.argsort(-spread, kind="stable").tolist():
        if spread[row] < 0 or len(best) == min(_N_LOCI, denoised.shape[1]):
            break
        best.setdefault(int(np.argmax(denoised[row])), places[row])
    return list(best.values())


def _lies_in(place: Region, regions: Sequence[Region]) -> bool:
    return any(
        place.chrom == one.chrom and one.start <= place.start and place.end <= one.end
        for one in regions
    )


def _gene_table(genes: pd.DataFrame) -> pd.DataFrame:
    columns = ["chrom", "start", "end", "gene_name", "score", "strand"]
    return genes.assign(score=0)[columns]


def _ordered(table: pd.DataFrame, lengths: dict[str, int]) -> pd.DataFrame:
    """Return the places on the chromosomes, in their order."""
    rank = table["chrom"].astype(str).map({name: place for place, name in enumerate(lengths)})
    ordered = table.assign(rank=rank).sort_values(["rank", "start"], kind="stable")
    return ordered[ordered["rank"].notna()].drop(columns="rank")


def _steps(region: Region, step_bp: int) -> Iterator[tuple[str, int, int]]:
    for start in range(region.start, region.end, step_bp):
        yield region.chrom, start, min(start + step_bp, region.end)


def _says(n_peaks: int, n_groups: int) -> str:
    return (
        f"{n_groups:,} groups of cells at {n_peaks:,} peaks. Tracks of one kind have one scale; "
        "denoised and predicted ones are at one depth for all groups, observed ones are not."
    )
