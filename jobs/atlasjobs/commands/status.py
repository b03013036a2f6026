"""``atlasbasset status``: how the jobs of a cluster stand."""

import typer

from atlasjobs.options.cluster import Address, JobId
from atlasjobs.options.common import Config, Debug, Json

__all__ = ["status"]


def status(
    job: JobId = None,
    *,
    address: Address = None,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """List the jobs of a cluster; with an ID, end with that job's exit code."""
    from atlasbasset.cluster.job_client import JobClient
    from atlasjobs.cluster_job import exit_code, job_table, state_values, waiting_lines
    from atlasjobs.output.console import Output

    output = Output(json)
    client = JobClient(address)
    states = client.states() if job is None else [client.state(job)]
    if not states:
        output.line("no jobs yet")
    else:
        output.table(*job_table(states))
    for line in waiting_lines(states):
        output.line(line)
    output.json({"jobs": [state_values(state) for state in states]})
    if job is not None:
        raise typer.Exit(exit_code(states[0]))
