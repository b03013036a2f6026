"""``atlasbasset resources``: what a cluster has."""

from atlasjobs.options.cluster import Address
from atlasjobs.options.common import Config, Debug, Json

__all__ = ["resources"]


def resources(
    *,
    address: Address = None,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """List the nodes of a cluster with their cores, GPUs and memory."""
    from atlasbasset.cluster.job_client import JobClient
    from atlasjobs.cluster_job import NODE_COLUMNS, node_rows
    from atlasjobs.output.console import Output

    output = Output(json)
    nodes = JobClient(address).nodes()
    output.table(NODE_COLUMNS, node_rows(nodes))
    output.json({"nodes": nodes})
