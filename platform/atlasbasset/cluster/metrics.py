"""What workers on Ray measure, for Prometheus through Ray's own exporter on every node.

Names there begin with ``ray_``; counters end in ``_total``. Every value has the tags ``run`` and
``rank``. `cluster-configs/grafana/atlasbasset.json` is a dashboard of them.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from atlasbasset.cluster.event_log import run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["METRICS", "TrainingMetrics", "UnitMetrics", "ray_metric"]

METRICS = {
    "atlasbasset_steps": "Training steps done.",
    "atlasbasset_step_seconds": "Time of a training step, of the last ones.",
    "atlasbasset_sequences_per_second": "Sequences of all workers a second, of the epoch so far.",
    "atlasbasset_data_wait_share": "Share of the last epoch in which steps waited for data.",
    "atlasbasset_loss": "Loss per pair of peak and cell, of the last epoch.",
    "atlasbasset_epoch": "Epochs done.",
    "atlasbasset_units": "Work units of a batch job done.",
    "atlasbasset_unit_seconds": "Time of a work unit.",
    "atlasbasset_bytes": "Bytes written by work units, before compression.",
}
_COUNTERS = ("atlasbasset_steps", "atlasbasset_units", "atlasbasset_bytes")
_TAGS = ("run", "rank")
_EVERY_S = 2.0
"""Steps are counted at once and told this often: a value costs a call into Ray."""


@cache
def ray_metric(name: str) -> Any:
    """Return Ray's counter or gauge of one of `METRICS`."""
    from ray.util.metrics import Counter, Gauge

    kind = Counter if name in _COUNTERS else Gauge
    return kind(name, description=METRICS[name], tag_keys=_TAGS)


class _Metrics:
    def __init__(
        self, rank: int | None = None, *, metric: Callable[[str], Any] = ray_metric
    ) -> None:
        self._metric = metric
        self._tags = {"run": run_id(), "rank": "" if rank is None else str(rank)}

    def _set(self, name: str, value: float) -> None:
        self._metric(name).set(value, tags=self._tags)

    def _add(self, name: str, value: float) -> None:
        if value > 0:
            self._metric(name).inc(value, tags=self._tags)


class TrainingMetrics(_Metrics):
    """Of one training worker; fed with its events."""

    def __init__(self, rank: int, *, metric: Callable[[str], Any] = ray_metric) -> None:
        super().__init__(rank, metric=metric)
        self._steps, self._told_at = 0, time.monotonic()

    def step(self, sequences_per_s: float) -> None:
        """Count a step."""
        self._steps += 1
        waited = time.monotonic() - self._told_at
        if waited < _EVERY_S:
            return
        self._set("atlasbasset_step_seconds", waited / self._steps)
        self._set("atlasbasset_sequences_per_second", sequences_per_s)
        self._add("atlasbasset_steps", self._steps)
        self._steps, self._told_at = 0, time.monotonic()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Tell of an epoch: its record in the model's history."""
        self._set("atlasbasset_epoch", record["epoch"])
        self._set("atlasbasset_loss", record["loss"])
        waited = record["seconds_waiting"] / max(record["seconds"], 1e-9)
        self._set("atlasbasset_data_wait_share", waited)


class UnitMetrics(_Metrics):
    """Of one actor of a batch job."""

    def unit(self, seconds: float, n_bytes: int) -> None:
        """Count a work unit."""
        self._set("atlasbasset_unit_seconds", seconds)
        self._add("atlasbasset_units", 1)
        self._add("atlasbasset_bytes", n_bytes)
