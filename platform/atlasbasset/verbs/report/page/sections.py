"""The sections of the page, in the order they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.page.charts import (
    activity,
    agreement,
    cell_map,
    depth,
    heat,
    loci,
    logos,
    predictions,
    training,
)
from atlasbasset.verbs.report.page.document import Section, Table, Tile
from atlasbasset.verbs.report.page.text import figure, plain_text
from atlasstore.text_units import count, duration, size

if TYPE_CHECKING:
    from atlasbasset.verbs.report.findings.findings import Findings

__all__ = ["sections_of", "tiles_of"]


def tiles_of(found: Findings) -> tuple[Tile, ...]:
    """Return the key figures."""
    tiles = [Tile("cells", count(found.cells.n_all), "in the model")]
    if found.n_peaks is not None:
        tiles.append(Tile("peaks", count(found.n_peaks), "in the atlas"))
    if not isinstance(found.predictions, Missing):
        quality = found.predictions.quality
        where = f"held-out peaks ({found.predictions.split})"
        tiles += [
            Tile("auROC per cell", figure(quality.mean_auroc_per_cell), where),
            Tile("auROC per peak", figure(quality.mean_auroc_per_peak), where),
        ]
    if not isinstance(found.agreement, Missing):
        score = found.agreement.scores["model"]
        k = list(score.mean)[len(score.mean) // 2]
        meaning = f"k = {k}, chance {score.chance:.2f}"
        tiles.append(Tile("label score", figure(score.mean[k]), meaning))
    n_warnings = sum(check.verdict == "warning" for check in found.checks)
    passed = sum(check.verdict == "passed" for check in found.checks)
    tiles.append(Tile("checks passed", f"{passed} of {len(found.checks)}", _warned(n_warnings)))
    return tuple(tiles)


def _warned(n_warnings: int) -> str:
    return {0: "no warnings", 1: "1 warning"}.get(n_warnings, f"{n_warnings} warnings")


def sections_of(found: Findings) -> tuple[Section, ...]:
    """Return all sections but checks and provenance, which have their own places."""
    return (
        _map(found),
        _predictions(found),
        _agreement(found),
        _activity(found),
        _heat(found),
        _loci(found),
        _logos(found),
        _training(found),
        _costs(found),
    )


def _section(name: str, title: str, part: Any, **content: Any) -> Section:
    """Return a section; of a part that is missing, the reason alone."""
    if isinstance(part, Missing):
        return Section(name=name, title=title, missing=(part,))
    return Section(name=name, title=title, **content)


def _map(found: Findings) -> Section:
    return Section(name="cells", title="Cells", figures=(cell_map.map_figure(found),))


def _predictions(found: Findings) -> Section:
    part = found.predictions
    given = found.evaluations
    tables = (predictions.evaluations_table(given),) if given else ()
    if isinstance(part, Missing):
        return Section(name="predictions", title="Held-out peaks", missing=(part,), tables=tables)
    return Section(
        name="predictions",
        title="Held-out peaks",
        figures=(
            predictions.cell_auroc_figure(part, found.cells, found.evaluations),
            predictions.peak_auroc_figure(part, found.evaluations),
        ),
        tables=tables,
    )


def _agreement(found: Findings) -> Section:
    part, mixing = found.agreement, found.mixing
    missing = tuple(one for one in (part, mixing) if isinstance(one, Missing))
    figures, tables = [], []
    if not isinstance(part, Missing):
        tables.append(agreement.score_table(part))
        figures += [agreement.score_figure(part), agreement.clusters_figure(part)]
    if not isinstance(mixing, Missing):
        tables.append(agreement.mixing_table(mixing))
    return Section(
        name="agreement",
        title="Labels, clusters, batches",
        figures=tuple(one for one in figures if one is not None),
        tables=tuple(tables),
        missing=missing,
    )


def _activity(found: Findings) -> Section:
    part = found.activity
    if isinstance(part, Missing):
        return _section("activity", "TF activity", part)
    return Section(
        name="activity",
        title="TF activity",
        figures=(activity.activity_figure(part),),
        tables=(activity.top_table(part),),
    )


def _heat(found: Findings) -> Section:
    part, predicted = found.heat, found.predictions
    if isinstance(part, Missing) or isinstance(predicted, Missing):
        return _section("heat", "Raw and denoised", part)
    return Section(
        name="heat",
        title="Raw and denoised",
        figures=(
            heat.raw_figure(part, found.cells, predicted),
            heat.denoised_figure(part, found.cells, predicted),
        ),
    )


def _loci(found: Findings) -> Section:
    part = found.loci
    if isinstance(part, Missing):
        return _section("loci", "Along the genome", part)
    figures = tuple(loci.locus_figure(locus, number) for number, locus in enumerate(part, start=1))
    return Section(name="loci", title="Along the genome", figures=figures)


def _logos(found: Findings) -> Section:
    part = found.logos
    if isinstance(part, Missing):
        return _section("logos", "Mutagenesis", part)
    figures = tuple(logos.logo_figure(logo, number) for number, logo in enumerate(part, start=1))
    return Section(name="logos", title="Mutagenesis", figures=figures)


def _training(found: Findings) -> Section:
    part = found.training
    figures = [depth.depth_figure(found.cells, seed=found.options.seed)]
    missing: tuple[Missing, ...] = ()
    if isinstance(part, Missing):
        missing = (part,)
    else:
        figures = [training.loss_figure(part), training.auroc_figure(part), *figures]
    return Section(
        name="training",
        title="Training",
        figures=tuple(one for one in figures if one is not None),
        missing=missing,
    )


def _costs(found: Findings) -> Section:
    figures = () if isinstance(found.training, Missing) else (training.time_figure(found.training),)
    stored = tuple((f"{one.kind}, stored", one.stored) for one in found.origins)
    spent = tuple((f"report: {name}", duration(s)) for name, s in found.seconds.items() if s >= 0.1)
    memory = (("report: most memory held", size(found.memory_bytes)),)
    rows = tuple((plain_text(name), value) for name, value in (*stored, *spent, *memory))
    table = Table("Sizes, and what this report took", ("what", "value"), rows)
    return Section(name="costs", title="Time and memory", figures=figures, tables=(table,))
