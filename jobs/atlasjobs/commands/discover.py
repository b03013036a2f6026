"""``atlasbasset discover``: new motifs in the scores of an ISM result."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, Obs, ObsGroupBy

__all__ = ["discover"]

IsmUrl = Annotated[str, typer.Argument(metavar="RESULT", help="Path or URL of an ISM result.")]
Group = Annotated[
    str, typer.Option("--group", metavar="NAME", help="Group of cells in the result.")
]
Out = Annotated[
    str,
    typer.Option("--out", metavar="DIR", help="Folder to make: patterns and report/motifs.html."),
]
Meme = Annotated[
    str | None,
    typer.Option("--motifs", metavar="MEME", help="Known motifs to compare the patterns with."),
]
MaxSeqlets = Annotated[
    int, typer.Option("--max-seqlets", help="Stretches that matter, of each sign, at most.")
]


def discover(
    result: IsmUrl,
    *,
    group: Group,
    out: Out,
    group_by: ObsGroupBy = None,
    obs: Obs = None,
    motifs: Meme = None,
    max_seqlets: MaxSeqlets = 20_000,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Find motifs de novo in what a group's accessibility depends on (TF-MoDISco)."""
    from atlasbasset import plan_discover
    from atlasjobs.output.console import Output
    from atlasjobs.reports.discover import discover_facts

    output = Output(json)
    plan = plan_discover(
        result,
        group=group,
        out=out,
        group_by=group_by,
        obs=obs,
        motifs=motifs,
        max_seqlets=max_seqlets,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Patterns in {out}", discover_facts(report), report)
