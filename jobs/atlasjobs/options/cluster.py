"""Options of the verbs that talk to a running cluster."""

from typing import Annotated

import typer

__all__ = ["Address", "JobId", "Wait"]

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The cluster's dashboard, http://HOST:8265 [RAY_ADDRESS, else this machine's].",
    ),
]
JobId = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]", help="A job's id, as `submit` prints it; the newest without one."
    ),
]
Wait = Annotated[
    float,
    typer.Option(help="Seconds that the cluster may take to have what is asked for.", min=1.0),
]
