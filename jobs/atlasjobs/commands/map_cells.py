"""``atlasbasset map``: new cells onto a trained trunk."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atlasjobs.options.common import (
    Compute,
    Config,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    ModelUrl,
    Workers,
)

if TYPE_CHECKING:
    from atlasbasset.batch.run import Workers as Pool
    from atlasbasset.verbs.map_cells.map_cells import MapReport
    from atlasjobs.output.lines import Lines, Plan

__all__ = ["map_cells"]

Atlas = Annotated[
    str, typer.Argument(metavar="ATLAS", help="Path or URL of the atlas whose cells to solve.")
]
Out = Annotated[
    str, typer.Option("--out", metavar="MODEL", help="Path or URL of the model; must not exist.")
]
L2 = Annotated[
    float,
    typer.Option("--l2", help="Weight of |w|^2 / 2 of a cell, beside its summed cross-entropy."),
]
Split = Annotated[Literal["train", "valid", "test", "all"], typer.Option(help="Peaks to fit.")]


def map_cells(
    model: ModelUrl,
    atlas: Atlas,
    *,
    out: Out,
    l2: L2 = 10.0,
    split: Split = "train",
    compute: Compute = "auto",
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Solve an atlas's cells exactly on a trained trunk, without training."""
    from atlasjobs.output.console import Output

    output = Output(json)
    if dry_run:
        from atlasbasset.batch.run import Workers as Pool

        pool = Pool(workers, cpus_per_worker, gpus_per_worker)
        output.plan(_plan(model, atlas, out, l2=l2, split=split, pool=pool))
        return
    from atlasbasset import map_cells as work

    with output.watching() as on_event:
        report = work(
            model,
            atlas,
            out=out,
            l2=l2,
            split=split,
            compute=compute,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            on_event=on_event,
        )
    output.report(f"Mapped {atlas} onto {model} as {out}", _facts(report), report)


def _plan(model: str, atlas: str, out: str, *, l2: float, split: str, pool: "Pool") -> "Plan":
    """Plan a mapping; refuses what `map_cells` refuses."""
    from atlasbasset.verbs.map_cells.map_cells import check_mapping
    from atlasbasset.verbs.map_cells.work import solving_bytes
    from atlasjobs.output.lines import Plan
    from atlasstore import Atlas as AtlasStore
    from atlasstore.models.model_store import ModelStore
    from atlasstore.text_units import count, size

    opened, store = AtlasStore.open(atlas), ModelStore.open(model)
    store.newest()
    n_peaks = len(check_mapping(store, opened, out=out, l2=l2, split=split, workers=pool))
    width = int(store.config["train"]["trunk"]["embedding_dim"])
    memory = solving_bytes(opened, n_peaks, width)
    rows = [
        ("cells", f"{count(opened.n_cells)} in {count(len(opened.blocks))} blocks"),
        ("peaks", f"{count(n_peaks)} of the {split} split"),
        ("workers", _workers_line(pool)),
        ("memory", f"about {size(memory)} {'per worker ' if pool.count else ''}while solving"),
    ]
    values = {
        "out": out,
        "n_cells": opened.n_cells,
        "n_blocks": len(opened.blocks),
        "n_peaks": n_peaks,
        "workers": pool.count,
        "memory_bytes": memory,
    }
    return Plan(f"Would map {atlas} onto {model}", rows, values)


def _workers_line(pool: "Pool") -> str:
    if not pool.count:
        return "this process"
    return f"{pool.count} Ray actors of {pool.cpus:g} CPUs and {pool.gpus:g} GPUs"


def _facts(report: "MapReport") -> "Lines":
    from atlasstore.text_units import count, duration

    values = report.as_json()
    rows = [
        ("cells", f"{count(values['n_cells'])}, {count(values['n_converged'])} converged"),
        ("peaks", count(values["n_peaks"])),
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
    return rows
