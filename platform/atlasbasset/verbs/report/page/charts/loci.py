"""Tracks of groups along a stretch of genome: a row for each group, all on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import MODEL, REFERENCE
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import label, plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from atlasbasset.verbs.report.findings.loci import Locus, Peak
    from atlasbasset.verbs.shared.regions import Region

__all__ = ["locus_figure"]

_STYLES: dict[str, dict[str, Any]] = {
    "observed": {"fill": "tozeroy", "fillcolor": "rgba(140,146,156,0.55)", "line": {"width": 0}},
    "denoised": {"line": {"color": MODEL, "width": 2}},
    "predicted": {"line": {"color": REFERENCE, "width": 1.2, "dash": "dot"}},
}
"""Kind of track -> how it is drawn, in this order, the later over the earlier."""
_ROW_PX, _GENES_PX, _AROUND_PX = 74, 56, 104
_GAP = 0.12
_HEADROOM = 1.3
"""So that names of groups lie above what is drawn."""
_INK = "#7A8494"
_MOST_GENES = 24


def locus_figure(locus: Locus, number: int) -> Figure:
    """Draw one locus."""
    has_genes = locus.genes is not None
    height = _ROW_PX * len(locus.groups) + _GENES_PX * has_genes
    floor = _GENES_PX / height if has_genes else 0.0
    domains = _domains(len(locus.groups), floor)
    top = _HEADROOM * max((v for found in locus.tracks.values() for _, _, v in found), default=1.0)
    rows = {
        f"yaxis{row + 1 if row else ''}": axis("", range=[0, top], nticks=3, domain=domain)
        for row, domain in enumerate(domains)
    }
    plot = new_plot(
        [*_traces(locus), *_genes(locus)],
        xaxis=_position_axis(locus, has_genes=has_genes),
        **rows,
        **(_gene_axis(len(locus.groups), floor) if has_genes else {}),
        annotations=[*_names(locus.groups, domains), *_gene_names(locus)],
        shapes=[] if locus.peak is None else [_band(locus.peak)],
        margin={"l": 44, "r": 12, "t": 8, "b": 48},
    )
    return Figure(
        name=f"locus-{number}",
        title=f"Accessibility by {plain_text(locus.key)} along {_where(locus.region)}",
        says=_says(locus),
        plot=plot,
        csv=_csv(locus, number),
        height_px=_AROUND_PX + height,
        is_wide=True,
    )


def _where(place: Region | Peak, chrom: str = "") -> str:
    name = chrom or getattr(place, "chrom", "")
    return f"{plain_text(name)}:{place.start:,}-{place.end:,}"


def _says(locus: Locus) -> str:
    of_groups = (
        ""
        if len(locus.groups) == locus.n_groups
        else f" Of {locus.n_groups} groups the {len(locus.groups)} are shown that tell most here."
    )
    return f"{_peak_says(locus)} {_legend_says(locus.kinds)}{of_groups}"


def _peak_says(locus: Locus) -> str:
    peak = locus.peak
    if peak is None:
        return "No peak lies here."
    where = f"The peak at {_where(peak, locus.region.chrom)} (shaded)"
    if peak.highest == peak.lowest:
        return f"{where} is at {_two(peak.values['denoised'][0])} in {plain_text(peak.highest)}."
    high, low = peak.values["denoised"]
    text = (
        f"{where} has its highest denoised accessibility in {plain_text(peak.highest)} "
        f"({_two(high)}) and its lowest in {plain_text(peak.lowest)} ({_two(low)})"
    )
    return f"{text}{_observed_says(peak)}."


def _observed_says(peak: Peak) -> str:
    high, low = peak.values.get("observed", (None, None))
    if high is None or low is None:
        return ""
    meaning = "in the same order" if high > low else "in the other order"
    return f"; it was observed open in {high:.0%} and {low:.0%} of their cells, {meaning}"


def _legend_says(kinds: Sequence[str]) -> str:
    predicted = (
        " Dotted: predicted from sequence alone, along the genome." if "predicted" in kinds else ""
    )
    return (
        "Grey: share of the group's cells in which a peak is open, as observed. Blue: chance of "
        f"being open in a cell of typical depth, denoised.{predicted}"
    )


def _two(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _domains(n_rows: int, floor: float) -> list[list[float]]:
    step = (1 - floor) / n_rows
    return [[1 - (row + 1 - _GAP) * step, 1 - row * step] for row in range(n_rows)]


def _traces(locus: Locus) -> list[Any]:
    """Return every track; the legend names the kinds."""
    go = graph_objects()
    traces = []
    for row, group in enumerate(locus.groups):
        for kind in (kind for kind in _STYLES if kind in locus.kinds):
            x, y = _outline(locus.tracks[group, kind])
            traces.append(
                go.Scatter(
                    x=x,
                    y=y,
                    mode="lines",
                    name=kind,
                    legendgroup=kind,
                    showlegend=row == 0,
                    yaxis=f"y{row + 1 if row else ''}",
                    hovertemplate=f"{label(group)}, {kind}: %{{y:.3f}}<extra></extra>",
                    **_STYLES[kind],
                )
            )
    return traces


def _outline(
    stretches: Sequence[tuple[int, int, float]],
) -> tuple[list[int | None], list[float | None]]:
    """Return steps over stretches that touch; each run of them rises from zero and falls to it."""
    x: list[int | None] = []
    y: list[float | None] = []
    end = None
    for start, stop, value in stretches:
        if start != end:
            if x:
                x += [end, None]
                y += [0.0, None]
            x.append(start)
            y.append(0.0)
        x += [start, stop]
        y += [value, value]
        end = stop
    return ([*x, end], [*y, 0.0]) if x else ([None], [None])


def _position_axis(locus: Locus, *, has_genes: bool) -> dict[str, Any]:
    place, n_rows = locus.region, len(locus.groups)
    last = n_rows + has_genes
    return axis(
        f"position on {label(place.chrom)}, bp",
        range=[place.start, place.end],
        tickformat=",d",
        nticks=5,
        showgrid=False,
        zeroline=False,
        anchor=f"y{last if last > 1 else ''}",
    )


def _names(groups: Sequence[str], domains: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {
            "text": label(group),
            "x": 0.004,
            "y": domain[1],
            "xref": "paper",
            "yref": "paper",
            "xanchor": "left",
            "yanchor": "top",
            "showarrow": False,
        }
        for group, domain in zip(groups, domains, strict=True)
    ]


def _band(peak: Peak) -> dict[str, Any]:
    """Return a shade behind the peak that is spoken of."""
    return {
        "type": "rect",
        "x0": peak.start,
        "x1": peak.end,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "fillcolor": "rgba(140,146,156,0.16)",
        "line": {"width": 0},
        "layer": "below",
    }


def _shown_genes(locus: Locus) -> pd.DataFrame | None:
    return None if locus.genes is None else locus.genes.head(_MOST_GENES)


def _genes(locus: Locus) -> list[Any]:
    """Return a bar for each gene, on two heights by strand."""
    if (genes := _shown_genes(locus)) is None:
        return []
    x: list[int | None] = []
    y: list[float | None] = []
    for start, end, strand in genes[["start", "end", "strand"]].itertuples(index=False):
        height = _STRANDS.get(str(strand), 0.5)
        x += [max(int(start), locus.region.start), min(int(end), locus.region.end), None]
        y += [height, height, None]
    return [
        graph_objects().Scatter(
            x=x or [None],
            y=y or [None],
            mode="lines",
            line={"color": _INK, "width": 5},
            showlegend=False,
            hoverinfo="skip",
            yaxis=f"y{len(locus.groups) + 1}",
        )
    ]


_STRANDS = {"+": 0.75, "-": 0.25}


def _gene_axis(n_rows: int, floor: float) -> dict[str, Any]:
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "fixedrange": True}
    return {f"yaxis{n_rows + 1}": {"range": [-0.15, 1.15], "domain": [0, 0.8 * floor], **bare}}


def _gene_names(locus: Locus) -> list[dict[str, Any]]:
    if (genes := _shown_genes(locus)) is None:
        return []
    columns = ["start", "gene_name", "strand"]
    return [
        {
            "text": f"{label(name)} {'>' if strand == '+' else '<'}".replace("<", "&lt;"),
            "x": max(int(start), locus.region.start),
            "y": _STRANDS.get(str(strand), 0.5),
            "yref": f"y{len(locus.groups) + 1}",
            "xanchor": "left",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 10},
        }
        for start, name, strand in genes[columns].itertuples(index=False)
    ]


def _csv(locus: Locus, number: int) -> Csv:
    rows = [
        (locus.region.chrom, start, end, group, kind, value)
        for (group, kind), stretches in locus.tracks.items()
        for start, end, value in stretches
    ]
    names = ("chrom", "start", "end", "group", "track", "value")
    values = zip(*rows, strict=True) if rows else ((),) * len(names)
    return Csv.of(f"locus-{number}.csv", dict(zip(names, map(list, values), strict=True)))
