"""What came of all trials: lines while they run, a table in the end."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from soak.run import Draw
    from soak.stage import Stage
    from soak.trial import Outcome

MOST_GROWTH = 1_000_000
"""Bytes that a driver may gain with each task, seen over many."""
_WARM_UP, _ENOUGH = 24, 48
"""Tasks until all that is loaded once has been, and until growth can be told from noise."""


class Tally:
    """Counts trials by verb and fault."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._resumed: dict[tuple[str, str], int] = defaultdict(int)
        self._missed = 0

    def add(self, draw: Draw, outcome: Outcome) -> None:
        """Count a trial, and print it."""
        where = "ray" if draw.ray else "processes" if draw.workers else "here"
        where += ", S3" if draw.in_bucket else ""
        fault = f"{draw.fault} (ray)" if draw.ray else draw.fault
        key = (draw.verb, fault)
        if outcome.where:
            self._seconds[key].append(outcome.recovery_s)
            self._resumed[key] += bool(outcome.said)
        self._missed += not outcome.where
        self.problems += [
            f"{draw.number}: {draw.verb}: {draw.fault}: {p}" for p in outcome.problems
        ]
        print(
            f"{draw.number:4} {draw.verb:10} {draw.fault:20} {where:13} {outcome.seconds:6.1f} s  "
            f"{outcome.where or 'not struck'}",
            *(f"\n     said: {text[:300]}" for text in outcome.said),
            *(f"\n     PROBLEM: {text}" for text in outcome.problems),
            flush=True,
        )

    def table(self, place: Stage) -> str:
        """Return trials by fault, memory, and what is wrong."""
        verbs = sorted({verb for verb, _ in self._seconds})
        lines = [f"{'fault':20}" + "".join(f"{verb:>12}" for verb in verbs) + "  recovery, s"]
        for fault in sorted({fault for _, fault in self._seconds}):
            cells = [self._seconds.get((verb, fault), []) for verb in verbs]
            every = np.concatenate(cells)
            row = "".join(f"{len(cell) or '':>12}" for cell in cells)
            lines.append(f"{fault:20}{row}  {np.median(every):.1f} (at most {every.max():.1f})")
        total = sum(map(len, self._seconds.values()))
        resumed = sum(self._resumed.values())
        lines.append(f"{total} struck, {resumed} of them resumed, {self._missed} not struck")
        lines += [self._memory(place), *(f"PROBLEM: {text}" for text in self.problems)]
        return "\n".join([*lines, "" if self.problems else "all equal, nothing left behind"])

    def _memory(self, place: Stage) -> str:
        """Say how the memory of the longest-lived driver went; growth is a problem."""
        held = np.array(max((d.held for d in place.every_driver), key=len, default=[]), float)
        if len(held) < _ENOUGH:
            return f"memory: {len(held)} tasks of one driver are too few to tell"
        warm = held[_WARM_UP:]
        growth = float(np.polyfit(np.arange(len(warm)), warm, 1)[0])
        if growth > MOST_GROWTH:
            self.problems.append(f"memory grows by {growth / 1e6:.2f} MB a task")
        return (
            f"memory of a driver over {len(held)} tasks: {held[0] / 1e6:.0f} MB after the first, "
            f"{warm[0] / 1e6:.0f} after {_WARM_UP}, {held[-1] / 1e6:.0f} after the last, "
            f"{growth / 1e6:+.2f} a task; of this process "
            f"{psutil.Process().memory_info().rss / 1e6:.0f} MB ({sys.platform})"
        )
