"""A count of how often each unit was begun, in a process of its own that imports next to nothing.

It numbers the actors of a stage as well: Ray Data gives them no rank.

Ray Data gives a unit whose actor died to another actor, for ever; a unit that kills every actor
must end the job instead.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from atlasstore.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attempts", "actor_number", "check_attempt", "start_attempts"]

_MOST = 5


class Attempts:
    """Counts; runs as one Ray actor beside the workers."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()
        self._numbers: dict[str, int] = {}

    def begin(self, index: int) -> int:
        """Count one more beginning of unit `index`; return how many there were."""
        self._begun[index] += 1
        return self._begun[index]

    def number(self, actor: str) -> int:
        """Return the number of an actor, counted from 0; one that is started again keeps it."""
        return self._numbers.setdefault(actor, len(self._numbers))


def start_attempts() -> Any:
    """Return the handle of a new Ray actor of `Attempts`."""
    import ray

    return ray.remote(Attempts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()


def actor_number(attempts: Any) -> int:
    """Return the number of the actor that asks, among those of its stage."""
    import ray

    actor = ray.get_runtime_context().get_actor_id()
    return int(ray.get(attempts.number.remote(actor)))


def check_attempt(attempts: Any, index: int, unit: Mapping[str, int]) -> None:
    """Count that unit `index` is begun.

    Raises
    ------
    AtlasError
        When too many workers died of it.
    """
    import ray

    if ray.get(attempts.begin.remote(index)) > _MOST:
        raise AtlasError(
            f"{_MOST} workers died one after the other at {dict(unit)}, perhaps for lack of "
            "memory; use fewer --workers on a machine, or larger machines."
        )
