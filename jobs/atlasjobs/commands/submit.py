"""``atlasbasset submit -- VERB ...``: a verb's command line as a job of a Ray cluster."""

from typing import Annotated, Any, Literal

import typer

from atlasjobs.options.cluster import Address, Wait
from atlasjobs.options.common import Config, Debug, Json

__all__ = ["submit"]

Words = Annotated[
    list[str], typer.Argument(metavar="-- VERB ...", help="The verb and its arguments.")
]
As = Annotated[
    Literal["rayjob", "slurm"] | None,
    typer.Option("--as", help="Print a KubeRay manifest or a Slurm script, and end."),
]
Detach = Annotated[bool, typer.Option("--detach", help="End when the job is submitted.")]
Again = Annotated[
    bool,
    typer.Option("--again", help="Submit once more what this command did before and has ended."),
]
Wheel = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A wheel of this package, used by the nodes in place of what they have.",
    ),
]
Credentials = Annotated[
    bool,
    typer.Option(
        "--credentials",
        help="Send this environment's cloud keys; whoever sees the cluster's jobs sees them.",
    ),
]
Env = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Send this variable; repeatable.")
]
Cpus = Annotated[
    float | None,
    typer.Option(
        help="Cores of the job's own process, on a worker node; 0: it runs on the head.",
        show_default="1 without --workers, else 0",
    ),
]
Gpus = Annotated[float, typer.Option(help="GPUs of the job's own process.")]


def submit(
    ctx: typer.Context,
    words: Words,
    *,
    address: Address = None,
    as_: As = None,
    wait: Wait = 600.0,
    detach: Detach = False,
    again: Again = False,
    wheel: Wheel = None,
    credentials: Credentials = False,
    env: Env = None,
    cpus: Cpus = None,
    gpus: Gpus = 0,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Run a verb on a Ray cluster: check the cluster, submit once, follow the log."""
    import os

    from atlasbasset.cluster.shipped import shared_variables
    from atlasjobs import cluster_job
    from atlasjobs.output.console import Output
    from atlasjobs.verb_call import verb_call

    call = verb_call(ctx, words)
    if as_ is not None:
        given = _given(ctx)
        cluster_job.refuse_unused(given, as_)
        sent = shared_variables(os.environ, more=env or ())
        text = cluster_job.job_file(
            call, as_, wait_s=given.get("wait"), variables={name: sent[name] for name in env or ()}
        )
        typer.echo(text, nl=False)
        return
    variables = shared_variables(os.environ, credentials=credentials, more=env or ())
    job = cluster_job.cluster_job(
        call,
        wait_s=wait,
        wheel=wheel,
        variables=variables,
        env=env or (),
        cpus=cpus,
        gpus=gpus,
    )
    state = cluster_job.submitted(
        job, Output(json), address=address, wait_s=wait, detach=detach, again=again
    )
    raise typer.Exit(cluster_job.exit_code(state))


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Return the options that were given, by name: on the command line or in a file."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {
        name: ctx.params[name]
        for name, source in sources.items()
        if source is not None and source.name != "DEFAULT"
    }
