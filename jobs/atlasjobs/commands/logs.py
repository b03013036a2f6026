"""``atlasbasset logs``: what a job of a cluster prints."""

from typing import Annotated

import typer

from atlasjobs.options.cluster import Address, JobId
from atlasjobs.options.common import Config, Debug

__all__ = ["logs"]

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on until the job ends, and end as it did.")
]


def logs(
    job: JobId = None,
    *,
    follow: Follow = False,
    address: Address = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Print the log of a job; --follow outlives lost connections."""
    from atlasbasset.cluster.job_client import JobClient
    from atlasjobs.cluster_job import exit_code, passed_on

    client = JobClient(address)
    found = client.state(job)
    if not follow:
        passed_on(client.log(found.id))
        return
    raise typer.Exit(exit_code(client.follow(found.id, passed_on)))
