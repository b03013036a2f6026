"""Fuzzing one target for a while: hypothesis draws changes, and makes what fails small."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis

from fuzz.target import Step, steps_of
from fuzz.worker import Outcome, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from fuzz.target import Target

__all__ = ["FINDINGS", "Tally", "fuzz", "replay"]

FINDINGS = ("raw", "crash", "hang", "memory", "message", "wrong")
"""Kinds of outcome that must not be."""
_FOUND_ONCE = ("hang",)
"""Not made small: each trial would take as long."""
_SHRINK_SECONDS = 15.0


@dataclass
class Tally:
    """What became of a target's inputs."""

    name: str
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    seconds: float = 0.0
    found: dict[str, str] = field(default_factory=dict)
    """Signature of each finding -> where it is saved."""

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.kinds[outcome.kind] += 1
        self.slowest = max(self.slowest, outcome.seconds)

    @property
    def n_findings(self) -> int:
        """Inputs that must not be."""
        return sum(self.kinds[kind] for kind in FINDINGS)


class _FoundError(Exception):
    """Raised to hypothesis, which then looks for a smaller input that does the same."""


def fuzz(
    target: Target,
    worker: Worker,
    tally: Tally,
    *,
    seed: int,
    seconds: float,
    max_examples: int,
    saved: Path,
) -> None:
    """Try changes until `seconds` are over or `max_examples` are done."""
    started = time.monotonic()
    worker.begin()
    until = [time.monotonic() + seconds]
    looked_for: dict[str, tuple[list[Step], Outcome]] = {}

    def try_one(steps: list[Step]) -> None:
        if time.monotonic() > until[0]:
            return
        outcome = worker.run(steps)
        tally.add(outcome)
        mark = outcome.signature
        if outcome.kind not in FINDINGS or mark in tally.found:
            return
        if looked_for and mark not in looked_for:
            return  # another one: it is met again
        if not looked_for:
            until[0] = time.monotonic() + _SHRINK_SECONDS
            print(
                f"{target.name}: {outcome.kind} {outcome.text[:200]!r} {outcome.where}", flush=True
            )
        looked_for[mark] = steps, outcome
        if outcome.kind not in _FOUND_ONCE:
            raise _FoundError(mark)

    searched = hypothesis.given(steps_of(target))(try_one)
    quiet = hypothesis.settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    with suppress(_FoundError, hypothesis.errors.Flaky):  # flaky where the time was over meanwhile
        hypothesis.seed(seed)(quiet(searched))()
    for mark, (steps, outcome) in looked_for.items():
        tally.found[mark] = str(_save(saved, worker, steps, outcome, len(tally.found)))
    tally.seconds += time.monotonic() - started


def _save(saved: Path, worker: Worker, steps: list[Step], outcome: Outcome, number: int) -> Path:
    """Keep the changes, the changed files, and what became of them."""
    worker.run(steps)
    place = saved / f"{worker.target.name.replace(' ', '-').replace('/', '-')}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if worker.changed.is_dir():
        shutil.copytree(worker.changed, place / "files")
    told = {"target": worker.target.name, "steps": steps, **vars(outcome)}
    (place / "finding.json").write_text(json.dumps(told, indent=1))
    return place


def replay(target: Target, steps: list[Step]) -> Outcome:
    """Run one saved list of changes again."""
    worker = Worker(target)
    try:
        return worker.run(steps)
    finally:
        worker.close()
