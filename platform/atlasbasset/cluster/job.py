"""A job of a cluster: what is submitted, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlasbasset.cluster.shipped import Shipment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ClusterJob", "JobState", "state_of"]

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """What is submitted."""

    name: str
    """The same for the same work; attempts after a failure get a number behind it."""
    entrypoint: str
    """A shell command."""
    shipment: Shipment = field(default_factory=Shipment)
    wheel: Path | None = None
    """A wheel of this package that the nodes use in place of what they have."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the job and its workers."""
    cpus: float = 0
    """Cores of the job's own process, which then is on a worker node; 0: it is on the head."""
    gpus: float = 0


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands."""

    id: str
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    entrypoint: str
    message: str
    started_s: float | None
    """Unix time."""
    ended_s: float | None
    exit_code: int | None
    """Of the job's own process, where it ended by itself."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in _ENDED


def state_of(job: Any) -> JobState:
    """Return how a job stands, from Ray's own record of it."""
    return JobState(
        id=job.submission_id,
        status=str(getattr(job.status, "value", job.status)),
        entrypoint=job.entrypoint,
        message=job.message or "",
        started_s=job.start_time / 1000 if job.start_time else None,
        ended_s=job.end_time / 1000 if job.end_time else None,
        exit_code=job.driver_exit_code,
    )
