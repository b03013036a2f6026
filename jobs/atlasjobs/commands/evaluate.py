"""``atlasbasset evaluate``: how good a model is."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, ModelUrl, Obs

__all__ = ["evaluate"]

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of the atlas.")]
Split = Annotated[
    Literal["train", "valid", "test", "all"],
    typer.Option(help="Peaks that predictions are judged on."),
]
LabelKey = Annotated[
    str | None, typer.Option(help="Column of obs with cell types, for the label score.")
]
BatchKey = Annotated[str | None, typer.Option(help="Column of obs with batches, for batch mixing.")]
Ks = Annotated[list[int], typer.Option("--ks", help="Neighbours in the label score; repeatable.")]
Cluster = Annotated[
    bool, typer.Option("--cluster", help="Also cluster the cells and compare with the labels.")
]


def evaluate(
    model: ModelUrl,
    atlas: Atlas,
    *,
    split: Split = "test",
    label_key: LabelKey = None,
    batch_key: BatchKey = None,
    obs: Obs = None,
    ks: Ks = [10, 50, 100],  # noqa: B006 - read only; the library shows it as the default
    cluster: Cluster = False,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Measure predictions on a split's peaks, and the embedding where labels are named."""
    from atlasbasset import plan_evaluate
    from atlasjobs.output.console import Output
    from atlasjobs.reports.evaluate import evaluation_facts

    output = Output(json)
    plan = plan_evaluate(
        model,
        atlas,
        split=split,
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        ks=ks,
        cluster=cluster,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"{model} on the {split} peaks of {atlas}", evaluation_facts(report), report)
        output.line(f"Next: atlasbasset report {model} {atlas} --out report.html")
