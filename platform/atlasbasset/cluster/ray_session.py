"""A Ray session for a run: joins a running cluster, or starts Ray on this machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.errors import UserInputError
from atlasstore.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atlasstore.events import Subscriber

__all__ = ["ray_session"]


@contextmanager
def ray_session(needed: Mapping[str, float], on_event: Subscriber) -> Iterator[None]:
    """Join the cluster that is there or start one here, which ends with the block.

    A Ray that runs in this process already, or that RAY_ADDRESS names, is joined and left running.
    Sessions may be nested: the inner one joins.

    Parameters
    ----------
    needed
        What all workers together reserve: "CPU", "GPU" -> amount.
    on_event
        Called with a `Notice` when a joined cluster has too little and may still grow.

    Raises
    ------
    UserInputError
        When a Ray started here has too little.
    """
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "token")  # said, not left to Ray's version
    joined = ray.is_initialized()
    if not joined:
        ray.init(log_to_driver=False, configure_logging=False)
        joined = _joined()
    try:
        _check_resources(needed, ray.cluster_resources(), on_event, joined=joined)
        yield
    finally:
        if not joined:
            ray.shutdown()


def _joined() -> bool:
    """Whether the Ray that `ray.init` found had been started by another process."""
    import ray

    node = ray._private.worker._global_node
    return node is None or not node.head  # None: through a Ray client


def _check_resources(
    needed: Mapping[str, float], present: Mapping[str, float], on_event: Subscriber, *, joined: bool
) -> None:
    """Refuse what a Ray of this machine can never give; a cluster may still grow."""
    short = {name: amount for name, amount in needed.items() if present.get(name, 0) < amount}
    if not short:
        return
    said = " and ".join(
        f"{amount:g} {name}s (there are {present.get(name, 0):g})" for name, amount in short.items()
    )
    if not joined:
        raise UserInputError(
            f"the workers need {said} on this machine; ask for fewer --workers, or join a larger "
            "Ray cluster by RAY_ADDRESS."
        )
    on_event(Notice(f"Waiting for the Ray cluster to have {said}."))
