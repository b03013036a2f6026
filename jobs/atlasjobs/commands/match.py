"""``atlasbasset match``: known motifs in the scores of an ISM result."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, Obs, ObsGroupBy

__all__ = ["match"]

IsmUrl = Annotated[str, typer.Argument(metavar="RESULT", help="Path or URL of an ISM result.")]
Meme = Annotated[
    str,
    typer.Option("--motifs", metavar="MEME", help="MEME file (JASPAR, CIS-BP, HOCOMOCO, ...)."),
]
Out = Annotated[
    str, typer.Option("--out", metavar="TABLE", help="Table to make: .parquet, .csv or .tsv.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help="Group of cells; give several times [all]."),
]
MethodOption = Annotated[
    Literal["pearson", "dot"],
    typer.Option("--method", help="Correlation or product of motif and scores at a site."),
]
HitP = Annotated[float, typer.Option("--hit-p", help="FIMO's p-value of a site is below this.")]
MaxP = Annotated[
    float, typer.Option("--max-p", help="Leave out rows with a larger p-value; 1 keeps all.")
]
NNull = Annotated[
    int, typer.Option("--n-null", help="Chance sites of each motif that p-values are from.")
]
Seed = Annotated[int, typer.Option(help="Of the chance sites.")]


def match(
    result: IsmUrl,
    *,
    motifs: Meme,
    out: Out,
    groups: Groups = None,
    group_by: ObsGroupBy = None,
    obs: Obs = None,
    method: MethodOption = "pearson",
    hit_p: HitP = 1e-3,
    max_p: MaxP = 0.05,
    n_null: NNull = 10_000,
    seed: Seed = 0,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Find known motifs whose sites matter to the model, by group of cells (PWM-ISM)."""
    from atlasbasset import plan_match
    from atlasjobs.output.console import Output
    from atlasjobs.reports.match import match_facts

    output = Output(json)
    plan = plan_match(
        result,
        motifs,
        out=out,
        groups=groups,
        group_by=group_by,
        obs=obs,
        method=method,
        hit_p=hit_p,
        max_p=max_p,
        n_null=n_null,
        seed=seed,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Motifs that matter in {out}", match_facts(report), report)
