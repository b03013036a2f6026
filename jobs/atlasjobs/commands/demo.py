"""``atlasbasset demo``: the whole pipeline on a simulated atlas with known answers."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json

__all__ = ["demo"]

Out = Annotated[str, typer.Option("--out", metavar="FOLDER", help="Folder to write, or to resume.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the simulation and of the training.")]
Compute = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option(help="Arithmetic of the convolutions; auto: bf16 where the hardware has it."),
]


def demo(
    *,
    out: Out = "demo",
    seed: Seed = 0,
    compute: Compute = "auto",
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Simulate, train, evaluate, denoise, score TFs, mutate; then compare with the truth."""
    from atlasjobs.demo import DemoSettings, demo_plan, run_demo
    from atlasjobs.output.console import Output

    output = Output(json)
    settings = DemoSettings(seed=seed, compute=compute)
    if dry_run:
        output.plan(demo_plan(settings, out))
        return
    result = run_demo(out, settings, output)
    output.json(result.as_json())
    if not result.succeeded:
        output.error(result.shortfall)
        raise typer.Exit(1)
