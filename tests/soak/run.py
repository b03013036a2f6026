"""What is drawn for a trial, and the trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from soak import faults
from soak.trial import Outcome, tried
from soak.work import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from soak.faults import Scene
    from soak.stage import Stage

_RAY_EVERY = 8
"""A trial on the cluster takes as long as a dozen others."""
_OF_STORAGE = {**faults.IN_STORAGE, **faults.AND_LASTING}
_HERE = {**faults.HERE, **_OF_STORAGE}
_ON_RAY = {**faults.OF_WORKERS, **faults.OF_NODES, "driver": faults.kill_driver}


@dataclass(frozen=True)
class Draw:
    """One trial."""

    number: int
    verb: str
    fault: str
    workers: int
    ray: bool
    in_bucket: bool
    at: float
    """Share of the undisturbed run's events of progress before the fault; 1: at publishing."""
    rng: np.random.Generator

    @property
    def strike(self) -> Callable[[Scene], None]:
        return {**_HERE, **_ON_RAY}[self.fault]


def drawn(seed: int, number: int, *, ray: bool) -> Draw:
    """Draw trial `number`; the verbs take turns."""
    rng = np.random.default_rng([seed, number])
    on_ray = ray and number % _RAY_EVERY == _RAY_EVERY - 1
    verb = str(rng.choice(list(VERBS)))
    workers = 2 if on_ray else 0
    allowed = _ON_RAY if on_ray else _HERE
    if verb == "train" and not on_ray and rng.random() < 0.3:
        workers, allowed = 2, {**_HERE, **faults.OF_WORKERS}
    fault, in_bucket = str(rng.choice(list(allowed))), on_ray or rng.random() < 0.4
    in_bucket |= fault in _OF_STORAGE
    return Draw(number, verb, fault, workers, on_ray, in_bucket, float(rng.random()), rng)


def trial(place: Stage, draw: Draw) -> Outcome:
    """Do a trial."""
    alone = draw.workers if draw.verb == "train" else 0
    expected, _, _ = place.reference(draw.verb, alone, ray=False)
    _, n_events, _ = place.reference(draw.verb, draw.workers, ray=False)
    moment = 1 + int(draw.at * n_events)
    if moment == n_events and draw.verb not in ("train", "preprocess"):
        moment = 0  # before publishing
    task = place.task(
        draw.verb,
        f"{draw.number}-{draw.verb}",
        in_bucket=draw.in_bucket,
        workers=draw.workers,
        ray=draw.ray,
        moment=moment,
    )
    with place.scene(task, draw.rng, is_doomed=draw.fault == "driver") as scene:
        return tried(scene, draw.strike, expected)
