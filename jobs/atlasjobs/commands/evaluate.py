"""``atlasbasset evaluate``: how good a model is."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import (
    Config,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    ModelUrl,
    Obs,
    Workers,
)

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
Denoised = Annotated[
    bool,
    typer.Option("--denoised", help="Also judge denoised profiles, by labels or RNA."),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines",
        help="Also measure PCA, LSI, SnapATAC2, 6-mer ridge, fewer reads, oracles.",
    ),
]
_RNA = "RNA of the same cells"
Rna = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help=".h5ad, .zarr or .h5mu of expression, cells matched by name.",
        rich_help_panel=_RNA,
    ),
]
RnaLayer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Layer with the values [X].", rich_help_panel=_RNA),
]
RnaEmbedding = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of obsm with an embedding (X_scVI) [50 principal components].",
        rich_help_panel=_RNA,
    ),
]
Genes = Annotated[
    str | None,
    typer.Option(
        metavar="GTF",
        help="Genes of the RNA: correlations with accessibility within 2 kb of a TSS, and R_c.",
        rich_help_panel=_RNA,
    ),
]

Retrain = Annotated[
    bool,
    typer.Option(
        "--retrain",
        help="With --baselines: also train again on fewer reads and shuffled labels, 7 times.",
    ),
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
    denoised: Denoised = False,
    rna: Rna = None,
    rna_layer: RnaLayer = None,
    rna_embedding: RnaEmbedding = None,
    genes: Genes = None,
    baselines: Baselines = False,
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    retrain: Retrain = False,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Measure predictions on a split's peaks, and cells against labels and RNA that are named."""
    from atlasbasset import plan_evaluate
    from atlasjobs.option_names import with_options
    from atlasjobs.output.console import Output
    from atlasjobs.reports.evaluate import baseline_columns, evaluation_facts

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
        denoised=denoised,
        rna=rna,
        rna_layer=rna_layer,
        rna_embedding=rna_embedding,
        genes=genes,
        baselines=baselines,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
        retrain=retrain,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        if report.baselines is not None:
            output.table(*baseline_columns(report.baselines))
            for sentence in report.baselines.left_out:
                output.line(with_options(sentence))
        output.report(f"{model} on the {split} peaks of {atlas}", evaluation_facts(report), report)
