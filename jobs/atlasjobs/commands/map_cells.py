"""``atlasbasset map``: new cells onto a trained trunk."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atlasjobs.options.common import (
    Compute,
    Config,
    Convolution,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    LogTo,
    ModelUrl,
    Obs,
    Workers,
)

if TYPE_CHECKING:
    from atlasbasset.verbs.map_cells.labels import MappedLabels
    from atlasbasset.verbs.map_cells.report import MapReport
    from atlasstore.plans import Lines

__all__ = ["map_cells"]

Atlas = Annotated[
    str, typer.Argument(metavar="ATLAS", help="Path or URL of the atlas whose cells to solve.")
]
Out = Annotated[
    str, typer.Option("--out", metavar="MODEL", help="Path or URL of the model; must not exist.")
]
L2 = Annotated[
    float | None,
    typer.Option(
        "--l2",
        help="Weight of |w|^2 / 2 of a cell, relative to its summed cross-entropy; by default "
        "that of the model's cells.",
    ),
]
Split = Annotated[Literal["train", "valid", "test", "all"], typer.Option(help="Peaks to fit.")]
LabelKey = Annotated[
    str | None,
    typer.Option(
        help="Column of the model's obs: new cells get labels with confidence and novelty."
    ),
]
BatchKey = Annotated[
    str | None,
    typer.Option(help="Column of the atlas's obs with batches; needed for batch-corrected models."),
]
StandardErrors = Annotated[
    bool,
    typer.Option("--standard-errors", help="Also store each embedding's posterior sd."),
]
SolvePeaks = Annotated[
    Literal["auto", "on", "off"],
    typer.Option(
        help="Solve fitted peaks that have no deviation, too; auto: where the model was trained "
        "to let peaks deviate and no batches are told apart."
    ),
]


def map_cells(
    model: ModelUrl,
    atlas: Atlas,
    *,
    out: Out,
    l2: L2 = None,
    split: Split = "train",
    label_key: LabelKey = None,
    obs: Obs = None,
    batch_key: BatchKey = None,
    standard_errors: StandardErrors = False,
    solve_peaks: SolvePeaks = "auto",
    compute: Compute = "auto",
    convolution: Convolution = "auto",
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    log_to: LogTo = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Solve an atlas's cells exactly on a trained trunk, without training."""
    from atlasbasset import plan_map_cells
    from atlasjobs.output.console import Output

    output = Output(json)
    plan = plan_map_cells(
        model,
        atlas,
        out=out,
        l2=l2,
        split=split,
        label_key=label_key,
        obs=obs,
        batch_key=batch_key,
        standard_errors=standard_errors,
        solve_peaks=solve_peaks,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run, log_to=log_to)) is not None:
        output.report(f"Mapped {atlas} onto {model} as {out}", _facts(report), report)


def _facts(report: "MapReport") -> "Lines":
    from atlasstore.text_units import count, duration

    values = report.as_json()
    rows = [
        ("cells", f"{count(values['n_cells'])}, {count(values['n_converged'])} converged"),
        ("peaks", _peaks(values["n_peaks"], values["n_peaks_solved"])),
        ("loss", f"{values['loss']:.4f} with penalty"),
        (
            "Newton steps",
            f"{values['mean_iterations']:.1f} per cell, at most {values['max_iterations']}",
        ),
        (
            "time",
            f"{duration(values['seconds_embedding'])} embedding, "
            f"{duration(values['seconds_solving'])} solving",
        ),
    ]
    if values["n_one_class"]:
        rows.append(("one class", f"{count(values['n_one_class'])} cells, no embedding"))
    return [*rows, *_label_facts(report.labels)]


def _peaks(n_fitted: int, n_solved: int) -> str:
    from atlasstore.text_units import count

    return f"{count(n_fitted)}{f', {count(n_solved)} of them solved, too' if n_solved else ''}"


def _label_facts(labels: "MappedLabels | None") -> "Lines":
    from atlasstore.text_units import count

    if labels is None:
        return []
    found = ", ".join(f"{name} {count(n)}" for name, n in labels.counts.items())
    right = f"{labels.accuracy:.3f} right of {count(labels.n_reference)} reference cells"
    return [
        (labels.columns[0], found),
        ("confidence", f"{labels.mean_confidence:.3f} on average ({right})"),
        ("novelty above 0.99", f"{count(labels.n_novel)} cells: of types the reference may lack"),
    ]
