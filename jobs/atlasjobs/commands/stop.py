"""``atlasbasset stop``: a job of a cluster ends in order."""

from atlasjobs.options.cluster import Address, JobId
from atlasjobs.options.common import Config, Debug, Json

__all__ = ["stop"]


def stop(
    job: JobId = None,
    *,
    address: Address = None,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Ask a job to end, as Ctrl-C would; what it has done is kept for `submit` to resume."""
    from atlasbasset.cluster.job_client import JobClient
    from atlasjobs.cluster_job import state_values, stopped_line
    from atlasjobs.output.console import Output

    output = Output(json)
    client = JobClient(address)
    state = client.stop(client.state(job).id)
    output.line(stopped_line(state))
    output.json(state_values(state))
