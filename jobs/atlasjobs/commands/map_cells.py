"""``atlasbasset map``: new cells onto a trained trunk."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atlasjobs.options import Config, Debug, DryRun, Json, ModelUrl

if TYPE_CHECKING:
    from atlasbasset.verbs.map_cells import MapReport
    from atlasjobs.facts import Facts
    from atlasjobs.plans import Plan

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
Compute = Annotated[
    Literal["auto", "bf16", "fp32"], typer.Option(help="Arithmetic of the convolutions.")
]


def map_cells(
    model: ModelUrl,
    atlas: Atlas,
    *,
    out: Out,
    l2: L2 = 10.0,
    split: Split = "train",
    compute: Compute = "auto",
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Solve an atlas's cells exactly on a trained trunk, without training."""
    from atlasjobs.console import Output

    output = Output(json)
    if dry_run:
        output.plan(_plan(model, atlas, out, split))
        return
    from atlasbasset import map_cells as work

    with output.watching() as on_event:
        report = work(model, atlas, out=out, l2=l2, split=split, compute=compute, on_event=on_event)
    output.report(f"Mapped {atlas} onto {model} as {out}", _facts(report), report)


def _plan(model: str, atlas: str, out: str, split: str) -> "Plan":
    """Plan a mapping; refuses an output that exists and a split without peaks."""
    from atlasbasset.core.newton import working_bytes
    from atlasbasset.verbs.atlas_peaks import split_rows
    from atlasjobs.plans import Plan
    from atlasjobs.units import count, size
    from atlasstore import Atlas as AtlasStore
    from atlasstore.model_store import ModelStore
    from atlasstore.staging import refuse_existing

    refuse_existing(out)
    opened = AtlasStore.open(atlas)
    store = ModelStore.open(model)
    store.newest()
    n_peaks = len(split_rows(opened, split))
    width = int(store.config["train"]["trunk"]["embedding_dim"])
    memory = working_bytes(n_peaks, opened.blocks[0].n_cells, width)
    rows = [
        ("cells", f"{count(opened.n_cells)} in {count(len(opened.blocks))} blocks"),
        ("peaks", f"{count(n_peaks)} of the {split} split"),
        ("memory", f"about {size(memory)} while solving"),
    ]
    values = {"out": out, "n_cells": opened.n_cells, "n_peaks": n_peaks, "memory_bytes": memory}
    return Plan(f"Would map {atlas} onto {model}", rows, values)


def _facts(report: "MapReport") -> "Facts":
    from atlasjobs.units import count, duration

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
